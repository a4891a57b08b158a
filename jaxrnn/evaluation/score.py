"""How well a network predicts a text: the surprisal of each symbol, -ln of the probability that the network gave it."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, gather_lanes, local_lanes, over_lanes, replicate, to_mesh
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import Carry, Params, forward, initial_carry
from jaxrnn.network.loss import surprisal
from jaxrnn.text import UNKNOWN, Batch, Tokens, Vocabulary, encode_separator
from jaxrnn.text.documents import DocumentStarts, Starts, document_starts
from jaxrnn.text.stream import count_tokens, on_disk, release_pages
from jaxrnn.text.vocabulary import Flags
from jaxrnn.training.jitted import BATCH_LANES

WARM_UP = 256  # symbols that a lane reads before it is scored: enough to make up for its cold start
BLOCK = 2**16  # surprisals in memory at once

Indices = np.ndarray[tuple[int, ...], np.dtype[np.intp]]
Nats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


class Score(NamedTuple):
    """How well a text was predicted: the total surprisal of its scored symbols in nats, their number, and their size.

    Symbols are characters, or bytes if the vocabulary is of bytes; in UTF-8 the unknown one is U+FFFD, three bytes.
    """

    nats: float
    symbols: int
    utf8_bytes: int

    @property
    def nats_per_character(self) -> float:
        """Mean surprisal in nats."""
        return self.nats / self.symbols

    @property
    def bits_per_character(self) -> float:
        """Mean surprisal in bits."""
        return self.nats / self.symbols / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of UTF-8, which compares networks with different vocabularies."""
        return self.nats / self.utf8_bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprisal in nats: how many equally likely symbols would be as uncertain."""
        return math.exp(min(self.nats_per_character, 700.0))  # exp(710) overflows


@partial(jax.jit, static_argnames="config")
def score(params: Params, carry: Carry, batch: Batch, config: ModelConfig) -> tuple[jax.Array, Carry]:
    """Return the surprisal of every target of a batch, nats [T, B], and the carry after it.

    The batch has inputs and targets int [T, B]; its `reset` is ignored.
    """
    logits, carry = forward(params, carry, batch.inputs, config, starts=batch.starts)
    return surprisal(logits, batch.targets), carry


@partial(jax.jit, static_argnames=("config", "mesh"))
def _score_on_mesh(
    params: Params, carry: Carry, batch: Batch, config: ModelConfig, mesh: Mesh
) -> tuple[jax.Array, Carry]:
    """Do what `score` does for lanes that are split over a mesh; every device gets the surprisals of all lanes."""

    def score_own_lanes(params: Params, carry: Carry, batch: Batch) -> tuple[jax.Array, Carry]:
        nats, carry = score(params, carry, batch, config)
        return gather_lanes(nats, axis=1), carry

    return over_lanes(score_own_lanes, mesh, (NO_LANES, 0, BATCH_LANES), (NO_LANES, 0))(params, carry, batch)


def surprisals(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    *,
    lanes: int = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Nats:
    """Return the surprisal of every symbol of a text but the first, which nothing precedes, nats [N - 1].

    With one lane the text is read as a single stream from the initial carry, which is exact. With L > 1 it is cut into
    L contiguous lanes that are read side by side, which is much faster. Each lane but the first starts from the initial
    carry 256 symbols early, and these are not scored; it misses what precedes them. On the last tenth of
    tinyshakespeare, with a GRU of 128 units after 1,000 steps, 64 lanes change the mean by 2e-9 nats, which is rounding
    (16 symbols early: 8e-7; none: 2e-3).

    The tokens are int [N]; `starts`, bool [N] from `document_starts`, has the symbols before which the carry is reset
    (None: nowhere). A mesh, from `jaxrnn.make_mesh`, splits the lanes over its devices. Raises JaxrnnError if there are
    fewer than two symbols, or more lanes than symbols to score.
    """
    check_arguments(surprisals, locals())
    nats = np.empty(max(0, len(tokens) - 1), np.dtype(config.dtype))
    for indices, part in surprisals_in_parts(params, tokens, config, lanes, starts, mesh):
        nats[indices] = part
    return nats


def surprisals_in_parts(
    params: Params, tokens: Tokens, config: ModelConfig, lanes: int, starts: Starts | None, mesh: Mesh | None = None
) -> Iterator[tuple[Indices, Nats]]:
    """Yield the result of `surprisals` in parts, in bounded memory: indices into it, int [m], and the nats there, [m].

    With one lane the parts are in order.
    """
    count = len(tokens) - 1
    if count < 1:
        raise JaxrnnError(f"the text has {len(tokens)} symbols; 2 are needed to score one")
    if not 1 <= lanes <= count:
        raise JaxrnnError(f"lanes must be from 1 to {count:,}, the symbols to score, got {lanes:,}")
    all_lanes = lanes
    if mesh is None:
        carry = initial_carry(lanes, config)
    else:
        all_lanes = -(-lanes // mesh.size) * mesh.size  # in the additional ones nothing is scored
        params = replicate(params, mesh)
        carry = jax.jit(initial_carry, static_argnums=(0, 1), out_shardings=by_lanes(mesh, 0))(all_lanes, config)
    length, lane_length, own = window_length(lanes, config), -(-count // lanes), local_lanes(mesh, all_lanes)
    for begin in range(-WARM_UP if lanes > 1 else 0, lane_length, length):
        offset = begin + np.arange(length)[:, None]
        indices = lane_length * np.arange(all_lanes) + offset  # [T, L]
        is_scored = (offset >= 0) & (offset < lane_length) & (indices < count)
        read = np.clip(indices[:, own], 0, count - 1)
        resets = indices[:, own] == 0  # a warm-up that begins before the text has read no text
        if starts is not None:
            resets |= starts[read]
        batch = Batch(tokens[read].astype(np.int32), tokens[read + 1].astype(np.int32), np.asarray(False), resets)
        release_pages(tokens)
        if mesh is None:
            nats, carry = score(params, carry, batch, config)
        else:
            nats, carry = _score_on_mesh(params, carry, to_mesh(batch, by_lanes(mesh, BATCH_LANES)), config, mesh)
        yield indices[is_scored], np.asarray(nats)[is_scored]


def evaluate(
    params: Params,
    tokens: Tokens,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    lanes: int = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Score:
    """Return how well a text is predicted, in bounded memory; the arguments are those of `surprisals`."""
    check_arguments(evaluate, locals())
    parts = surprisals_in_parts(params, tokens, config, lanes, starts, mesh)
    nats = sum(float(part.sum(dtype=np.float64)) for _, part in parts)
    utf8_bytes = int(count_tokens(tokens[1:], len(vocabulary)) @ vocabulary.utf8_lengths())
    return Score(nats, len(tokens) - 1, utf8_bytes)


def window_length(lanes: int, config: ModelConfig) -> int:
    """Return T of the batches that are scored: at most 8,192 symbols and 16 million logits at once."""
    return max(1, min(1024, 8192 // lanes, 2**24 // (lanes * (config.vocab_size or 1))))


def default_lanes(count: int) -> int:
    """Return lanes for a quick evaluation of `count` symbols: at most 64, each much longer than its warm-up."""
    return max(1, min(64, count // (4 * WARM_UP)))


class Scored(NamedTuple):
    """m consecutive symbols and their surprisals."""

    indices: Indices  # of the symbols in the text, int [m]
    symbols: str  # bytes as the characters with their values (Latin-1)
    tokens: Tokens  # int [m]
    nats: Nats  # [m]
    starts: Flags | None  # whether a symbol begins a document, bool [m]; None: there are no documents


@dataclasses.dataclass
class Tally:
    """What a text consisted of, counted while it is read."""

    read: int = 0  # symbols in all
    unknown: int = 0  # of these, as the unknown symbol
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # not in the vocabulary


def score_stream(
    params: Params,
    pieces: Iterable[str | bytes],
    vocabulary: Vocabulary,
    config: ModelConfig,
    tally: Tally,
    *,
    reset_on: str = "",
    lanes: int = 1,
    mesh: Mesh | None = None,
) -> Iterator[Scored]:
    """Yield, in order, the score of every symbol of a text that the vocabulary knows, except the first.

    In one lane a text of any size is scored as it arrives. Several lanes begin at places that depend on its length, so
    it is read first, into a temporary file of 13 bytes per symbol (more if there are more than 256). The pieces are
    str for a vocabulary of characters, bytes for one of bytes. `tally` is added to; `reset_on` is the separator of
    documents, as in training; `lanes` and `mesh` are those of `surprisals`. Raises JaxrnnError if there are fewer
    symbols than lanes, and StorageError if there is no room for the temporary files.
    """
    separator = encode_separator(vocabulary, reset_on)
    dtype = np.dtype([("index", np.int64), ("code_point", "<u4"), ("token", vocabulary.dtype)])
    symbols = (_encode(piece, vocabulary, dtype, tally) for piece in pieces)
    if lanes == 1:
        yield from _score_one_lane(params, symbols, separator, config)
        return
    with on_disk(dtype, symbols) as text:
        tokens = text["token"]
        starts = DocumentStarts(tokens, separator) if len(separator) else None
        for indices, nats in ordered_surprisals(params, tokens, config, lanes, starts, mesh) if len(text) > 1 else ():
            scored = text[indices + 1]
            release_pages(text)
            yield _scored(scored, nats, None if starts is None else starts[indices])


def _score_one_lane(
    params: Params, pieces: Iterable[np.ndarray], separator: Tokens, config: ModelConfig
) -> Iterator[Scored]:
    length, carry, before = window_length(1, config), initial_carry(1, config), separator[:0]
    for window in _windows(pieces, length):
        tokens, count = window["token"].astype(np.int32), len(window) - 1
        text = np.concatenate([before, tokens[:-1]])
        starts = document_starts(text, separator)[len(before) :] if len(separator) else np.zeros(count, np.bool_)
        before = text[max(0, len(text) - len(separator) + 1) :]
        padding = (0, length - count), (0, 0)  # one shape for all windows, so one program
        inputs, targets, resets = (np.pad(part[:, None], padding) for part in (tokens[:-1], tokens[1:], starts))
        nats, carry = score(params, carry, Batch(inputs, targets, np.asarray(False), resets), config)
        yield _scored(window[1:], np.asarray(nats)[:count, 0], starts)


def _windows(pieces: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Yield windows of length + 1 symbols that share one with the next; the last may be shorter."""
    rest: np.ndarray | None = None
    for piece in pieces:
        rest = piece if rest is None else np.concatenate([rest, piece])
        while len(rest) > length:
            yield rest[: length + 1]
            rest = rest[length:]
    if rest is not None and len(rest) > 1:
        yield rest


def _scored(symbols: np.ndarray, nats: Nats, starts: Flags | None) -> Scored:
    text = symbols["code_point"].tobytes().decode("utf-32-le", "surrogatepass")
    return Scored(symbols["index"], text, symbols["token"], nats, starts)


def _encode(piece: str | bytes, vocabulary: Vocabulary, dtype: np.dtype[np.void], tally: Tally) -> np.ndarray:
    """Return the symbols of a piece that the vocabulary knows."""
    text = piece.decode("latin-1") if isinstance(piece, bytes) else piece
    tokens, is_known = vocabulary.find(piece)
    symbols = np.zeros(len(tokens), dtype)
    symbols["index"] = tally.read + np.arange(len(tokens))
    symbols["code_point"] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    symbols["token"] = tokens
    tally.read += len(tokens)
    if vocabulary.unknown:
        tally.unknown += int((tokens == vocabulary.symbols.index(UNKNOWN)).sum())
    tally.left_out.update(text[index] for index in np.flatnonzero(~is_known))
    return symbols[is_known]


def ordered_surprisals(
    params: Params, tokens: Tokens, config: ModelConfig, lanes: int, starts: Starts | None, mesh: Mesh | None = None
) -> Iterator[tuple[Indices, Nats]]:
    """Yield the parts of `surprisals_in_parts` in the text's order; a temporary file holds what comes too early."""
    parts = surprisals_in_parts(params, tokens, config, lanes, starts, mesh)
    if lanes == 1:
        yield from parts
        return
    dtype, count = np.dtype(config.dtype), len(tokens) - 1
    with on_disk(dtype, (np.zeros(min(BLOCK, count - begin), dtype) for begin in range(0, count, BLOCK))) as stored:
        for indices, nats in parts:
            stored[indices] = nats
            release_pages(stored)
        for begin in range(0, count, BLOCK):
            block = np.array(stored[begin : begin + BLOCK])
            release_pages(stored)
            yield begin + np.arange(len(block)), block

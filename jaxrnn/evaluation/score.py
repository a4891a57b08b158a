"""How well a network predicts a text: the surprisal of each symbol, -ln of the probability that the network gave it."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import Count, ModelConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, gather_lanes, local_lanes, over_lanes, replicate
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.network import Carry, Params, forward, initial_carry
from jaxrnn.network.loss import surprisal
from jaxrnn.text import Batch, Tokens, Vocabulary
from jaxrnn.text.documents import Starts, check_starts
from jaxrnn.text.stream import count_tokens, on_disk, release_pages
from jaxrnn.text.vocabulary import check_tokens
from jaxrnn.training.jitted import BATCH_LANES

WARM_UP = 256  # symbols that a lane reads before it is scored: enough to make up for its cold start
BLOCK = 2**16  # surprisals in memory at once

Indices = np.ndarray[tuple[int, ...], np.dtype[np.intp]]
Nats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


class Score(NamedTuple):
    """How well a text was predicted: the total surprisal of its scored symbols in nats, their number, and their size.

    Symbols are characters, or bytes if the vocabulary is of bytes. `utf8_bytes` counts the bytes of the scored symbols
    in the text, after the run's normalization. A symbol read as the unknown symbol counts with its own bytes, or as one
    byte where only tokens are known. Its surprisal is that of the class of unknown symbols; the information that would
    tell which of them it was is not included.
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
        """Bits per byte of UTF-8, nats / utf8_bytes / ln 2, which compares networks with different vocabularies."""
        return self.nats / self.utf8_bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprisal in nats: the number of equally likely symbols with that surprisal."""
        return math.inf if self.nats_per_character > 700 else math.exp(self.nats_per_character)  # exp(710) overflows


@jax.jit(static_argnames="config")
def score(params: Params, carry: Carry, batch: Batch, config: ModelConfig) -> tuple[jax.Array, Carry]:
    """Return the surprisal of every target of a batch, nats [T, B], and the carry after it.

    The batch has inputs and targets int [T, B]; its `reset` is ignored.
    """
    logits, carry = forward(params, carry, batch.inputs, config, starts=batch.starts)
    logits -= logits.max(axis=-1, keepdims=True)  # beside large ones, the logarithm of the sum would be rounded away
    return surprisal(logits, batch.targets), carry


@jax.jit(static_argnames=("config", "mesh"))
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
    lanes: Count = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Nats:
    """Return the surprisal of every symbol of a text but the first, which nothing precedes, nats [N - 1].

    With one lane the text is read as a single stream from the initial carry, which is exact. With B > 1 it is cut into
    B contiguous lanes that are read side by side, which is much faster. Each lane but the first starts from the initial
    carry 256 symbols early, and these are not scored; it misses what precedes them. On the last tenth of
    tinyshakespeare, with a GRU of 128 units after 1,000 steps, 64 lanes change the mean by 2e-9 nats, which is rounding
    (16 symbols early: 8e-7; none: 2e-3).

    The tokens are int [N]; `starts`, bool [N] from `document_starts`, has the symbols before which the carry is reset
    (None: nowhere). A mesh, from `jaxrnn.make_mesh`, splits the lanes over its devices. Raises JaxrnnError if there are
    fewer than two symbols, or more lanes than symbols to score.
    """
    check_arguments(surprisals, locals())
    check_tokens(tokens, config.vocab_size)
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
    check_starts(starts, tokens)
    count = len(tokens) - 1
    if count < 1:
        raise JaxrnnError(f"the text has {counted(len(tokens), 'symbols')}; 2 are needed to score one")
    if lanes > count:
        raise JaxrnnError(f"lanes must be at most {count:,}, the symbols to score, got {lanes:,}")
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
        indices = lane_length * np.arange(all_lanes) + offset  # [T, B]
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
            batch = jax.make_array_from_process_local_data(by_lanes(mesh, BATCH_LANES), batch)
            nats, carry = _score_on_mesh(params, carry, batch, config, mesh)
        yield indices[is_scored], np.asarray(nats)[is_scored]


def evaluate(
    params: Params,
    tokens: Tokens,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    lanes: Count = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Score:
    """Return how well a text is predicted, in bounded memory; the arguments are those of `surprisals`."""
    check_arguments(evaluate, locals())
    vocabulary.check_size(params.by.size)
    check_tokens(tokens, len(vocabulary))
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

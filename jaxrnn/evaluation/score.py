"""How well a network predicts a text: the surprisal of each character, -ln of the probability that it was given."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.distributed.mesh import by_lanes, in_groups, local_lanes, on_mesh, out_of_groups, place, whole
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.loss import surprisal
from jaxrnn.network.model import Carry, Params, forward, initial_carry
from jaxrnn.text import Batch, Flags, Starts, Tokens, Vocabulary, count_tokens, release_pages
from jaxrnn.training.step import batch_sharding

WARM_UP = 256  # symbols that a lane reads before it is scored, so that its cold start is no longer felt

Places = np.ndarray[tuple[int, ...], np.dtype[np.intp]]
Nats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


class Score(NamedTuple):
    """What a text cost to predict.

    Attributes:
        nats: the surprisal of all scored symbols.
        symbols: how many were scored: characters, or bytes where the vocabulary is of bytes.
        utf8_bytes: how many bytes they take in UTF-8 (the unknown symbol as U+FFFD, three).
    """

    nats: float
    symbols: int
    utf8_bytes: int

    @property
    def nats_per_character(self) -> float:
        """The mean surprisal, in nats."""
        return self.nats / self.symbols

    @property
    def bits_per_character(self) -> float:
        """The mean surprisal, in bits."""
        return self.nats / self.symbols / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the text in UTF-8: what compares networks whose symbols differ."""
        return self.nats / self.utf8_bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """E to the mean surprisal: among how many equally likely symbols one would be as unsure."""
        return math.exp(min(self.nats_per_character, 700.0))  # beyond that no float holds it


@partial(jax.jit, static_argnames="config")
def score(params: Params, carry: Carry, batch: Batch, config: ModelConfig) -> tuple[jax.Array, Carry]:
    """Return the surprisal of every target of a batch, nats [T, B], and the carry after it.

    Args:
        params: the parameters.
        carry: the carry before the batch; `batch.reset` is not heeded, `batch.starts` is.
        batch: inputs and targets, int [T, B].
        config: the network's configuration; static.
    """
    logits, carry = forward(params, carry, batch.inputs, config, starts=batch.starts)
    return surprisal(logits, batch.targets), carry


@partial(jax.jit, static_argnames=("config", "mesh"))
def _score_on_mesh(
    params: Params, carry: Carry, batch: Batch, config: ModelConfig, mesh: Mesh
) -> tuple[jax.Array, Carry]:  # fmt: skip
    """Do what `score` does for lanes that are split over a mesh; the surprisals come together on every device."""
    inputs, targets, starts = in_groups((batch.inputs, batch.targets, batch.starts), mesh.size, axis=1)
    nats, carry = jax.vmap(lambda carry, batch: score(params, carry, batch, config), (0, Batch(1, 1, None, 1)), (1, 0))(
        in_groups(carry, mesh.size, axis=0), Batch(inputs, targets, batch.reset, starts)
    )
    carry = lax.with_sharding_constraint(out_of_groups(carry, axis=0), by_lanes(mesh, 0))
    return lax.with_sharding_constraint(out_of_groups(nats, axis=1), whole(mesh)), carry


def surprisals(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    *,
    lanes: int = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Nats:
    """Return the surprisal of every symbol of a text but the first, nats [N - 1].

    The first symbol of the text has none: nothing stands before it, and the network was never asked for it in training.

    With one lane the text is read as a single stream from the initial state: exact. With L > 1 it is cut into L
    contiguous lanes that are read side by side, much faster; each but the first begins 256 symbols early, from the
    initial state, and these are not scored. What stands further back is missing to it: measured on the last tenth of
    tinyshakespeare with a GRU of 128 units after 1,000 steps, 64 lanes change the mean by 2e-9 nats, which is rounding
    (16 symbols early: 8e-7; none: 2e-3).

    Args:
        params: the parameters.
        tokens: int [N].
        config: the network's configuration.
        lanes: L.
        starts: bool [N], where the state starts anew, from `document_starts`.
        mesh: from `sharding.make_mesh`, to split the lanes over its devices.

    Raises:
        JaxrnnError: there is nothing to score, or there are more lanes than symbols to score.
    """
    nats = np.empty(max(0, len(tokens) - 1), np.dtype(config.dtype))
    for places, found in surprisals_in_parts(params, tokens, config, lanes=lanes, starts=starts, mesh=mesh):
        nats[places] = found
    return nats


def surprisals_in_parts(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    *,
    lanes: int = 1,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Iterator[tuple[Places, Nats]]:
    """Return the surprisals of `surprisals` in bounded memory: places among them, int [m], and what stands there.

    With one lane they come in their order.
    """
    count = len(tokens) - 1
    if count < 1:
        raise JaxrnnError(f"the text has {len(tokens)} symbols; 2 are needed to score one")
    if not 1 <= lanes <= count:
        raise JaxrnnError(f"lanes must be from 1 to {count:,}, the symbols to score, got {lanes:,}")
    length = window_length(lanes, config)
    if mesh is None:
        carry = initial_carry(config, lanes)
        for batch, places, scored in _lanes(tokens, starts, lanes, length, lanes, slice(None)):
            found, carry = score(params, carry, batch, config)
            yield places[scored], np.asarray(found)[scored]
        return
    all_lanes = -(-lanes // mesh.size) * mesh.size  # of the last ones nothing is scored
    params = on_mesh(params, mesh)
    carry = jax.jit(initial_carry, static_argnums=(0, 1), out_shardings=by_lanes(mesh, 0))(config, all_lanes)
    for batch, places, scored in _lanes(tokens, starts, lanes, length, all_lanes, local_lanes(mesh, all_lanes)):
        found, carry = _score_on_mesh(params, carry, place(batch, batch_sharding(mesh, 1)), config, mesh)
        yield places[scored], np.asarray(found)[scored]


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
    """Return what a text costs to predict, by `surprisals`, in bounded memory."""
    parts = surprisals_in_parts(params, tokens, config, lanes=lanes, starts=starts, mesh=mesh)
    nats = sum(float(found.sum(dtype=np.float64)) for _, found in parts)
    return Score(nats, len(tokens) - 1, utf8_bytes(tokens[1:], vocabulary))


def utf8_bytes(tokens: Tokens, vocabulary: Vocabulary) -> int:
    """Return how many bytes a text takes in UTF-8, in bounded memory."""
    return int(count_tokens(tokens, len(vocabulary)) @ vocabulary.utf8_lengths())


def surprisals_of_stream(params: Params, pieces: Iterable[tuple[Tokens, Flags]], config: ModelConfig) -> Iterator[Nats]:
    """Return the surprisals of `surprisals` with one lane for a text that arrives in pieces, in bounded memory.

    Args:
        params: the parameters.
        pieces: tokens int [n] and starts bool [n], of any length.
        config: the network's configuration.

    Returns:
        Surprisals, nats [m], of the symbols that have become known; all but the text's first, in their order.
    """
    length, carry = window_length(1, config), initial_carry(config, 1)
    for tokens, starts in _windows(pieces, length):
        known = len(tokens) - 1
        rest = ((0, length - known), (0, 0))
        inputs, targets, begins = (
            np.pad(values[:, None], rest) for values in (tokens[:-1], tokens[1:], starts[:-1])
        )  # fmt: skip
        found, carry = score(params, carry, Batch(inputs, targets, np.asarray(False), begins), config)
        yield np.asarray(found)[:known, 0]


def _windows(pieces: Iterable[tuple[Tokens, Flags]], length: int) -> Iterator[tuple[Tokens, Flags]]:
    """Return windows of length + 1 symbols that share one with the next; the last may be shorter."""
    tokens, starts = np.zeros(0, np.int32), np.zeros(0, np.bool_)
    for more_tokens, more_starts in pieces:
        tokens = np.concatenate([tokens, more_tokens.astype(np.int32)])
        starts = np.concatenate([starts, more_starts])
        begin = 0
        while len(tokens) - begin > length:
            yield tokens[begin : begin + length + 1], starts[begin : begin + length + 1]
            begin += length
        tokens, starts = tokens[begin:], starts[begin:]
    if len(tokens) > 1:
        yield tokens, starts


def _lanes(
    tokens: Tokens, starts: Starts | None, lanes: int, length: int, all_lanes: int, own: slice
) -> Iterator[tuple[Batch, Places, Flags]]:
    """Return batches [T, L] over a text in lanes, the place in it of each input, and which targets are scored.

    Beyond `lanes`, up to `all_lanes`, there are lanes with nothing to score. The batches have the `own` lanes only.
    """
    count = len(tokens) - 1
    lane_length = -(-count // lanes)
    for begin in range(-WARM_UP if lanes > 1 else 0, lane_length, length):
        offset = begin + np.arange(length)[:, None]
        places = lane_length * np.arange(all_lanes)[None] + offset
        scored = (offset >= 0) & (offset < lane_length) & (places < count)
        begins = places[:, own] == 0  # what was read before the text's first symbol was no text
        places = np.clip(places, 0, count - 1)
        read = places[:, own]
        if starts is not None:
            begins |= starts[read]
        inputs, targets = tokens[read].astype(np.int32), tokens[read + 1].astype(np.int32)
        release_pages(tokens)
        yield Batch(inputs, targets, np.asarray(False), begins), places, scored


def window_length(lanes: int, config: ModelConfig) -> int:
    """Return T of the batches that are scored: at most 8,192 symbols and 16 million logits at once."""
    vocab_size = config.vocab_size or 1
    return max(1, min(1024, 8192 // lanes, 2**24 // (lanes * vocab_size)))


def default_lanes(count: int) -> int:
    """Return lanes for a quick evaluation of `count` symbols: at most 64, each much longer than its warm-up."""
    return max(1, min(64, count // (4 * WARM_UP)))

"""Texts of any size, scored as they arrive, with each symbol's place and what it is."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.evaluation.score import Indices, Nats, ordered_surprisals, score, window_length
from jaxrnn.network import Params, initial_carry
from jaxrnn.text import UNKNOWN, Batch, Tokens, Vocabulary, encode_separator
from jaxrnn.text.documents import DocumentStarts, Starts, document_starts
from jaxrnn.text.stream import on_disk, release_pages
from jaxrnn.text.vocabulary import Flags


class Scored(NamedTuple):
    """m consecutive symbols and their surprisals."""

    indices: Indices  # of the symbols in the text, int [m]
    symbols: str  # bytes as the characters with their values (Latin-1)
    tokens: Tokens  # int [m]
    nats: Nats  # [m]
    starts: Flags | None  # whether a symbol begins a document, bool [m]; None: there are no documents


class Reader(NamedTuple):
    """What reads one lane of a text: a function (state, batch) -> (nats [T, 1], state), its first state, and its T."""

    read: Callable[[Any, Batch], tuple[jax.Array, Any]]
    state: Any
    length: int


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
    reader: Reader | None = None,
) -> Iterator[Scored]:
    """Yield, in order, the score of every symbol of a text that the vocabulary knows, except the first.

    In one lane a text of any size is scored as it arrives. Several lanes begin at places that depend on its length, so
    it is first read into a temporary file of 13 bytes per symbol (more if the vocabulary exceeds 256). The pieces are
    str for a vocabulary of characters, bytes for one of bytes. Counts are added to `tally`; `reset_on` is the separator
    of documents, as in training; `lanes` and `mesh` are those of `surprisals`; a `reader` replaces the network, in one
    lane. Raises JaxrnnError if there are fewer symbols than lanes, and StorageError if there is no
    room for the temporary files.
    """
    separator = encode_separator(vocabulary, reset_on)
    dtype = np.dtype([("index", np.int64), ("code_point", "<u4"), ("token", vocabulary.dtype)])
    symbols = (_encode(piece, vocabulary, dtype, tally) for piece in pieces)
    if lanes == 1:
        start, length = initial_carry(1, config), window_length(1, config)
        plain = Reader(lambda carry, batch: score(params, carry, batch, config), start, length)
        yield from _score_one_lane(reader or plain, symbols, separator)
        return
    with on_disk(dtype, symbols) as text:
        tokens = text["token"]
        starts = DocumentStarts(tokens, separator) if len(separator) else None
        for indices, nats in ordered_surprisals(params, tokens, config, lanes, starts, mesh) if len(text) > 1 else ():
            scored = text[indices + 1]
            release_pages(text)
            yield _scored(scored, nats, None if starts is None else starts[indices])


def _score_one_lane(reader: Reader, pieces: Iterable[np.ndarray], separator: Tokens) -> Iterator[Scored]:
    (read, state, length), before = reader, separator[:0]
    for window in _windows(pieces, length):
        tokens = window["token"]
        text = np.concatenate([before, tokens[:-1]])
        starts = np.zeros(len(tokens) - 1, np.bool_)
        if len(separator):
            starts = document_starts(text, separator)[len(before) :]
        before = text[max(0, len(text) - len(separator) + 1) :]
        nats, state = read(state, _padded_batch(tokens, starts, length))
        yield _scored(window[1:], np.asarray(nats)[: len(starts), 0], starts)


def read_in_parts(reader: Reader, tokens: Tokens, starts: Starts | None) -> Iterator[tuple[Indices, Nats, Any]]:
    """Yield, in order, parts of what `surprisals` returns: indices into it, the nats there, and the reader's state."""
    (read, state, length), count = reader, len(tokens) - 1
    for begin in range(0, count, length):
        indices = np.arange(begin, min(begin + length, count))
        flags = np.zeros(len(indices), np.bool_) if starts is None else starts[indices]
        nats, state = read(state, _padded_batch(tokens[begin : begin + length + 1], flags, length))
        release_pages(tokens)
        yield indices, np.asarray(nats)[: len(indices), 0], state


def _padded_batch(tokens: Tokens, starts: Flags, length: int) -> Batch:
    """Return a batch of one lane and T = `length` symbols: all texts share a program. Missing targets are -1."""
    columns = np.stack([tokens[:-1], tokens[1:]]).astype(np.int32)[:, :, None]
    missing = (0, length - len(starts)), (0, 0)
    inputs, targets = np.pad(columns[0], missing), np.pad(columns[1], missing, constant_values=-1)
    return Batch(inputs, targets, np.asarray(False), np.pad(starts[:, None], missing))


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

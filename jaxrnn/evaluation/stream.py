"""Score a text that arrives in pieces, in bounded memory: what each of its symbols cost to predict."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.score import Indices, Nats, score, surprisals_in_parts, window_length
from jaxrnn.network import Params, initial_carry
from jaxrnn.text import UNKNOWN, Batch, Tokens, Vocabulary, document_starts, encode_separator
from jaxrnn.text.documents import DocumentStarts, Starts
from jaxrnn.text.stream import on_disk, release_pages

BLOCK = 2**16  # surprisals in memory at once

_SYMBOL = np.dtype([("index", np.intp), ("code_point", "<u4"), ("token", np.int32), ("starts", np.bool_)])
_Symbols = np.ndarray[tuple[int], np.dtype[np.void]]  # of _SYMBOL: consecutive symbols of a text


class Scored(NamedTuple):
    """Consecutive symbols and their surprisals.

    Attributes:
        indices: int [m], the index of each symbol in the text.
        symbols: the m symbols; bytes as the characters with their values (Latin-1).
        tokens: int [m].
        nats: [m].
    """

    indices: Indices
    symbols: str
    tokens: Tokens
    nats: Nats


@dataclasses.dataclass
class Tally:
    """What a text consisted of, counted while it is read.

    Attributes:
        read: symbols in all.
        unknown: how many of them were read as the unknown symbol.
        left_out: how often each symbol occurred that the vocabulary lacks, if it has no unknown symbol.
    """

    read: int = 0
    unknown: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def score_stream(
    params: Params,
    pieces: Callable[[], Iterable[str | bytes]],
    vocabulary: Vocabulary,
    config: ModelConfig,
    tally: Tally,
    *,
    reset_on: str = "",
    lanes: int = 1,
    mesh: Mesh | None = None,
) -> Iterator[Scored]:
    """Yield, in order, the score of every symbol that the vocabulary knows, except the first.

    With one lane the text is read once. With several, whose beginnings depend on its length, it is read twice, and its
    tokens and surprisals are kept in temporary files.

    Args: those of `surprisals`, and

        pieces: returns the text from its beginning; str for a vocabulary of characters, bytes for one of bytes.
        tally: is added to while the text is read.
        reset_on: the separator of documents, as in training.

    Raises:
        JaxrnnError: there are fewer than two symbols or fewer symbols than lanes, or the text changes between its two
            readings.
        StorageError: there is no room for the temporary files.
    """
    symbols = _encode(vocabulary, pieces(), tally, reset_on)
    if lanes == 1:
        yield from _score_one_lane(params, config, symbols)
        return
    first_reading = _encode(vocabulary, pieces(), Tally(), reset_on)
    with on_disk(vocabulary.dtype, (piece["token"] for piece in first_reading)) as text:
        separator = encode_separator(vocabulary, reset_on)
        starts = DocumentStarts(text, separator) if len(separator) else None
        windows = _windows(_check_unchanged(symbols, text), BLOCK)
        parts = ordered_surprisals(params, text, config, lanes, starts, mesh)
        for window, (_, nats) in zip(windows, parts, strict=True):
            yield _scored(window, nats)


def ordered_surprisals(
    params: Params, tokens: Tokens, config: ModelConfig, lanes: int, starts: Starts | None, mesh: Mesh | None = None
) -> Iterator[tuple[Indices, Nats]]:
    """Yield the parts of `surprisals_in_parts` in the order of the text; a temporary file holds what comes too early.

    With several lanes all parts but the last have `BLOCK` surprisals.

    Raises:
        StorageError: there is no room for the file.
    """
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


def _score_one_lane(params: Params, config: ModelConfig, pieces: Iterable[_Symbols]) -> Iterator[Scored]:
    length, carry = window_length(1, config), initial_carry(1, config)
    for window in _windows(pieces, length):
        padding = ((0, length + 1 - len(window)), (0, 0))  # one shape, so one program
        tokens, starts = (np.pad(window[name][:, None], padding) for name in ("token", "starts"))
        nats, carry = score(params, carry, Batch(tokens[:-1], tokens[1:], np.asarray(False), starts[:-1]), config)
        yield _scored(window, np.asarray(nats)[: len(window) - 1, 0])


def _windows(pieces: Iterable[_Symbols], length: int) -> Iterator[_Symbols]:
    """Yield windows of length + 1 symbols that share one with the next; the last may be shorter."""
    rest = np.zeros(0, _SYMBOL)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        while len(rest) > length:
            yield rest[: length + 1]
            rest = rest[length:]
    if len(rest) > 1:
        yield rest


def _scored(window: _Symbols, nats: Nats) -> Scored:
    symbols = window["code_point"][1:].tobytes().decode("utf-32-le", "surrogatepass")
    return Scored(window["index"][1:], symbols, window["token"][1:], nats)


def _check_unchanged(pieces: Iterable[_Symbols], text: Tokens) -> Iterator[_Symbols]:
    """Yield the pieces; raise JaxrnnError unless their tokens are those of the first reading."""
    end, changed = 0, JaxrnnError("the text changed while it was read; try again when nothing writes to it")
    for piece in pieces:
        begin, end = end, end + len(piece)
        if not np.array_equal(piece["token"], text[begin:end]):
            raise changed
        release_pages(text)
        yield piece
    if end != len(text):
        raise changed


def _encode(vocabulary: Vocabulary, pieces: Iterable[str | bytes], tally: Tally, reset_on: str) -> Iterator[_Symbols]:
    separator = encode_separator(vocabulary, reset_on)
    unknown = vocabulary.symbols.index(UNKNOWN) if vocabulary.unknown else -1
    before: Tokens = separator[:0]
    for piece in pieces:
        text = piece.decode("latin-1") if isinstance(piece, bytes) else piece
        tokens, is_known = vocabulary.find(piece)
        symbols = np.zeros(len(tokens), _SYMBOL)
        symbols["index"] = tally.read + np.arange(len(tokens))
        symbols["code_point"] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        symbols["token"] = tokens
        tally.read += len(tokens)
        tally.left_out.update(text[index] for index in np.flatnonzero(~is_known))
        symbols = symbols[is_known]
        tally.unknown += int((symbols["token"] == unknown).sum())
        if len(separator):
            symbols["starts"] = document_starts(symbols["token"], separator, before)
            before = np.concatenate([before, symbols["token"]])
            before = before[max(0, len(before) - len(separator) + 1) :]
        yield symbols

"""Score a text that arrives in pieces, in bounded memory: what each of its symbols cost to predict."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.score import Indices, Nats, surprisals_in_parts
from jaxrnn.network import Params
from jaxrnn.text import UNKNOWN, Tokens, Vocabulary, encode_separator
from jaxrnn.text.documents import DocumentStarts, Starts
from jaxrnn.text.stream import on_disk, release_pages

BLOCK = 2**16  # surprisals in memory at once

_SYMBOL = np.dtype([("index", np.intp), ("code_point", "<u4"), ("token", np.int32)])
_Symbols = np.ndarray[tuple[int], np.dtype[np.void]]  # of _SYMBOL: consecutive symbols of a text


class Scored(NamedTuple):
    """m consecutive symbols and their surprisals."""

    indices: Indices  # of the symbols in the text, int [m]
    symbols: str  # bytes as the characters with their values (Latin-1)
    tokens: Tokens  # int [m]
    nats: Nats  # [m]


@dataclasses.dataclass
class Tally:
    """What a text consisted of, counted while it is read."""

    read: int = 0  # symbols in all
    unknown: int = 0  # of these, as the unknown symbol
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # not in the vocabulary


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

    The text is read twice. A temporary file keeps its tokens, and with several lanes another one its surprisals.

    Args: those of `surprisals`, and

        pieces: returns the text from its beginning; str for a vocabulary of characters, bytes for one of bytes.
        tally: is added to while the text is read.
        reset_on: the separator of documents, as in training.

    Raises:
        JaxrnnError: there are fewer symbols than lanes, or the text changes between its two readings.
        StorageError: there is no room for the temporary files.
    """
    separator = encode_separator(vocabulary, reset_on)
    first_reading = _encode(vocabulary, pieces(), Tally())
    with on_disk(vocabulary.dtype, (piece["token"] for piece in first_reading)) as text:
        symbols, rest = _check_unchanged(_encode(vocabulary, pieces(), tally), text), np.zeros(0, _SYMBOL)
        starts = DocumentStarts(text, separator) if len(separator) else None
        for _, nats in ordered_surprisals(params, text, config, lanes, starts, mesh) if len(text) > 1 else ():
            while len(rest) <= len(nats):
                rest = np.concatenate([rest, next(symbols)])
            scored, rest = rest[1 : len(nats) + 1], rest[len(nats) :]  # the rest begins with the last one scored
            characters = scored["code_point"].tobytes().decode("utf-32-le", "surrogatepass")
            yield Scored(scored["index"], characters, scored["token"], nats)
        for _ in symbols:  # reads what is left, if only to check it
            pass


def ordered_surprisals(
    params: Params, tokens: Tokens, config: ModelConfig, lanes: int, starts: Starts | None, mesh: Mesh | None = None
) -> Iterator[tuple[Indices, Nats]]:
    """Yield the parts of `surprisals_in_parts` in the order of the text; a temporary file holds what comes too early.

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


def _encode(vocabulary: Vocabulary, pieces: Iterable[str | bytes], tally: Tally) -> Iterator[_Symbols]:
    unknown = vocabulary.symbols.index(UNKNOWN) if vocabulary.unknown else -1
    for piece in pieces:
        text = piece.decode("latin-1") if isinstance(piece, bytes) else piece
        tokens, is_known = vocabulary.find(piece)
        symbols = np.zeros(len(tokens), _SYMBOL)
        symbols["index"] = tally.read + np.arange(len(tokens))
        symbols["code_point"] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        symbols["token"] = tokens
        tally.read += len(tokens)
        tally.unknown += int((tokens == unknown).sum())
        tally.left_out.update(text[index] for index in np.flatnonzero(~is_known))
        yield symbols[is_known]

"""Text through a trained network, piece by piece: what each symbol of it cost to predict."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.score import Nats, surprisals_in_parts, surprisals_of_stream
from jaxrnn.network.model import Params
from jaxrnn.text import (
    UNKNOWN,
    DocumentStarts,
    Flags,
    Starts,
    Tokens,
    Vocabulary,
    document_starts,
    encode_separator,
    on_disk,
    release_pages,
)

BLOCK = 2**16  # surprisals that are at hand at once

Places = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
_Symbols = tuple[Places, str, Tokens, Flags]  # their places in the text, they themselves, their tokens and starts


class Scored(NamedTuple):
    """Symbols that follow each other, and their surprisals.

    Attributes:
        places: int [m], where each stands in the text.
        symbols: m of them; for bytes the characters with their values (Latin-1).
        tokens: int [m].
        nats: [m].
    """

    places: Places
    symbols: str
    tokens: Tokens
    nats: Nats


@dataclasses.dataclass
class Tally:
    """What was met in a text while it was read.

    Attributes:
        read: its symbols.
        unknown: how many of them are read as the unknown symbol.
        left_out: how often each symbol stood there that the vocabulary lacks, where it has no unknown symbol.
    """

    read: int = 0
    unknown: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def score_stream(
    params: Params,
    vocabulary: Vocabulary,
    model: ModelConfig,
    pieces: Callable[[], Iterable[str | bytes]],
    tally: Tally,
    *,
    reset_on: str = "",
    lanes: int = 1,
    mesh: Mesh | None = None,
) -> Iterator[Scored]:
    """Score a text that arrives in pieces, in bounded memory: every symbol that the vocabulary knows but the first.

    They come in order. With one lane the text is read once, as a single stream. Several lanes need to know where each
    begins: the text is read twice, and its tokens and surprisals lie in temporary files meanwhile.

    Args:
        params: the parameters.
        vocabulary: the symbols.
        model: the network's configuration.
        pieces: gives the text from its beginning; str for a vocabulary of characters, bytes for one of bytes.
        tally: is added to while the text is read.
        reset_on: what separates documents, as in training.
        lanes: as for `evaluation.surprisals`.
        mesh: devices for several lanes, as for `evaluation.surprisals`.

    Raises:
        JaxrnnError: there is nothing to score, there are more lanes than symbols to score, or the text changes.
        StorageError: there is no room for the temporary files.
    """
    symbols = _encoded(vocabulary, pieces(), tally, reset_on)
    if lanes == 1:
        ahead, symbols = itertools.tee(symbols)
        yield from _scored(
            symbols, surprisals_of_stream(params, ((tokens, starts) for _, _, tokens, starts in ahead), model)
        )
        return
    first = _encoded(vocabulary, pieces(), Tally(), reset_on)
    with on_disk(vocabulary.dtype, (tokens for _, _, tokens, _ in first)) as text:
        separator = encode_separator(vocabulary, reset_on)
        starts = DocumentStarts(text, separator) if len(separator) else None
        found = (nats for _, nats in ordered_surprisals(params, text, model, lanes=lanes, starts=starts, mesh=mesh))
        symbols = _unchanged(symbols, text)
        yield from _scored(symbols, found)
        collections.deque(symbols, maxlen=0)  # what stands at the end and was left out is counted too


def ordered_surprisals(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    *,
    lanes: int,
    starts: Starts | None = None,
    mesh: Mesh | None = None,
) -> Iterator[tuple[Places, Nats]]:
    """Return the parts of `surprisals_in_parts` in their order; what is known too early lies in a temporary file.

    Raises:
        StorageError: there is no room for it.
    """
    parts = surprisals_in_parts(params, tokens, config, lanes=lanes, starts=starts, mesh=mesh)
    if lanes == 1:
        yield from parts
        return
    dtype, count = np.dtype(config.dtype), len(tokens) - 1
    with on_disk(dtype, (np.zeros(min(BLOCK, count - begin), dtype) for begin in range(0, count, BLOCK))) as known:
        for places, nats in parts:
            known[places] = nats
            release_pages(known)
        for begin in range(0, count, BLOCK):
            block = np.array(known[begin : begin + BLOCK])
            release_pages(known)
            yield begin + np.arange(len(block)), block


def _scored(symbols: Iterator[_Symbols], found: Iterable[Nats]) -> Iterator[Scored]:
    """Give symbols, which arrive in pieces, the surprisals that belong to them; the first one has none."""
    waiting = collections.deque[_Symbols]()

    def take(count: int) -> _Symbols:
        taken = []
        while count:
            places, text, tokens, starts = waiting.popleft() if waiting else next(symbols)
            if len(places) > count:
                waiting.appendleft((places[count:], text[count:], tokens[count:], starts[count:]))
            taken.append((places[:count], text[:count], tokens[:count], starts[:count]))
            count -= min(count, len(places))
        places_, texts, tokens_, starts_ = zip(*taken, strict=True)
        return np.concatenate(places_), "".join(texts), np.concatenate(tokens_), np.concatenate(starts_)

    for index, nats in enumerate(found):
        if index == 0:
            take(1)
        places, text, tokens, _ = take(len(nats))
        yield Scored(places, text, tokens, nats)


def _unchanged(symbols: Iterable[_Symbols], text: Tokens) -> Iterator[_Symbols]:
    """Return symbols as they are, so long as they have the tokens that they had when they were read before."""
    end, changed = 0, JaxrnnError("the text changed while it was read; try again when nothing writes to it")
    for piece in symbols:
        tokens, begin, end = piece[2], end, end + len(piece[2])
        if not np.array_equal(tokens, text[begin:end]):
            raise changed
        release_pages(text)
        yield piece
    if end != len(text):
        raise changed


def _encoded(vocabulary: Vocabulary, pieces: Iterable[str | bytes], tally: Tally, reset_on: str) -> Iterator[_Symbols]:
    separator = encode_separator(vocabulary, reset_on)
    unknown = vocabulary.symbols.index(UNKNOWN) if vocabulary.unknown else -1
    before: Any = np.zeros(0, np.int64)
    for piece in pieces:
        symbols = piece.decode("latin-1") if isinstance(piece, bytes) else piece
        tokens, known = vocabulary.find(piece)
        places = tally.read + np.arange(len(tokens))
        tally.read += len(tokens)
        if not known.all():
            tally.left_out.update(symbols[place] for place in np.flatnonzero(~known))
            symbols = "".join(symbols[place] for place in np.flatnonzero(known))
            tokens, places = tokens[known], places[known]
        tally.unknown += int((tokens == unknown).sum())
        starts: Flags = np.zeros(len(tokens), np.bool_)
        if len(separator):
            starts = document_starts(tokens, separator, before)
            before = np.concatenate([before, tokens])
            before = before[max(0, len(before) - len(separator) + 1) :]
        if len(tokens):
            yield places, symbols, tokens, starts

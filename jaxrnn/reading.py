"""Text through a trained network, piece by piece: what each symbol of it cost to predict."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.evaluation import Nats, stream, surprisals
from jaxrnn.model import Params
from jaxrnn.text import UNKNOWN, Flags, Tokens, Vocabulary, document_starts, encode_separator

Places = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


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


def read(
    params: Params,
    vocabulary: Vocabulary,
    model: ModelConfig,
    pieces: Iterable[str | bytes],
    tally: Tally,
    *,
    reset_on: str = "",
    lanes: int = 1,
    mesh: Mesh | None = None,
) -> Iterator[Scored]:
    """Score a text that arrives in pieces: every symbol that the vocabulary knows but the first, in order.

    With one lane it is a single stream in bounded memory. Several lanes need to know where each begins, so the text is
    kept, some 20 bytes a symbol, and scored at its end.

    Args:
        params: the parameters.
        vocabulary: the symbols.
        model: the network's configuration.
        pieces: the text; str for a vocabulary of characters, bytes for one of bytes.
        tally: is added to while the text is read.
        reset_on: what separates documents, as in training.
        lanes: as for `evaluation.surprisals`.
        mesh: devices for several lanes, as for `evaluation.surprisals`.

    Raises:
        JaxrnnError: there is nothing to score, or there are more lanes than symbols to score.
    """
    waiting = collections.deque[tuple[Places, str, Tokens]]()

    def encoded() -> Iterator[tuple[Tokens, Flags]]:
        for places, symbols, tokens, starts in _encoded(vocabulary, pieces, tally, reset_on):
            waiting.append((places, symbols, tokens))
            yield tokens, starts

    def take(nats: Nats) -> Scored:
        """Give the symbols at the head of the queue the surprisals that belong to them."""
        taken, left = [], len(nats)
        while left:
            places, symbols, tokens = waiting.popleft()
            taken.append((places[:left], symbols[:left], tokens[:left]))
            if len(places) > left:
                waiting.appendleft((places[left:], symbols[left:], tokens[left:]))
            left -= min(left, len(places))
        places_, symbols_, tokens_ = zip(*taken, strict=True)
        return Scored(np.concatenate(places_), "".join(symbols_), np.concatenate(tokens_), nats)

    if lanes == 1:
        found = stream(params, encoded(), model)
    else:
        parts = list(encoded())
        tokens, starts = (np.concatenate(part) for part in (zip(*parts, strict=True) if parts else ([[]], [[]])))
        found = iter([surprisals(params, tokens, model, lanes=lanes, starts=starts, mesh=mesh)])
    first = True
    for nats in found:
        if first:  # the text's first symbol has no surprisal
            take(nats[:1])
            first = False
        yield take(nats)


def _encoded(
    vocabulary: Vocabulary, pieces: Iterable[str | bytes], tally: Tally, reset_on: str
) -> Iterator[tuple[Places, str, Tokens, Flags]]:
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

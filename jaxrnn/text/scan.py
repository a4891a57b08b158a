"""A text read from end to end: counted first, then encoded."""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError
from jaxrnn.text.stream import Readable, decode
from jaxrnn.text.vocabulary import Counts, Tokens, Vocabulary, count_symbols

PIECE = 2**18  # bytes; its code points, counted, take eight times as much

Progress = Callable[[str, int, int], object]
"""Is told what is being done ("reading", "encoding", "verifying"), to how many more bytes, and of how many in all."""


def silent(what: str, more: int, total: int) -> None:
    """Show no progress."""


class Rules(NamedTuple):
    """What makes tokens of a text: as for `load_corpus`."""

    vocabulary: VocabularyKind = "characters"
    normalize: bool = False
    min_count: int = 1


class Scan(NamedTuple):
    """What is found in a text.

    Attributes:
        sha256: of its bytes, in hex.
        counts: int [V'], how often each code point (byte) stands in it, after it was normalized.
    """

    sha256: str
    counts: Counts


def scan(file: Readable, name: str, rules: Rules, tell: Callable[[int], object]) -> Scan:
    """Read a text to its end; `tell` is told of the bytes.

    Raises:
        JaxrnnError: as `decode` does.
    """
    digest = hashlib.sha256()

    def note(data: bytes) -> None:
        digest.update(data)
        tell(len(data))

    counts: Counts = np.zeros(256, np.int64)
    for piece in _decoded(_Noted(file, note), name, rules):
        more: Counts = count_symbols(piece)
        if len(more) > len(counts):
            counts, more = more, counts
        counts[: len(more)] += more
    return Scan(digest.hexdigest(), counts)


def encode(
    file: Readable, name: str, rules: Rules, vocabulary: Vocabulary, tell: Callable[[int], object]
) -> Iterator[Tokens]:
    """Return the tokens of a text in pieces; `tell` is told of the bytes.

    Raises:
        JaxrnnError: it is no more what was scanned.
    """
    for piece in _decoded(_Noted(file, lambda data: tell(len(data))), name, rules):
        try:
            yield vocabulary.encode(piece)
        except JaxrnnError:
            raise changed(name) from None


def vocabulary_of(found: Scan, name: str, rules: Rules) -> Vocabulary:
    """Return the vocabulary of a text that was scanned.

    Raises:
        JaxrnnError: there is nothing to learn from it.
    """
    if not found.counts.any():
        raise JaxrnnError(f"{name} is empty; give a text to learn from")
    vocabulary = Vocabulary.of_counts(found.counts, rules.vocabulary, rules.min_count)
    if len(vocabulary) < 2:
        if vocabulary.unknown:
            raise JaxrnnError(f"no symbol of {name} occurs {rules.min_count:,} times; make min_count smaller")
        code = int(np.flatnonzero(found.counts)[0])
        symbol = chr(code) if rules.vocabulary == "characters" else bytes([code])
        raise JaxrnnError(f"{name} has a single distinct symbol, {symbol!r}: nothing to predict; give another text")
    return vocabulary


def changed(name: str) -> JaxrnnError:
    """Return the error of a file that is not the same from one reading to the next."""
    return JaxrnnError(f"{name} changed while it was read; try again when nothing writes to it")


class _Noted:
    """A file of which every piece that is read is noted."""

    def __init__(self, file: Readable, note: Callable[[bytes], object]) -> None:
        self._file, self._note = file, note

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._note(data)
        return data


def _decoded(file: Readable, name: str, rules: Rules) -> Iterator[str | bytes]:
    instead = ", or train on it with --vocabulary bytes"
    return decode(file, name, rules.vocabulary, rules.normalize, PIECE, instead=instead)

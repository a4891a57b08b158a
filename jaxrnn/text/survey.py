"""A text is read twice, in pieces: surveyed for its hash and its symbols, then encoded."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError
from jaxrnn.text.stream import decode
from jaxrnn.text.vocabulary import Counts, Tokens, Vocabulary, count_symbols


class Rules(NamedTuple):
    """How a text becomes tokens: the options of `load_corpus`."""

    vocabulary: VocabularyKind = "characters"
    normalize: bool = False
    min_count: int = 1


class Survey(NamedTuple):
    """A text's hash and symbols.

    Attributes:
        sha256: of its bytes, in hex.
        counts: int [V'], the number of occurrences of each code point or byte, after normalization.
    """

    sha256: str
    counts: Counts


def survey_text(blocks: Iterable[bytes], name: str, rules: Rules) -> Survey:
    """Survey a text, given as its bytes.

    Raises:
        JaxrnnError: `decode` refuses the text.
    """
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            yield block

    counts: Counts = np.zeros(256, np.int64)
    for piece in _decode(hashed(), name, rules):
        more = count_symbols(piece)
        if len(more) > len(counts):
            counts, more = more, counts
        counts[: len(more)] += more
    return Survey(digest.hexdigest(), counts)


def encode_text(blocks: Iterable[bytes], name: str, rules: Rules, vocabulary: Vocabulary) -> Iterator[Tokens]:
    """Yield the tokens of a surveyed text in pieces.

    Raises:
        JaxrnnError: the text has changed.
    """
    for piece in _decode(blocks, name, rules):
        try:
            yield vocabulary.encode(piece)
        except JaxrnnError:
            raise changed(name) from None


def vocabulary_of(counts: Counts, name: str, rules: Rules) -> Vocabulary:
    """Return the vocabulary of a surveyed text.

    Raises:
        JaxrnnError: there is nothing to learn from the text.
    """
    if not counts.any():
        raise JaxrnnError(f"{name} is empty; give a text to learn from")
    vocabulary = Vocabulary.of_counts(counts, rules.vocabulary, rules.min_count)
    if len(vocabulary) < 2:
        if vocabulary.unknown:
            raise JaxrnnError(f"no symbol of {name} occurs {rules.min_count:,} times; make min_count smaller")
        code = int(np.flatnonzero(counts)[0])
        symbol = chr(code) if rules.vocabulary == "characters" else bytes([code])
        raise JaxrnnError(f"{name} has a single distinct symbol, {symbol!r}: nothing to predict; give another text")
    return vocabulary


def changed(name: str) -> JaxrnnError:
    """Return the error for a file that changes between two readings."""
    return JaxrnnError(f"{name} changed while it was read; try again when nothing writes to it")


def _decode(blocks: Iterable[bytes], name: str, rules: Rules) -> Iterator[str | bytes]:
    advice = "convert it to UTF-8, or train on it with --vocabulary bytes"
    return decode(blocks, name, rules.vocabulary, rules.normalize, advice=advice)

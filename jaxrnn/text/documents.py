"""What training sees of a text: documents, at whose beginnings the carry is reset, and slices."""

import itertools
import math
from typing import NamedTuple, overload

import numpy as np

from jaxrnn.config import VocabularyKind, check_split
from jaxrnn.config.fields import check_arguments, in_short
from jaxrnn.errors import JaxrnnError
from jaxrnn.text.stream import blocks, count_tokens
from jaxrnn.text.vocabulary import Flags, Tokens, Vocabulary, check_tokens

NAMES = ("train", "validation", "test")  # of the slices
_ADVICE = "give a string that separates its documents (a new line is $'\\n' in a shell)"


class DocumentStarts:
    """The flags of `document_starts` for a text, computed where they are read.

    Example:
        >>> starts = DocumentStarts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0]))
        >>> starts[np.array([2, 3])].tolist(), starts[2:].begin, starts[2:][np.array([0])].tolist()
        ([True, False], 2, [True])
    """

    def __init__(self, text: Tokens, separator: Tokens, begin: int = 0, end: int | None = None) -> None:
        """Describe the flags of the symbols from `begin` to `end` of a text, int [N]."""
        self._text, self._separator = text, separator
        self.begin, self._end = begin, len(text) if end is None else end

    def __len__(self) -> int:
        """Return the number of flags."""
        return self._end - self.begin

    @overload
    def __getitem__(self, index: slice) -> "DocumentStarts": ...
    @overload
    def __getitem__(self, index: Tokens) -> Flags: ...
    def __getitem__(self, index: slice | Tokens) -> "DocumentStarts | Flags":
        """Return a contiguous part, without computing it, or the flags at these positions, bool of their shape."""
        if isinstance(index, slice):
            begin, end, _ = index.indices(len(self))
            return DocumentStarts(self._text, self._separator, self.begin + begin, self.begin + max(begin, end))
        first = index + (self.begin - len(self._separator) + 1)
        starts: Flags = first >= 0
        for offset, symbol in enumerate(self._separator):
            starts &= self._text[np.maximum(first + offset, 0)] == symbol
        return starts


Starts = Flags | DocumentStarts


def document_starts(tokens: Tokens, separator: Tokens) -> Flags:
    """Return where the carry is reset, bool [N]: at each token that completes an occurrence of the separator.

    The first symbol of a document is therefore predicted from the last symbol of the separator alone.

    Example:
        >>> document_starts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0])).tolist()
        [False, False, True, False, False, True, True]

    `separator` is int [k], from `encode_separator`; k = 0 separates nothing.
    """
    if not len(separator):
        return np.zeros(len(tokens), np.bool_)
    return DocumentStarts(tokens, separator)[np.arange(len(tokens))]


def check_starts(starts: Starts | None, tokens: Tokens) -> None:
    """Raise JaxrnnError unless there is a flag for each token, or None."""
    if starts is not None and (len(starts) != len(tokens) or getattr(starts, "dtype", np.dtype(bool)).kind != "b"):
        raise JaxrnnError(f"starts must be bool [{len(tokens)}], as the tokens, got {in_short(starts)}")


def encode_separator(vocabulary: Vocabulary, reset_on: str) -> Tokens:
    """Return the document separator as tokens, int [k]; raise JaxrnnError if the vocabulary lacks a symbol of it."""
    if not vocabulary.knows(reset_on):
        raise JaxrnnError(f"reset_on {reset_on!r} has symbols that are not in the vocabulary; {_ADVICE}")
    return vocabulary.encode(reset_on)


def check_separator(tokens: Tokens, separator: Tokens, reset_on: str) -> None:
    """Raise JaxrnnError if a text has no separator."""
    starts, begin = DocumentStarts(tokens, separator), 0
    for block in blocks(tokens):
        if starts[begin + np.arange(len(block))].any():
            return
        begin += len(block)
    raise JaxrnnError(f"reset_on {reset_on!r} does not occur in the text; {_ADVICE}")


class Slice(NamedTuple):
    """A contiguous slice of a text: "train", "validation" or "test", from position `begin` up to `end`.

    The tokens are int [end - begin]; `starts`, bool [end - begin], is where the carry is reset (None: nowhere).
    """

    name: str
    begin: int
    end: int
    tokens: Tokens
    starts: Starts | None = None
    kind: VocabularyKind = "characters"

    def __str__(self) -> str:
        """Return the name, and the range of positions.

        Example:
            >>> str(Slice("validation", 1003854, 1115394, np.zeros(111540, int)))
            'validation, characters 1,003,854-1,115,394'
        """
        return f"{self.name}, {self.kind} {self.begin:,}-{self.end:,}"

    def __repr__(self) -> str:
        """Leave out the tokens."""
        return f"Slice({self})"


def split(
    tokens: Tokens, fractions: tuple[float, ...], *, starts: Starts | None = None, kind: VocabularyKind = "characters"
) -> dict[str, Slice]:
    """Split a text of N symbols into consecutive slices, by name.

    A slice ends at int(N * the sum of the fractions up to and including its own), the last one at N. With (0.9, 0.1)
    the slices are nanoGPT's. Raises JaxrnnError unless there are one to three fractions above 0 with the sum 1.

    Example:
        >>> [(part.begin, part.end) for part in split(np.arange(11), (0.8, 0.1, 0.1)).values()]
        [(0, 8), (8, 9), (9, 11)]
    """
    check_arguments(split, locals())
    check_tokens(tokens)
    check_split(fractions)
    count = len(tokens)
    inner = [int(count * math.fsum(fractions[: index + 1])) for index in range(len(fractions) - 1)]
    edges = itertools.pairwise([0, *inner, count])
    return {
        name: Slice(name, begin, end, tokens[begin:end], None if starts is None else starts[begin:end], kind)
        for name, (begin, end) in zip(NAMES, edges, strict=False)
    }


def never_seen(train: Tokens, other: Tokens, vocab_size: int) -> tuple[Tokens, int]:
    """Return the distinct tokens of `other` that do not occur in `train`, int [U], and their occurrences in `other`."""
    counts = count_tokens(other, vocab_size)
    unseen = counts > 0
    for block in blocks(train):
        if not unseen.any():  # usually after the first block
            break
        unseen[block] = False
    return np.flatnonzero(unseen), int(counts[unseen].sum())

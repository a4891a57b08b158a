"""Contiguous slices of a text, for training, validation and test."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.text.documents import Starts
from jaxrnn.text.mapped import blocks, count_tokens
from jaxrnn.text.vocabulary import Tokens

NAMES = ("train", "validation", "test")


class Slice(NamedTuple):
    """A contiguous slice of a text.

    Attributes:
        name: "train", "validation" or "test".
        begin: the position of its first symbol in the text.
        end: the position after its last symbol.
        tokens: int [end - begin].
        starts: bool [end - begin], where the carry is reset; None: nowhere.
        kind: the kind of its symbols.
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
    tokens: Tokens,
    fractions: tuple[float, ...],
    *,
    starts: Starts | None = None,
    kind: VocabularyKind = "characters",
) -> dict[str, Slice]:
    """Split a text of N symbols into consecutive slices, by name.

    A slice ends at int(N * the sum of the fractions up to and including its own), the last one at N. With (0.9, 0.1)
    the slices are nanoGPT's.

    Example:
        >>> [(part.begin, part.end) for part in split(np.arange(11), (0.8, 0.1, 0.1)).values()]
        [(0, 8), (8, 9), (9, 11)]
    """
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

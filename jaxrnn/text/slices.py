"""A text in contiguous slices: to train on, to validate with, to test with."""

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
    """A contiguous part of a text.

    Attributes:
        name: "train", "validation" or "test".
        begin: its first symbol's place in the text.
        end: the place after its last one.
        tokens: int [end - begin].
        starts: bool [end - begin], where the state starts anew; None: nowhere.
        kind: what its symbols are.
    """

    name: str
    begin: int
    end: int
    tokens: Tokens
    starts: Starts | None = None
    kind: VocabularyKind = "characters"

    def __str__(self) -> str:
        """Name it, as results do.

        Example:
            >>> str(Slice("validation", 1003854, 1115394, np.zeros(111540, int)))
            'validation, characters 1,003,854-1,115,394'
        """
        return f"{self.name}, {self.kind} {self.begin:,}-{self.end:,}"

    def __repr__(self) -> str:
        """Name it, and no numbers."""
        return f"Slice({self})"


def split(
    tokens: Tokens,
    fractions: tuple[float, ...],
    *,
    starts: Starts | None = None,
    kind: VocabularyKind = "characters",
) -> dict[str, Slice]:
    """Cut a text of N symbols into slices that follow each other, by name.

    A slice ends at int(N * the sum of the fractions up to it), the last one at N: with (0.9, 0.1) just where nanoGPT
    cuts.

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
    """Return the distinct tokens of `other` that `train` lacks, int [U], and how often they occur in `other`."""
    counts = count_tokens(other, vocab_size)
    unseen = counts > 0
    for block in blocks(train):
        if not unseen.any():  # usually after the first block
            break
        unseen[block] = False
    return np.flatnonzero(unseen), int(counts[unseen].sum())

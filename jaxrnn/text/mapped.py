"""Tokens that stay on the disk: read through the memory map, and forgotten again."""

import mmap
from collections.abc import Iterator

import numpy as np

from jaxrnn.text.vocabulary import Counts, Tokens

BLOCK = 2**20  # tokens; counted, they take eight times as many bytes


def forget(tokens: Tokens) -> None:
    """Give back the memory that what was read of a memory-mapped text takes; of other arrays, do nothing.

    The system keeps the pages as long as it has room, but they are no more a part of this process.
    """
    mapped = getattr(tokens, "_mmap", None)  # np.memmap hands it on to its slices
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(tokens: Tokens) -> Iterator[Tokens]:
    """Return a text in pieces that follow each other, in bounded memory."""
    for begin in range(0, len(tokens), BLOCK):
        yield tokens[begin : begin + BLOCK]
        forget(tokens)


def count_tokens(tokens: Tokens, size: int) -> Counts:
    """Return how often each token from 0 to size - 1 stands in a text, int [size]."""
    counts: Counts = np.zeros(size, np.int64)
    for block in blocks(tokens):
        counts += np.bincount(block, minlength=size)
    return counts

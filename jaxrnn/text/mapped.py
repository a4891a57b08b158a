"""Arrays that are larger than memory: files that are memory-mapped and read in blocks."""

import contextlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxrnn.errors import StorageError
from jaxrnn.text.vocabulary import Counts, Tokens

BLOCK = 2**20  # tokens; their counts take eight times as many bytes

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


@contextlib.contextmanager
def on_disk(dtype: np.dtype[Any], pieces: Iterable[Array]) -> Iterator[Array]:
    """Yield the concatenation of pieces, [N], as a writable array in a temporary file.

    Raises:
        StorageError: there is no room for the file.
    """
    with tempfile.TemporaryFile() as file:
        count = 0
        for piece in pieces:
            try:
                file.write(np.ascontiguousarray(piece, dtype).data)
                file.flush()
            except OSError as error:
                raise StorageError(
                    f"can't write to {tempfile.gettempdir()} ({error.strerror or error}); make room there, or set "
                    "TMPDIR to another place"
                ) from None
            count += len(piece)
        yield np.memmap(file, dtype, "r+", shape=(count,)) if count else np.zeros(0, dtype)


def release_pages(tokens: Array) -> None:
    """Drop a memory-mapped array's pages from this process's memory; of any other array, do nothing.

    They stay in the system's page cache as long as it has room, and are mapped again when they are read.
    """
    mapped = getattr(tokens, "_mmap", None)  # np.memmap passes it on to its slices
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(tokens: Array) -> Iterator[Array]:
    """Yield an array in consecutive blocks, of which one at a time is in memory."""
    for begin in range(0, len(tokens), BLOCK):
        yield tokens[begin : begin + BLOCK]
        release_pages(tokens)


def count_tokens(tokens: Tokens, vocab_size: int) -> Counts:
    """Return the number of occurrences of each token, int [V]."""
    counts: Counts = np.zeros(vocab_size, np.int64)
    for block in blocks(tokens):
        counts += np.bincount(block, minlength=vocab_size)
    return counts

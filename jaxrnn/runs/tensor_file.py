"""Reading a safetensors file that nobody vouches for: everything is checked before memory is taken for it.

The format: eight bytes, the length of the header (little-endian); the header, JSON: for each tensor its type, shape and
place, and under __metadata__ strings; then the tensors' bytes, without gaps.
"""

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

HEADER_LIMIT = 2**20  # bytes
_BLOCK = 2**20  # bytes
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?"},
}


class Tensor(NamedTuple):
    """A tensor that lies in a file.

    Attributes:
        dtype: its type.
        shape: its shape.
        start: where its bytes begin in the file.
        size: how many there are.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    size: int


class TensorFile(contextlib.AbstractContextManager["TensorFile"]):
    """A safetensors file that is open: what is read of it belongs together, whatever takes its name meanwhile.

    Attributes:
        path: where it was found.
        metadata: what it says of itself.
        tensors: its tensors by name.
    """

    def __init__(self, path: Path) -> None:
        """Read the header and check it against the file's size; it takes memory for its own bytes only.

        Raises:
            ValueError: it is no regular file, its header is above 1 MB or none, or its tensors are not just the rest of
                it.
            OSError: it can't be read.
        """
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe may wait for ever
            raise ValueError("no regular file")
        self.path = path
        self._file = path.open("rb")
        try:
            self.metadata, self.tensors = _header(self._file)
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let it go."""
        self._file.close()

    def read(self, tensor: Tensor) -> Array:
        """Return one of its tensors.

        Raises:
            OSError: it can't be read.
            ValueError: the file has become shorter.
        """
        array = np.fromfile(self._file_at(tensor.start), tensor.dtype, math.prod(tensor.shape))
        return array.reshape(tensor.shape)

    def blocks(self, tensor: Tensor) -> Iterator[bytes]:
        """Return the bytes of one of its tensors, at most a megabyte at a time.

        Raises:
            OSError: it can't be read.
        """
        for place in range(0, tensor.size, _BLOCK):
            yield self._file_at(tensor.start + place).read(min(_BLOCK, tensor.size - place))

    def _file_at(self, place: int) -> BinaryIO:
        self._file.seek(place)
        return self._file


def _header(file: BinaryIO) -> tuple[dict[str, str], dict[str, Tensor]]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError("no safetensors file, or not all of one")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header has {length:,} bytes, and may have {HEADER_LIMIT:,}")
    data = file.read(length)
    try:
        header = json.loads(data.decode())
        metadata = header.pop("__metadata__", {})
        tensors = {name: _tensor(8 + length, **described) for name, described in header.items()}
        strings = all(isinstance(value, str) for value in metadata.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("its header is not that of a safetensors file of numbers") from None
    if not strings:
        raise ValueError("its metadata are not strings")
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.size)):
        if tensor.start != end:
            raise ValueError("its tensors do not lie one after the other")
        end += tensor.size
    if end != size:
        raise ValueError(f"it has {size:,} bytes, and should have {end:,}")
    return metadata, tensors


def _tensor(begin: int, dtype: Any, shape: Any, data_offsets: Any) -> Tensor:
    start, stop = data_offsets
    numbers = (start, stop, *shape)
    if len(numbers) > 34 or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError
    kind = np.dtype(_DTYPES[dtype] if isinstance(dtype, str) and dtype in _DTYPES else "nothing of ours")
    if kind.itemsize * math.prod(shape) != stop - start:
        raise ValueError
    return Tensor(kind, tuple(shape), begin + start, stop - start)

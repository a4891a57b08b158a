"""Files that get new contents wholly, or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jaxrnn.errors import StorageError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the name `path` at the end: forced to the disk, then renamed.

    What was at `path` stays until then, and for good if anything fails before.

    Raises:
        StorageError: it can't be written; the message says why.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                _to_disk(file)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if os.name == "posix":  # the new name itself must reach the disk too
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
    except OSError as error:
        raise StorageError(
            f"can't write {path} ({error.strerror or error}); make room, or choose another place"
        ) from None


def commit(path: Path, data: bytes) -> None:
    """Give `path` new contents wholly or not at all: write aside, force to the disk, read back, rename.

    Raises:
        StorageError: it can't be written; the message says why, and what was there before is untouched.
    """
    with replacing(path) as file:
        file.write(data)
        _to_disk(file)
        if Path(file.name).read_bytes() != data:
            raise OSError("what was written is not what is read back")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

"""Files that get new contents wholly, or not at all."""

import contextlib
import os
import secrets
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
    # A process id alone is not unique where containers share a directory.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                yield file
                _to_disk(file)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        names_to_disk(path.parent)
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


def make_directory(path: Path) -> None:
    """Make a directory and what is missing above it, so that a power cut leaves it there.

    Raises:
        OSError: it can't be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        names_to_disk(folder.parent)


def names_to_disk(directory: Path) -> None:
    """Force the names in a directory to the disk, as far as the system knows how."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

"""Files that are replaced atomically: a reader, or a crash, sees the old contents or the new ones, never a part."""

import contextlib
import errno
import os
import secrets
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jaxrnn.errors import StorageError

PATIENCE = 2.0  # seconds in which a rename is tried again; a virus scanner or a backup may have the file open


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file for the new contents of `path`; at the end it is synced to the disk and renamed.

    If anything fails before, the temporary file is removed and `path` is left as it was. Raises StorageError, with the
    reason, if the file can't be written.
    """
    target = path.resolve()  # what a link points to is replaced, not the link
    # A process id alone is not unique where containers share a directory.
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        if target.exists() and not (target.is_file() or target.is_dir()):  # a device or a pipe
            raise OSError("it is not a regular file")
        try:
            with temporary.open("xb") as file:
                yield file
                _sync(file)
            _rename(temporary, target)
        finally:
            with contextlib.suppress(OSError):  # after success there is none
                temporary.unlink()
        sync_directory(target.parent)
    except OSError as error:
        raise StorageError(f"can't write {path} ({error.strerror or error}); make room or use another place") from None


def commit(path: Path, data: bytes) -> None:
    """Replace the contents of `path`, as `replacing` does, after reading back what was written."""
    with replacing(path) as file:
        file.write(data)
        _sync(file)
        if Path(file.name).read_bytes() != data:
            raise OSError("what was written is not what is read back")


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, and sync them to the disk; raise OSError if it can't be made."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def sync_directory(path: Path) -> None:
    """Sync the names in a directory to the disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
            warnings.warn(
                f"can't sync the directory {path} ({error.strerror}); a file that was just written there may be "
                "lost if the machine loses power",
                stacklevel=2,
            )
        finally:
            os.close(descriptor)


def _rename(temporary: Path, target: Path) -> None:
    """Rename a file; where another program holds the target for a moment, try again for PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            temporary.replace(target)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY) or time.monotonic() > end:
                raise
            time.sleep(0.05)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

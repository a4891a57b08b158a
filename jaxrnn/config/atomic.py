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

_ADVICE = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "make its directory first, or choose another"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or choose another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a place where you may write"),
    errno.EFBIG: "allow larger files (ulimit -f), or choose another place",
    errno.EISDIR: "give the name of a file",
}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file for the new contents of `path`; at the end it is synced to the disk and renamed.

    If anything fails before, the temporary file is removed and `path` is left as it was. Raises StorageError, with the
    reason, if the file can't be written.
    """
    check_writable(path)
    target = _target(path)
    # A process id alone is not unique where containers share a directory.
    temporary = target.with_name(f".{target.name[:50]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
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
        raise storage_error(path, error) from None


def check_writable(path: Path) -> None:
    """Raise StorageError if a file can't be written to `path`, as far as is known before anything is computed."""
    try:
        target = _target(path)
        if str(path) == "-":
            raise OSError(errno.EISDIR, "a file is needed, not stdout")
        if path.exists() and not path.is_file():
            number = errno.EISDIR if path.is_dir() else errno.EINVAL  # a device or a pipe
            raise OSError(number, os.strerror(number) if path.is_dir() else "it is not a regular file")
        if not target.parent.is_dir():
            number = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number))
        if not os.access(target.parent, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:  # also where the name is too long
        raise storage_error(path, error) from None


def _target(path: Path) -> Path:
    """Return the file to replace: where a path is a link, the link's target; in a loop of links, one of them."""
    return Path(os.path.realpath(path))


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that can't be written, with what to do."""
    advice = _ADVICE.get(error.errno or 0, "choose another place")
    return StorageError(f"can't write {path} ({error.strerror or error}); {advice}")


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

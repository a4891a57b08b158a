"""A lock that gives a run directory one writer; the system releases it when its process ends, however it ends."""

import contextlib
import importlib
import os
import time
import warnings
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any

from jaxrnn.errors import StorageError, TakenError

PATIENCE = 1.0  # seconds to wait for processes that only ask whether a run is trained (is_locked)
LOCK = ".lock"  # stays when it is released: to remove it would let two processes hold two files of that name

_LOOKS = 5  # attempts of a reader where locks can't be shared, as another reader may hold the lock for a moment


def _import(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)


fcntl, msvcrt = _import("fcntl"), _import("msvcrt")  # POSIX has the first, Windows the second


def _lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock a file: exclusively, unless `shared` is asked for and the system has shared locks.

    Raises BlockingIOError or PermissionError if another one holds it, and OSError where there are no locks.
    """
    if fcntl:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    elif msvcrt:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        raise OSError("this Python has no locks")


def is_locked(directory: Path) -> bool:
    """Return whether a process trains in a directory now; nothing is written."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # it may be a pipe
    except OSError:
        return False
    try:
        for _ in range(1 if fcntl else _LOOKS):
            with contextlib.suppress(BlockingIOError, PermissionError):
                _lock(descriptor, shared=True)  # several processes may ask at once
                return False
            time.sleep(0.01)
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)


class WriterLock:
    """The right to write to a run directory, until it is closed, or this object or its process ends.

    On a file system without locks a warning says so, and nothing is held.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock; raise TakenError if another process or run holds it."""
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        self.close = weakref.finalize(self, os.close, descriptor)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                _lock(descriptor)
            except (BlockingIOError, PermissionError):
                if time.monotonic() < end:
                    time.sleep(0.01)
                    continue
                self.close()
                raise TakenError(
                    f"{directory} is being trained, by another process or by a fit() of this one that is still open; "
                    "wait until it has ended, or choose another --run-dir"
                ) from None
            except OSError as error:
                warnings.warn(
                    f"can't lock {directory} ({error.strerror or error}); make sure that nothing else trains there",
                    stacklevel=1,
                )
            return


@contextlib.contextmanager
def write_errors(directory: Path) -> Generator[None]:
    """Turn an OSError into a StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"can't write to {directory} ({reason}); choose another --run-dir") from None

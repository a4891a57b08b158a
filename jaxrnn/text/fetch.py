"""Where the bytes of a corpus come from: a file, the standard library, or a server that is asked once.

Named corpora that are fetched are checked against a known SHA-256 and kept in the user's cache directory.
"""

import contextlib
import errno
import hashlib
import http.client
import io
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from jaxrnn.errors import JaxrnnError


class RemoteText(NamedTuple):
    """A text on a server: its address, its size in bytes and its SHA-256 in hex."""

    url: str
    size: int
    sha256: str


BUILT_IN = "python-docs"
REMOTE = {
    "tinyshakespeare": RemoteText(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}
NAMED = (BUILT_IN, *REMOTE)


def cache_directory() -> Path:
    """Return the user's cache directory of this program; it may not exist yet.

    Raises:
        JaxrnnError: the user has no home directory, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxrnn"
    except RuntimeError:
        raise JaxrnnError("there is no home directory for the cache; set XDG_CACHE_HOME to a directory") from None


def read(source: str) -> bytes:
    """Return the bytes of a named corpus or of a regular file, as `opened` finds them."""
    with opened(source) as file:
        return file.read()


@contextlib.contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """Give a named corpus or a regular file to read from.

    Raises:
        JaxrnnError: it can't be had; the message says why and what to do.
    """
    if source in NAMED:
        yield io.BytesIO(_python_docs() if source == BUILT_IN else _remote(source, REMOTE[source]))
        return
    path = Path(source)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            raise JaxrnnError(f"{source} is {what}; give a text file")
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, JaxrnnError):
            raise
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise no_such_file(source) from None
        raise JaxrnnError(f"can't read {source!r}: {getattr(error, 'strerror', None) or error}") from None


def no_such_file(source: str) -> JaxrnnError:
    """Return the error of a name that no file has; it may have been meant as the text itself."""
    name = Path(source).name
    if len(name) <= 255 and not any(map(str.isspace, name)):
        return JaxrnnError(f"no such file: {source}; give a text file or one of: {', '.join(NAMED)}")
    shown = source if len(source) <= 255 and source.isprintable() else f"{name[:60]!r}..."
    return JaxrnnError(f"no such file: {shown}; give a text file, or a text itself by jaxrnn.Corpus.from_text(TEXT)")


def size_of(file: BinaryIO) -> int:
    """Return how many bytes a file has that `opened` gave."""
    return len(file.getbuffer()) if isinstance(file, io.BytesIO) else os.fstat(file.fileno()).st_size


def _python_docs() -> bytes:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise JaxrnnError(f"this Python came without pydoc_data, which {BUILT_IN} is made of; give a file") from None
    return "\n".join(topics[key] for key in sorted(topics)).encode()


def _remote(name: str, remote: RemoteText) -> bytes:
    """Return a remote text from the cache, fetching it if it is not there or not what it should be."""
    path = cache_directory() / f"{name}.txt"
    if path.is_file() and _matches(data := path.read_bytes(), remote):
        return data
    by_hand = f"fetch it by hand and put it at {path}"
    try:
        with urllib.request.urlopen(remote.url, timeout=30) as response:
            data = bytes(response.read(remote.size + 1))
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise JaxrnnError(f"can't fetch {name} from {remote.url} ({reason}); {by_hand}") from None
    if not _matches(data, remote):
        raise JaxrnnError(f"what {remote.url} sent is not {name} (its SHA-256 differs); {by_hand}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise JaxrnnError(f"can't keep {name} in {path.parent} ({error.strerror}); make it writable") from None
    return data


def _matches(data: bytes, remote: RemoteText) -> bool:
    return len(data) == remote.size and hashlib.sha256(data).hexdigest() == remote.sha256

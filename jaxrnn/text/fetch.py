"""Corpora that have a name: from the standard library, or from a server that is asked once.

A fetched text is checked against its SHA-256 and kept in the user's cache directory.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from jaxrnn.config.atomic import replacing
from jaxrnn.errors import JaxrnnError, StorageError


class RemoteText(NamedTuple):
    """A text on a server: its address, its size in bytes and its SHA-256 in hex."""

    url: str
    size: int
    sha256: str

    def matches(self, data: bytes) -> bool:
        """Return whether these bytes are the text."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256


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
    """Return this program's directory in the user's cache; it may not exist yet."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxrnn"
    except RuntimeError:  # as in some containers
        raise JaxrnnError("there is no home directory for the cache; set XDG_CACHE_HOME to a directory") from None


def make_private_directory(path: Path) -> None:
    """Make a directory in the cache, readable by this user only."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"can't make {path} ({error.strerror}); set XDG_CACHE_HOME to another place") from None


def read_named_corpus(name: str) -> bytes:
    """Return the text of a corpus in `NAMED`, in UTF-8; it is fetched if the cache lacks it or holds a damaged one.

    Raises JaxrnnError if this Python lacks it or it can't be fetched, StorageError if the cache can't be written to.
    """
    if name == BUILT_IN:
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise JaxrnnError(f"this Python came without pydoc_data, which {name} is made of; give a file") from None
        return "\n".join(topics[key] for key in sorted(topics)).encode()
    remote, path = REMOTE[name], cache_directory() / f"{name}.txt"
    if path.is_file() and remote.matches(data := path.read_bytes()):
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
    if not remote.matches(data):
        raise JaxrnnError(f"what {remote.url} sent is not {name} (its SHA-256 differs); {by_hand}")
    make_private_directory(path.parent)
    with replacing(path) as file:
        file.write(data)
    return data

"""Tokens of big texts in the user's cache directory: a file for each text and way of encoding it.

A file is a line that names the format, the SHA-256 of the header, the header's length (8 bytes, little-endian), the
header (JSON, UTF-8), zeros up to a multiple of 4,096 bytes, and the tokens. It is written aside and renamed, so that it
is whole wherever it has its name; two processes that make the same one at once do no harm.

Whoever opens one checks the header's hash and the file's size. The tokens' hash, which takes a second a gigabyte, is
checked where the file is not, by size, times and inode, the one that was last checked; so is a text's own hash.
A disk that changes bits and tells nobody is found by `jaxrnn prepare --verify` only.

What nobody has used for a month is removed when another one is made: it is made anew where it is wanted after all.
"""

import contextlib
import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.atomic import replacing
from jaxrnn.errors import JaxrnnError, StorageError
from jaxrnn.text import fetch
from jaxrnn.text.mapped import blocks
from jaxrnn.text.scan import Progress, Rules, changed
from jaxrnn.text.vocabulary import Tokens, Vocabulary

CLOCK_NS = 2 * 10**9  # a file changed again within the clock's grain (FAT: 2 s) may keep its times
ABANDONED = 3600.0  # seconds without a write after which a temporary file is nobody's
UNUSED = 30 * 86400.0  # seconds without a use after which tokens are removed

_FORMAT = b"jaxrnn tokens 1\n"
_FIXED = len(_FORMAT) + 32 + 8
_MAX_HEADER = 2**24  # bytes; all of Unicode takes a quarter of it
_ALIGNMENT = 4096


class Kept(NamedTuple):
    """Tokens that are kept: the file, the vocabulary, and the tokens in it, memory-mapped, int [N]."""

    path: Path
    vocabulary: Vocabulary
    tokens: Tokens


class _DamagedError(Exception):
    pass


def directory() -> Path:
    """Return where the tokens are kept; it may not exist yet."""
    return fetch.cache_directory() / "tokens"


def find(sha256: str, rules: Rules, progress: Progress, *, verify: bool = False) -> Kept | None:
    """Return the tokens of a text that are kept; None, after a warning where they are damaged: there are none.

    Args:
        sha256: of the text.
        rules: how it is encoded.
        progress: is told of the bytes that are verified.
        verify: check the tokens' hash whether or not the file has changed since.
    """
    path = _path(sha256, rules)
    try:
        return _open(path, sha256, rules, progress, verify)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except _DamagedError as error:
        warnings.warn(f"{path} is damaged ({error}); it is made anew", stacklevel=2)
        with contextlib.suppress(OSError):
            path.unlink()  # to make room
    except OSError as error:
        warnings.warn(f"can't read {path} ({error.strerror or error}); it is made anew", stacklevel=2)
    return None


def keep(
    sha256: str, rules: Rules, vocabulary: Vocabulary, count: int, pieces: Iterable[Tokens], source: str
) -> Kept:  # fmt: skip
    """Keep tokens that arrive in pieces, and return them.

    Raises:
        StorageError: there is no room, or the cache directory can't be written to; nothing is left behind.
        JaxrnnError: the text changed since it was counted.
    """
    path = _path(sha256, rules)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"can't make {path.parent} ({error.strerror}); set XDG_CACHE_HOME to another place"
        ) from None
    _remove_unused(path.parent)
    dtype = vocabulary.dtype.newbyteorder("<")
    with replacing(path) as file:
        head = _head(_header(sha256, rules, vocabulary, count, "0" * 64))
        file.write(head)
        digest, written = hashlib.sha256(), 0
        for piece in pieces:
            data = np.ascontiguousarray(piece, dtype).data
            digest.update(data)
            file.write(data)
            written += len(piece)
        if written != count:
            raise changed(source)
        file.seek(0)
        file.write(_head(_header(sha256, rules, vocabulary, count, digest.hexdigest())))
    remember_sha256(str(path), path.stat(), digest.hexdigest())
    return Kept(path, vocabulary, np.memmap(path, dtype, "r", len(head), (count,)))


def fingerprint(found: os.stat_result) -> list[int]:
    """Return what changes when a file does."""
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def known_sha256(path: str, found: os.stat_result) -> str | None:
    """Return the SHA-256 that was remembered of a file, if the file has not changed since."""
    try:
        record = json.loads(_record(path).read_bytes())
        if record["file"] != [path, *fingerprint(found)]:
            return None
        _note_use(path)
        return str(record["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember_sha256(path: str, found: os.stat_result, sha256: str) -> None:
    """Remember the SHA-256 of a file as it was found; where that can't be written, warn."""
    record = _record(path)
    try:
        with replacing(record) as file:
            file.write(json.dumps({"file": [path, *fingerprint(found)], "sha256": sha256}).encode())
    except JaxrnnError as error:
        warnings.warn(f"{error}; until then {path} is read whole at each start", stacklevel=2)


def _path(sha256: str, rules: Rules) -> Path:
    key = hashlib.sha256(json.dumps([sha256, *rules]).encode()).hexdigest()
    return directory() / f"{key[:32]}.tokens"


def _record(path: str) -> Path:
    return directory() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _header(sha256: str, rules: Rules, vocabulary: Vocabulary, count: int, tokens_sha256: str) -> dict[str, Any]:
    return {
        "text_sha256": sha256,
        "rules": list(rules),
        "symbols": vocabulary.symbols,
        "unknown": vocabulary.unknown,
        "count": count,
        "tokens_sha256": tokens_sha256,
    }


def _head(header: dict[str, Any]) -> bytes:
    data = json.dumps(header, ensure_ascii=False).encode()
    head = _FORMAT + hashlib.sha256(data).digest() + len(data).to_bytes(8, "little") + data
    return head + bytes(-len(head) % _ALIGNMENT)


def _open(path: Path, sha256: str, rules: Rules, progress: Progress, verify: bool) -> Kept:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        fixed = file.read(_FIXED)
        length = int.from_bytes(fixed[-8:], "little")
        if len(fixed) < _FIXED or not fixed.startswith(_FORMAT) or length > _MAX_HEADER:
            raise _DamagedError("its header is none")
        data = file.read(length)
        if hashlib.sha256(data).digest() != fixed[len(_FORMAT) : -8]:
            raise _DamagedError("its header is not what was written")
        header = json.loads(data)
        if (header["text_sha256"], header["rules"]) != (sha256, list(rules)):
            raise _DamagedError("it is of another text")
        vocabulary = Vocabulary(header["symbols"], rules.vocabulary, header["unknown"])
        dtype, offset = vocabulary.dtype.newbyteorder("<"), len(_head(header))
        if found.st_size != offset + header["count"] * dtype.itemsize:
            raise _DamagedError(f"it has {found.st_size:,} bytes, which are not all or too many")
        tokens = np.memmap(file, dtype, "r", offset, (header["count"],))
    if verify or known_sha256(str(path), found) != header["tokens_sha256"]:
        digest = hashlib.sha256()
        for block in blocks(tokens):
            digest.update(block.data)
            progress("verifying", block.nbytes, tokens.nbytes)
        if digest.hexdigest() != header["tokens_sha256"]:
            raise _DamagedError("its tokens are not what was written")
        remember_sha256(str(path), found, digest.hexdigest())
    return Kept(path, vocabulary, tokens)


def _remove_unused(place: Path) -> None:
    """Remove what was not used for long, and the temporary files of processes that were killed.

    Who has mapped a file that is removed keeps it; a process that lives has written to its temporary file of late.
    """
    for file in place.iterdir():
        uses = [file] if file.suffix != ".tokens" else [file, _record(str(file))]  # a use is noted at the record
        with contextlib.suppress(OSError):
            last = max((use.stat().st_mtime for use in uses if use.exists()), default=math.inf)
            if last < time.time() - (ABANDONED if file.suffix == ".tmp" else UNUSED):
                file.unlink()


def _note_use(path: str) -> None:
    with contextlib.suppress(OSError):
        os.utime(_record(path))

"""Tokens of big texts, in the user's cache directory: one file per text and encoding.

A file consists of a line of JSON, with spaces up to a multiple of 4,096 bytes, and the tokens. It is replaced
atomically, so that two processes may write the same one at once.

Beside it lies a record of its SHA-256. The file is hashed again, which takes a second per gigabyte, only if it is not
the one that was hashed last, by size, times and inode; so is a text. Bits that a disk changes silently are found by
`jaxrnn prepare --verify` alone.

Writing a file removes those that have not been used for a month; they are rebuilt when they are needed again.
"""

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxrnn.atomic import replacing
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import fetch
from jaxrnn.text.stream import Progress, Rules, changed, encode_text, read_blocks, survey_text
from jaxrnn.text.vocabulary import Tokens, Vocabulary

CLOCK_NS = 2 * 10**9  # resolution of a file's times (FAT: 2 s), within which a change may go unnoticed
ABANDONED = 3600.0  # seconds without a write after which a temporary file is removed
UNUSED = 30 * 86400.0  # seconds without a use after which tokens are removed

_VERSION = 3  # of the format; the files of another one are not looked for
_ALIGNMENT = 4096  # bytes


class CachedTokens(NamedTuple):
    """The tokens of a text, int [N], memory-mapped from a file in the cache; the SHA-256 is the text's, in hex."""

    path: Path
    sha256: str
    vocabulary: Vocabulary
    tokens: Tokens


def directory() -> Path:
    """Return the directory of the tokens; it may not exist yet."""
    return fetch.cache_directory() / "tokens"


def load_tokens(file: BinaryIO, name: str, rules: Rules, progress: Progress, verify: bool) -> CachedTokens:
    """Return the tokens of a text from the cache, after writing them there if they are missing or damaged.

    With `verify`, all of the text and of its tokens is read, even if the files have not changed. Raises JaxrnnError if
    the text can't be used or changes while it is read, and StorageError if there is no room or the cache directory
    can't be written to; nothing is left behind.
    """
    status, now = os.fstat(file.fileno()), time.time_ns()

    def read(activity: str) -> Iterator[bytes]:
        file.seek(0)
        yield from read_blocks(file, lambda new: progress(activity, new, status.st_size))
        if _fingerprint(os.fstat(file.fileno())) != _fingerprint(status):
            raise changed(name)

    sha256 = None if verify else _recorded_sha256(name, status)
    if sha256 and (cached := _find(sha256, rules, progress, verify)):
        return cached
    sha256, vocabulary = survey_text(read("reading"), name, rules)
    cached = _find(sha256, rules, progress, verify)
    if cached is None:
        cached = _store(sha256, rules, vocabulary, encode_text(read("encoding"), name, rules, vocabulary))
    if max(status.st_mtime_ns, status.st_ctime_ns) < now - CLOCK_NS:
        record_sha256(name, status, sha256)
    return cached


def _find(sha256: str, rules: Rules, progress: Progress, verify: bool) -> CachedTokens | None:
    """Return the tokens of a text; None if they are not there, or, with a warning, are damaged."""
    path = _path(sha256, rules)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if verify or _recorded_sha256(str(path), status) is None:
                digest = hashlib.sha256()
                for block in read_blocks(file, lambda new: progress("verifying", new, status.st_size)):
                    digest.update(block)
                if digest.hexdigest() != _recorded_sha256(str(path)):
                    raise ValueError("it has changed")
                record_sha256(str(path), status, digest.hexdigest())
                file.seek(0)
            header = json.loads(file.readline())
            vocabulary = Vocabulary(header["symbols"], rules.vocabulary, header["unknown"])
            tokens = np.memmap(file, vocabulary.dtype.newbyteorder("<"), "r", file.tell())
            return CachedTokens(path, sha256, vocabulary, tokens)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"{path} can't be read or is damaged ({reason}); it is rebuilt", stacklevel=2)
        with contextlib.suppress(OSError):
            path.unlink()  # to make room
        return None


def _store(sha256: str, rules: Rules, vocabulary: Vocabulary, pieces: Iterable[Tokens]) -> CachedTokens:
    """Write the tokens of a text, from pieces, and return them memory-mapped."""
    path = _path(sha256, rules)
    fetch.make_private_directory(path.parent)
    _remove_unused(path.parent)
    dtype = vocabulary.dtype.newbyteorder("<")
    line = json.dumps({"symbols": vocabulary.symbols, "unknown": vocabulary.unknown}).encode()
    line = line.ljust(-(-(len(line) + 1) // _ALIGNMENT) * _ALIGNMENT - 1) + b"\n"
    digest = hashlib.sha256(line)
    with replacing(path) as file:
        file.write(line)
        for piece in pieces:
            data = np.ascontiguousarray(piece, dtype).data
            digest.update(data)
            file.write(data)
    record_sha256(str(path), path.stat(), digest.hexdigest())
    return CachedTokens(path, sha256, vocabulary, np.memmap(path, dtype, "r", len(line)))


def _path(sha256: str, rules: Rules) -> Path:
    key = hashlib.sha256(json.dumps([_VERSION, sha256, *rules]).encode()).hexdigest()
    return directory() / f"{key[:32]}.tokens"


def _record(path: str) -> Path:
    return directory() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _fingerprint(status: os.stat_result) -> list[int]:
    """Return numbers that differ once a file has changed."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _recorded_sha256(path: str, status: os.stat_result | None = None) -> str | None:
    """Return the recorded SHA-256 of a file; None if there is no record, or the file no longer has this status."""
    try:
        record = json.loads(_record(path).read_bytes())
        if status and record["file"] != [path, *_fingerprint(status)]:
            return None
        with contextlib.suppress(OSError):
            os.utime(_record(path))  # it was used
        return str(record["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def record_sha256(path: str, status: os.stat_result, sha256: str) -> None:
    """Record the SHA-256 of a file with this status; warn if the record can't be written."""
    try:
        with replacing(_record(path)) as file:
            file.write(json.dumps({"file": [path, *_fingerprint(status)], "sha256": sha256}).encode())
    except JaxrnnError as error:
        warnings.warn(f"{error}; until then all of {path} is read at each start", stacklevel=2)


def _remove_unused(folder: Path) -> None:
    """Remove what has not been used for long, and the temporary files of processes that were killed.

    A process that has mapped a removed file keeps it, and one that is alive has written to its temporary file recently.
    """
    for file in folder.iterdir():
        record = _record(str(file))  # of tokens, whose uses are noted there
        with contextlib.suppress(OSError):
            last = (record if record.exists() else file).stat().st_mtime
            if last < time.time() - (ABANDONED if file.suffix == ".tmp" else UNUSED):
                file.unlink()

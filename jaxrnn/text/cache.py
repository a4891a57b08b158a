"""Tokens of big texts, in the user's cache directory: one file per text and encoding.

A file consists of a line of JSON, with spaces up to a multiple of 4,096 bytes, and the tokens. It is replaced
atomically, so that two processes may write the same one at once.

A record of its SHA-256 is kept beside it. The file is hashed again, which takes a second per gigabyte, only if its
size, times or inode have changed since; the same holds for the text. Only `jaxrnn prepare --verify` finds bits that the
disk has changed silently.

Writing a file removes those that have not been used for a month; they are rebuilt when they are needed again.
"""

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.config.atomic import replacing
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import fetch
from jaxrnn.text.files import PIECE, Text, read_file
from jaxrnn.text.stream import Progress, Rules, Survey, changed, encode_text, survey_text
from jaxrnn.text.vocabulary import Tokens, Vocabulary

CLOCK_NS = 2 * 10**9  # resolution of a file's times (FAT: 2 s), within which a change may go unnoticed
ABANDONED = 3600.0  # seconds without a write after which a temporary file is removed
UNUSED = 30 * 86400.0  # seconds without a use after which tokens are removed

_VERSION = 4  # of the format; the files of another one are not looked for
_ALIGNMENT = 4096  # bytes


def directory() -> Path:
    """Return the directory of the tokens; it may not exist yet."""
    return fetch.cache_directory() / "tokens"


def load_tokens(
    paths: Sequence[Path], name: str, rules: Rules, progress: Progress, verify: bool
) -> tuple[Survey, Tokens, Path]:
    """Return the survey of a text, its memory-mapped tokens and the path of their file, which is written if missing.

    The text, called `name`, is in files. With `verify`, it is read in full with its tokens, even if the files have not
    changed. Raises JaxrnnError if the text can't be used or changes while it is read, and StorageError if there is no
    room or the cache directory can't be written to; nothing is left behind.
    """
    try:
        statuses, now = [path.stat() for path in paths], time.time_ns()
    except OSError:
        for path in paths:
            next(read_file(path, rules.vocabulary), None)  # says what is wrong
        raise
    total = sum(status.st_size for status in statuses)

    def read(activity: str) -> Iterator[Text]:
        for path in paths:
            yield str(path), read_file(path, rules.vocabulary, lambda new: progress(activity, new, total))
        if list(map(_fingerprint, statuses)) != [_fingerprint(path.stat()) for path in paths]:
            raise changed(name)

    record = {} if verify else _read_record(name, *statuses)
    if record and (cached := _find(record["sha256"], rules, progress, verify)):
        survey = Survey(record["sha256"], tuple(map(tuple, record["files"])), cached[0])
        return survey, cached[1], _path(survey.sha256, rules)
    survey = survey_text(read("reading"), name, rules)
    if cached := _find(survey.sha256, rules, progress, verify):
        tokens = cached[1]
    else:
        pieces = encode_text(read("encoding"), name, rules, survey.vocabulary)
        tokens = _store(survey.sha256, rules, survey.vocabulary, pieces)
    if max(max(status.st_mtime_ns, status.st_ctime_ns) for status in statuses) < now - CLOCK_NS:
        write_record(name, statuses, survey.sha256, survey.files)
    return survey, tokens, _path(survey.sha256, rules)


def _find(sha256: str, rules: Rules, progress: Progress, verify: bool) -> tuple[Vocabulary, Tokens] | None:
    """Return the vocabulary and the tokens of a text; None if they are not there, or, with a warning, are damaged."""
    path = _path(sha256, rules)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if verify or not _read_record(str(path), status):
                recorded = _read_record(str(path)).get("sha256")
                if recorded is None:  # another process may just have written the file, and its record comes next
                    return None
                digest = hashlib.sha256()
                while block := file.read(PIECE):
                    progress("verifying", len(block), status.st_size)
                    digest.update(block)
                if digest.hexdigest() != recorded:
                    raise ValueError("it has changed")
                write_record(str(path), [status], digest.hexdigest())
                file.seek(0)
            header = json.loads(file.readline())
            vocabulary = rules.vocabulary_of(Vocabulary(header["symbols"], rules.vocabulary, header["unknown"]))
            return vocabulary, np.memmap(file, vocabulary.dtype.newbyteorder("<"), "r", file.tell())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"{path} can't be read or is damaged ({reason}); it is rebuilt", stacklevel=2)
        return None  # it is replaced, not removed: another process may have replaced it by now


def _store(sha256: str, rules: Rules, vocabulary: Vocabulary, pieces: Iterable[Tokens]) -> Tokens:
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
    write_record(str(path), [path.stat()], digest.hexdigest())
    return np.memmap(path, dtype, "r", len(line))


def _path(sha256: str, rules: Rules) -> Path:
    key = hashlib.sha256(json.dumps([_VERSION, sha256, *rules]).encode()).hexdigest()
    return directory() / f"{key[:32]}.tokens"


def _record(path: str) -> Path:
    return directory() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _fingerprint(status: os.stat_result) -> list[int]:
    """Return numbers that differ once a file has changed."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read_record(name: str, *statuses: os.stat_result) -> dict[str, Any]:
    """Return the recorded SHA-256s of a text; {} if there is no record, or its files no longer have these statuses."""
    try:
        record = json.loads(_record(name).read_bytes())
        if statuses and record["file"] != [name, *map(_fingerprint, statuses)]:
            return {}
        with contextlib.suppress(OSError):
            os.utime(_record(name))  # it was used
        return {"sha256": str(record["sha256"]), "files": record["files"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def write_record(
    name: str, statuses: Sequence[os.stat_result], sha256: str, files: Sequence[tuple[str, str]] = ()
) -> None:
    """Record the SHA-256 of a text, and of each of its files; warn if the record can't be written."""
    record = {"file": [name, *map(_fingerprint, statuses)], "sha256": sha256, "files": files}
    try:
        with replacing(_record(name)) as file:
            file.write(json.dumps(record).encode())
    except JaxrnnError as error:
        warnings.warn(f"{error}; until then all of {name} is read at each start", stacklevel=2)


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

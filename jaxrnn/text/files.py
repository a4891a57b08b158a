"""The files of a text: found by their names, a folder or a pattern, decompressed, and read in blocks."""

import collections
import contextlib
import errno
import glob
import importlib
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError, did_you_mean, listed
from jaxrnn.text import fetch

PIECE = 2**18  # bytes of a text; at least 4, so that the first piece holds a whole byte-order mark
STDIN = "-"
_DOCUMENT = re.compile(  # how one begins, after byte-order marks, white space and comments, without its NULs
    rb"(\s|\xef\xbb\xbf|\xff\xfe|\xfe\xff|<\?xml[^>]*>|<!--.*?-->)*+"
    rb"(%pdf-|%!ps|pk[\x03\x05]|{\\rtf|\xd0\xcf\x11\xe0|<!doctype html|<html)",
    re.IGNORECASE | re.DOTALL,
)
_NOT_PLAIN = {".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".mobi", ".azw3", ".htm", ".html", ".xhtml"}
_ARCHIVES = {".zip", ".7z", ".tar", ".tgz", ".rar"}
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_COMPRESSED = {".gz": ("gzip",), ".bz2": ("bz2",), ".xz": ("lzma",), ".zst": ("compression.zstd", "zstandard")}

_TEXT_ITSELF = "give a text file, or a text itself by jaxrnn.Corpus.from_text(TEXT)"

Text = tuple[str, Iterable[bytes]]  # the name and the blocks of a file


def one_line(source: str) -> str:
    """Return a source for a message."""
    return source.replace("\n", ", ")


def absolute(source: str) -> str:
    """Return a source with absolute paths, by which it is found from any directory; names and stdin stay."""
    if source in (*fetch.NAMED, STDIN):
        return source
    return "\n".join(str(_path(line)) for line in _lines(source))


def _path(name: str) -> Path:
    return Path(os.path.expanduser(name)).absolute()  # noqa: PTH111 (~NAME without such a user is a file)


def _lines(source: str) -> list[str]:
    return [source] if os.path.exists(source) else source.split("\n")  # noqa: PTH110 (a name may have a line break)


def find_files(source: str) -> tuple[Path, ...]:
    """Return the files of a source, in order: each line of it is a file, a folder, or a pattern such as `texts/*.txt`.

    The files below a folder, and those of a pattern, are sorted by their names; hidden files, and those in hidden
    folders, are left out, as are the runs and sweeps below a folder. A file that does not exist is returned as well:
    reading it says what is wrong. Raises JaxrnnError if there are no files, or if a folder can't be read.
    """
    lines = _lines(source)
    if not source:
        raise JaxrnnError("the name of the text is empty; give a text file")
    if "" in lines:
        raise JaxrnnError(f"no such file: {source[:60]!r}...; {_TEXT_ITSELF}")
    for line in lines if len(lines) > 1 else ():
        if line in (*fetch.NAMED, STDIN):
            raise JaxrnnError(f"{line} is a corpus by itself, which can't be joined with others; give files")
    files = tuple(file for line in lines for file in _files_of(_path(line)))
    counts = collections.Counter(map(os.path.normpath, files))
    if twice := [name for name, count in counts.items() if count > 1]:
        warnings.warn(f"the text has files more than once: {listed(twice, 3)}; give each one once", stacklevel=2)
    return files


def _files_of(path: Path) -> list[Path]:
    advice = "give a text file, or a folder of text files"
    if os.path.isdir(path):  # noqa: PTH112 (of a name that can't be a path, this is false)
        below, what = _files_below(path), "has no files"
    elif not os.path.lexists(path) and glob.has_magic(str(path)):
        below = [*Path(path.anchor).glob(_pattern(path.relative_to(path.anchor)))]
        what = f"matches only folders, whose files are {path / '*'}" if below else "matches no files"
        advice = _TEXT_ITSELF if _may_be_text(path) else advice
    else:
        return [path]
    shown = [file for file in below if _hidden_parts(file) <= _hidden_parts(path)]
    # A link to nowhere stands for a text that is missing.
    if files := sorted(file for file in shown if file.is_file() or not file.exists()):
        return files
    raise JaxrnnError(f"{path} {what}; {advice}")


def _pattern(path: Path) -> str:
    """Return a pattern that every Python reads alike: a part `**` is any folders; at the end, all files in them."""
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in path.parts]
    return "/".join([*parts, "*"] if parts[-1] == "**" else parts)


def _files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, except in hidden folders, runs and sweeps; raise JaxrnnError if unreadable."""

    def refuse(error: OSError) -> None:
        raise JaxrnnError(f"can't read {error.filename} ({error.strerror}); allow that, or give the files") from None

    files = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        if where != str(folder) and ("sweep.json" in names or {"config.json", "checkpoints"} <= {*folders, *names}):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(where, name) for name in names]
    return files


def _may_be_text(path: Path) -> bool:
    """Return whether a supposed path looks like the text itself."""
    return len(path.name) > 255 or any(map(str.isspace, path.name))


def _hidden_parts(path: Path) -> set[str]:
    return {part for part in path.parts if part.startswith(".")}


def texts_of(source: str, kind: VocabularyKind, *, once: bool = False) -> list[Text]:
    """Return the name and the blocks of each file of a source: a named corpus, stdin, or what `find_files` finds.

    A text that is read `once`, as it arrives, may be typed, or come from a named pipe.
    """
    if source in fetch.NAMED:
        if os.path.lexists(source):
            message = f"{source} is taken as the corpus of that name, not as the file here; ./{source} is the file"
            warnings.warn(message, stacklevel=2)
        return [(source, [fetch.read_named_corpus(source)])]
    if source == STDIN:
        return [(STDIN, _plain(_read_stdin(once), Path(STDIN), kind))]
    return [
        (str(path), _plain(_read_pipe(path), path, kind) if once and path.is_fifo() else read_file(path, kind))
        for path in find_files(source)
    ]


def _read_stdin(once: bool) -> Iterator[bytes]:
    if sys.stdin is None:
        raise JaxrnnError("- reads the text from stdin, which is closed; leave it open")
    first = b"" if sys.stdin.isatty() and not once else sys.stdin.buffer.read(PIECE)
    if not first and not once:
        raise JaxrnnError(
            "the text comes from stdin (-), and nothing is piped into it; pipe the text, again to resume or evaluate "
            "its run, or give a file that holds it"
        )
    yield first
    yield from in_blocks(sys.stdin.buffer)


def _read_pipe(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from in_blocks(file)


def in_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the contents of a file in blocks."""
    while block := file.read(PIECE):
        yield block


def read_file(path: Path, kind: VocabularyKind, progress: Callable[[int], object] = lambda _: None) -> Iterator[bytes]:
    """Yield the contents of a regular file, decompressed, in blocks; report how many bytes of the file each takes.

    A pipe or a device is refused, not waited for. For a vocabulary of characters a document, a web page or an archive
    is refused too, by its name or its first bytes.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            raise JaxrnnError(f"{path} is {what}; give a text file, or pipe a text into -")
        with path.open("rb") as file, _decompressed(path, file) as text:
            position = 0
            for block in _plain(in_blocks(text), path, kind):
                progress(file.tell() - position)
                position = file.tell()
                yield block
    except JaxrnnError:
        raise
    except Exception as error:  # ValueError: a NUL in the name; each way to compress has errors of its own
        if not isinstance(error, OSError | ValueError) and path.suffix.lower() not in _COMPRESSED:
            raise
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENAMETOOLONG):
            raise _no_such_file(path) from None
        reason = getattr(error, "strerror", None) or error
        raise JaxrnnError(f"can't read {str(path)!r} ({reason}); make it readable, or give another file") from None


def _plain(blocks: Iterable[bytes], path: Path, kind: VocabularyKind) -> Iterator[bytes]:
    """Yield the blocks of a text; of characters, refuse a document, a web page or an archive."""
    for number, block in enumerate(blocks):
        if number == 0 and kind == "characters":
            _refuse_other_formats(path, block[:512])
        yield block


def _refuse_other_formats(path: Path, start: bytes) -> None:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES or start[257:262] == b"ustar":  # tar
        raise JaxrnnError(f"{path} is an archive; unpack it, and give its folder")
    for beginning, name in _MAGIC.items():
        if start.startswith(beginning) and not start.isascii():
            advice = f", or give it a name that ends in {name}" if path.is_absolute() and path.is_file() else ""
            raise JaxrnnError(f"{path} is compressed; decompress it{advice}")
    if suffix in _NOT_PLAIN or _DOCUMENT.match(start.replace(b"\0", b"")):
        raise JaxrnnError(f"{path} is a document or a web page; save it as plain text (UTF-8)")


def _no_such_file(path: Path) -> JaxrnnError:
    name = str(path)
    advice = f"give a text file or one of: {', '.join(fetch.NAMED)}"
    if _may_be_text(path):
        advice = _TEXT_ITSELF
    with contextlib.suppress(OSError):  # the name may be too long
        if path.is_symlink():
            return JaxrnnError(f"no such file: {path} is a link to {path.readlink()}; correct the link, or remove it")
        names = [file.name for file in path.parent.iterdir()]
        advice = did_you_mean(path.name, names, advice, cutoff=0.85)
    shown = name if len(name) <= 255 and name.isprintable() else f"{path.name[:60]!r}..."
    return JaxrnnError(f"no such file: {shown}; {advice}")


def _decompressed(path: Path, file: BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """Return the contents of a file, decompressed if its suffix says that it is compressed."""
    names = _COMPRESSED.get(path.suffix.lower())
    if names is None:
        return contextlib.nullcontext(file)
    for name in names:
        with contextlib.suppress(ImportError):
            opened: contextlib.AbstractContextManager[BinaryIO] = importlib.import_module(name).open(file, "rb")
            return opened
    raise JaxrnnError(f"{path} needs the package {names[-1]} to be read; pip install {names[-1]}, or decompress it")

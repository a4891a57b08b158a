"""Texts and their tokens in pieces, in bounded memory; a text is read twice, surveyed and then encoded."""

import codecs
import contextlib
import errno
import hashlib
import io
import itertools
import mmap
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError, StorageError, did_you_mean
from jaxrnn.text.vocabulary import Counts, Tokens, Vocabulary, count_symbols

PIECE = 2**18  # bytes of a text; at least 3, so that the first piece holds a whole byte-order mark
BLOCK = 2**20  # tokens; their counts take eight times as many bytes
_ADVICE = "convert it to UTF-8, or train on it with --vocabulary bytes"
_NOT_PLAIN = {".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".mobi", ".azw3", ".htm", ".html", ".xhtml"}
_SIGNATURES = (b"%pdf-", b"pk\x03\x04", b"{\\rtf", b"\xd0\xcf\x11\xe0", b"<!doctype html", b"<html")  # lower case

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Progress = Callable[[str, int, int], object]
"""A function of an activity ("reading", "encoding", "verifying"), how much of it is new, and how much there is in all.

For a text these are bytes.
"""


class Rules(NamedTuple):
    """How a text becomes tokens: the options of `load_corpus`."""

    vocabulary: VocabularyKind = "characters"
    normalize: bool = False
    min_count: int = 1


def silent(activity: str, new: int, total: int) -> None:
    """Show no progress."""


@contextlib.contextmanager
def open_file(path: Path, kind: VocabularyKind, advice: str = "give a text file") -> Iterator[BinaryIO]:
    """Open a regular file to read; a pipe or a device is refused, not waited for. `advice` is for a missing file.

    For a vocabulary of characters a document or a web page is refused too, by its name or its first bytes.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            raise JaxrnnError(f"{path} is {what}; give a text file")
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
            file.seek(0)
            if kind == "characters" and (path.suffix.lower() in _NOT_PLAIN or start.startswith(_SIGNATURES)):
                raise JaxrnnError(f"{path} is a document or a web page; save it as plain text (UTF-8)")
            yield file
    except JaxrnnError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENAMETOOLONG):
            name = str(path)
            with contextlib.suppress(OSError):
                advice = did_you_mean(path.name, [file.name for file in path.parent.iterdir()], advice, cutoff=0.85)
            shown = name if len(name) <= 255 and name.isprintable() else f"{path.name[:60]!r}..."
            raise JaxrnnError(f"no such file: {shown}; {advice}") from None
        raise JaxrnnError(f"can't read {str(path)!r} ({getattr(error, 'strerror', None) or error})") from None


def read_blocks(file: BinaryIO, progress: Callable[[int], object] = lambda _: None) -> Iterator[bytes]:
    """Yield the rest of a file in blocks, and report the size of each."""
    while block := file.read(PIECE):
        progress(len(block))
        yield block


def read_pieces(path: Path, kind: VocabularyKind, normalize: bool) -> Iterator[str | bytes]:
    """Yield the text of a file, a pipe, or stdin (-) in pieces, as `decode` does, which may refuse it after some."""
    if str(path) == "-" and sys.stdin is None:
        raise JaxrnnError("- reads the text from stdin, which is closed; leave it open")
    is_stream = str(path) == "-" or path.is_fifo()
    source = sys.stdin.buffer if str(path) == "-" else path.open("rb") if is_stream else open_file(path, kind)
    with source as file:
        yield from decode(read_blocks(file), str(path), Rules(kind, normalize))


def decode(blocks: Iterable[bytes], name: str, rules: Rules) -> Iterator[str | bytes]:
    """Yield a text in pieces: str for a vocabulary of characters, bytes for one of bytes.

    Raises JaxrnnError, about the first such place, if a text of characters, called `name`, is not UTF-8, or has a
    byte-order mark or CRLF line ends that are not normalized and would quietly become a part of the vocabulary.
    """
    kind, normalize, _ = rules
    if kind == "bytes" and not normalize:
        yield from blocks
        return
    # Bytes are normalized as Latin-1, which maps each byte to a character and back.
    encoding = "utf-8" if kind == "characters" else "latin-1"
    decoder = codecs.getincrementaldecoder(encoding)()
    to_text = io.IncrementalNewlineDecoder(decoder, translate=True) if normalize else decoder
    offset = 0
    for data in itertools.chain(blocks if normalize else _refuse_marks(blocks, name), [b""]):
        begin = offset - len(decoder.getstate()[0])  # where the decoder's next input begins
        try:
            text = to_text.decode(data, final=not data)
        except UnicodeDecodeError as error:
            data, where = error.object, begin + error.start
            utf16 = where == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            what = "UTF-16" if utf16 else f"not UTF-8 (byte 0x{data[error.start]:02x})"
            raise JaxrnnError(f"{name} is {what} at offset {where}; {_ADVICE}") from None
        if normalize and offset == 0:
            text = text.removeprefix(codecs.BOM_UTF8.decode(encoding))
        if text:
            yield text if kind == "characters" else text.encode("latin-1")
        offset += len(data)


def _refuse_marks(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield the blocks of a text; refuse a byte-order mark and CRLF line ends."""
    offset, last = 0, b""
    for block in blocks:
        data = last + block  # a CR at the end of the last block may be half of a CRLF
        if offset == 0 and data.startswith(codecs.BOM_UTF8):
            raise JaxrnnError(f"{name} begins with a byte-order mark; drop it by normalize (--normalize)")
        if b"\r" in data and (crlf := data.find(b"\r\n")) >= 0:  # one byte is found in a tenth of the time
            yield data[len(last) : crlf + 1]  # if it is not UTF-8, that is the first error
            at = f"the first at offset {offset - len(last) + crlf}"
            raise JaxrnnError(f"{name} has CRLF line ends ({at}); convert them by normalize (--normalize)")
        yield block
        offset, last = offset + len(block), block[-1:] if block.endswith(b"\r") else b""


def survey_text(blocks: Iterable[bytes], name: str, rules: Rules) -> tuple[str, Vocabulary]:
    """Return the SHA-256 of a text's bytes, in hex, and its vocabulary.

    Raises JaxrnnError if `decode` refuses the text, or if there is nothing to learn from it.
    """
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            yield block

    counts: Counts = np.zeros(256, np.int64)
    for piece in decode(hashed(), name, rules):
        more = count_symbols(piece)
        if len(more) > len(counts):
            counts, more = more, counts
        counts[: len(more)] += more
    if not counts.any():
        raise JaxrnnError(f"{name} is empty; give a text to learn from")
    vocabulary = Vocabulary.of_counts(counts, rules.vocabulary, rules.min_count)
    if len(vocabulary) < 2:
        if vocabulary.unknown:
            raise JaxrnnError(f"no symbol of {name} occurs {rules.min_count:,} times; make min_count smaller")
        symbol = vocabulary.symbols if rules.vocabulary == "characters" else vocabulary.symbols.encode("latin-1")
        raise JaxrnnError(f"{name} has a single distinct symbol, {symbol!r}: nothing to predict; give another text")
    return digest.hexdigest(), vocabulary


def encode_text(blocks: Iterable[bytes], name: str, rules: Rules, vocabulary: Vocabulary) -> Iterator[Tokens]:
    """Yield the tokens of a surveyed text in pieces; raise JaxrnnError if the text has changed."""
    for piece in decode(blocks, name, rules):
        try:
            yield vocabulary.encode(piece)
        except JaxrnnError:
            raise changed(name) from None


def changed(name: str) -> JaxrnnError:
    """Return the error for a file that changes between two readings."""
    return JaxrnnError(f"{name} changed while it was read; try again when nothing writes to it")


@contextlib.contextmanager
def on_disk(dtype: np.dtype[Any], pieces: Iterable[Array]) -> Iterator[Array]:
    """Yield the concatenation of pieces, [N], as a writable array in a temporary file."""
    with tempfile.TemporaryFile() as file:
        count = 0
        for piece in pieces:
            try:
                file.write(np.ascontiguousarray(piece, dtype).data)
                file.flush()
            except OSError as error:
                raise StorageError(
                    f"can't write to {tempfile.gettempdir()} ({error.strerror or error}); make room there, or set "
                    "TMPDIR to another place"
                ) from None
            count += len(piece)
        yield np.memmap(file, dtype, "r+", shape=(count,)) if count else np.zeros(0, dtype)


def release_pages(tokens: Array) -> None:
    """Drop a memory-mapped array's pages from this process's memory; of any other array, do nothing.

    They stay in the system's page cache as long as it has room, and are mapped again when they are read.
    """
    mapped = getattr(tokens, "_mmap", None)  # np.memmap passes it on to its slices
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(tokens: Array) -> Iterator[Array]:
    """Yield an array in consecutive blocks, of which one at a time is in memory."""
    for begin in range(0, len(tokens), BLOCK):
        yield tokens[begin : begin + BLOCK]
        release_pages(tokens)


def count_tokens(tokens: Tokens, vocab_size: int) -> Counts:
    """Return the number of occurrences of each token, int [V]."""
    counts: Counts = np.zeros(vocab_size, np.int64)
    for block in blocks(tokens):
        counts += np.bincount(block, minlength=vocab_size)
    return counts

"""Text files in pieces, in bounded memory."""

import codecs
import contextlib
import errno
import io
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError

PIECE = 2**18  # bytes; at least 3, so that the first piece holds a whole byte-order mark

Progress = Callable[[str, int, int], object]
"""A function of an activity ("reading", "encoding", "verifying"), its number of new bytes, and of bytes in all."""


def silent(activity: str, new: int, total: int) -> None:
    """Show no progress."""


@contextlib.contextmanager
def open_file(path: Path, advice: str = "give a text file") -> Iterator[BinaryIO]:
    """Open a regular file to read; a pipe or a device is refused, not waited for.

    Raises:
        JaxrnnError: the file can't be read; the message says why, and the advice where there is none.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            raise JaxrnnError(f"{path} is {what}; give a text file")
        with path.open("rb") as file:
            yield file
    except JaxrnnError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENAMETOOLONG):
            name = str(path)
            shown = name if len(name) <= 255 and name.isprintable() else f"{path.name[:60]!r}..."
            raise JaxrnnError(f"no such file: {shown}; {advice}") from None
        raise JaxrnnError(f"can't read {str(path)!r} ({getattr(error, 'strerror', None) or error})") from None


def read_blocks(file: BinaryIO, progress: Callable[[int], object] = lambda _: None) -> Iterator[bytes]:
    """Yield the rest of a file in blocks, and report the size of each."""
    while block := file.read(PIECE):
        progress(len(block))
        yield block


def read_pieces(path: Path, kind: VocabularyKind, normalize: bool) -> Iterator[str | bytes]:
    """Yield the text of a file in pieces, as `decode` does.

    Raises:
        JaxrnnError: the file can't be read, or `decode` refuses it, possibly after some pieces.
    """
    with open_file(path) as file:
        yield from decode(read_blocks(file), str(path), kind, normalize)


def decode(
    blocks: Iterable[bytes],
    name: str,
    kind: VocabularyKind,
    normalize: bool,
    *,
    advice: str = "convert it to UTF-8",
) -> Iterator[str | bytes]:
    """Yield a text in pieces: str for a vocabulary of characters, bytes for one of bytes.

    Args:
        blocks: the bytes of the text, the first at least 3.
        name: what errors call the text.
        kind: "characters" for UTF-8, "bytes" for any bytes.
        normalize: drop a byte-order mark and convert CRLF and CR line ends to LF.
        advice: what to do about a text that is not UTF-8, for the error.

    Raises:
        JaxrnnError: a text of characters is not UTF-8; or without `normalize` it has a byte-order mark or CRLF line
            ends, which would quietly become a part of the vocabulary. The error is about the first such place.
    """
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
            raise JaxrnnError(f"{name} is {what} at offset {where}; {advice}") from None
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

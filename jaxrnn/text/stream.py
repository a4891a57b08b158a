"""A text file piece by piece, in bounded memory."""

import codecs
import io
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError

PIECE = 2**16  # bytes; the first piece holds the whole of a byte-order mark


class Readable(Protocol):
    """What is read: a file of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""


def read_pieces(path: Path, kind: VocabularyKind, normalize: bool) -> Iterator[str | bytes]:
    """Return a text in pieces, as `decode` does.

    Raises:
        JaxrnnError: the file can't be read, or is not what `decode` takes; some pieces may have been given by then.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise JaxrnnError(f"{path} is not a regular file; give a text file")
        with path.open("rb") as file:
            yield from decode(file, str(path), kind, normalize, PIECE)
    except FileNotFoundError:
        raise JaxrnnError(f"no such file: {path}; give a text file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, JaxrnnError):
            raise
        raise JaxrnnError(f"can't read {str(path)!r} ({getattr(error, 'strerror', None) or error})") from None


def decode(
    file: Readable, name: str, kind: VocabularyKind, normalize: bool, size: int, *, instead: str = ""
) -> Iterator[str | bytes]:
    """Return a text in pieces: str of a vocabulary of characters, bytes of one of bytes.

    Args:
        file: is read to its end.
        name: what errors call it.
        kind: "characters" for UTF-8, "bytes" for any file.
        normalize: drop a byte-order mark and turn CRLF and CR line ends into LF.
        size: of the pieces, in bytes; at least 3.
        instead: what may be done instead of converting it to UTF-8, to end the message with.

    Raises:
        JaxrnnError: it is not UTF-8, or has a byte-order mark or CRLF line ends that nobody asked to drop (they would
            quietly become a part of the vocabulary); what stands first in the file is said.
    """
    # Bytes go the same way as characters, as Latin-1, which gives each byte a character and takes it back.
    encoding = "utf-8" if kind == "characters" else "latin-1"
    decoder = codecs.getincrementaldecoder(encoding)()
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    strict = kind == "characters" and not normalize
    offset, last, utf16 = 0, b"", False
    while True:
        data = file.read(size)
        if kind == "bytes" and not normalize:
            if not data:
                return
            yield data
            continue
        if offset == 0:
            utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            if strict and data.startswith(codecs.BOM_UTF8):
                raise JaxrnnError(
                    f"{name} begins with a byte-order mark, which is no part of the text; --normalize drops it"
                )
        place = -1
        if strict and (last == b"\r" or b"\r" in data):  # to look for one byte takes a tenth of the time
            place = (last + data).find(b"\r\n")
        crlf = place + offset - len(last)
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            bad = offset - held_back + error.start
            if place < 0 or bad < crlf:
                what = "UTF-16" if utf16 else f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
                raise JaxrnnError(f"{name} is {what} at offset {bad}; convert it to UTF-8{instead}") from None
        if place >= 0:
            raise JaxrnnError(f"{name} has CRLF line ends (the first at offset {crlf}); --normalize makes them LF")
        if normalize:
            text = text.removeprefix(codecs.BOM_UTF8.decode(encoding)) if offset == 0 else text
            text = line_ends.decode(text, final=not data)
        if text:
            yield text if kind == "characters" else text.encode("latin-1")
        if not data:
            return
        offset, last = offset + len(data), data[-1:]

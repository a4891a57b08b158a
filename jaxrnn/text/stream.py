"""A text file piece by piece, in bounded memory, by the rules of `load_corpus`."""

import codecs
import io
import stat
from collections.abc import Iterator
from pathlib import Path

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError

PIECE = 2**16  # bytes; the first piece holds the whole of a byte-order mark


def read_pieces(path: Path, kind: VocabularyKind, normalize: bool) -> Iterator[str | bytes]:
    """Return a text in pieces: str of a vocabulary of characters, bytes of one of bytes.

    Raises:
        JaxrnnError: the file can't be read, is not UTF-8, or has a byte-order mark or CRLF line ends that nobody asked
            to drop; some pieces may have been given by then.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise JaxrnnError(f"{path} is not a regular file; give a text file")
        with path.open("rb") as file:
            yield from _decoded(file, path, kind, normalize)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, JaxrnnError):
            raise
        raise JaxrnnError(f"can't read {str(path)!r} ({getattr(error, 'strerror', None) or error})") from None


def _decoded(file: io.BufferedReader, path: Path, kind: VocabularyKind, normalize: bool) -> Iterator[str | bytes]:
    # Bytes go the same way as characters, as Latin-1, which gives each byte a character and takes it back.
    encoding = "utf-8" if kind == "characters" else "latin-1"
    decoder = codecs.getincrementaldecoder(encoding)()
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    strict = kind == "characters" and not normalize
    offset, last = 0, b""
    while True:
        data = file.read(PIECE)
        if strict and offset == 0 and data.startswith(codecs.BOM_UTF8):
            raise JaxrnnError(f"{path} begins with a byte-order mark, no part of the text; --normalize drops it")
        if strict and (place := (last + data).find(b"\r\n")) >= 0:
            place += offset - len(last)
            raise JaxrnnError(f"{path} has CRLF line ends (the first at offset {place}); --normalize makes them LF")
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = offset - held_back + error.start
            raise JaxrnnError(f"{path} is not UTF-8 at offset {place}; convert it to UTF-8") from None
        if normalize:
            text = text.removeprefix(codecs.BOM_UTF8.decode(encoding)) if offset == 0 else text
            text = line_ends.decode(text, final=not data)
        if text:
            yield text if kind == "characters" else text.encode("latin-1")
        if not data:
            return
        offset, last = offset + len(data), data[-1:]

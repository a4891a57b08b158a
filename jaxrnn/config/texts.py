"""What describes a text: its short name, and the options with which it is read."""

import codecs
import math
from encodings.aliases import aliases
from pathlib import Path
from typing import Literal

from jaxrnn.errors import JaxrnnError, did_you_mean

VocabularyKind = Literal["characters", "bytes"]
Unknown = Literal["error", "map", "drop"]
Normalization = Literal["newlines", "nfc", "quotes"]


def corpus_name(source: str) -> str:
    r"""Return a short name of a corpus: the stem of its first line, and how many more there are.

    Example:
        >>> corpus_name("/texts/hamlet.txt.GZ"), corpus_name("/a.txt\n/b.txt"), corpus_name("/texts/*.txt")
        ('hamlet', 'a+1', 'texts')
    """
    first, *more = source.split("\n")
    path = Path(first)
    while "*" in path.name or path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst"):
        path = path.parent if "*" in path.name else path.with_suffix("")
    name = "stdin" if source == "-" else path.stem
    return f"{name}+{len(more)}" if more else name


def _is_text_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding and codecs.getincrementaldecoder(name)().decode(b"") == ""
    except (LookupError, ValueError):  # ValueError: a NUL in the name; "undefined"
        return False


def _decodes_any_bytes(encoding: str) -> bool:
    """Return whether any part of a text can be decoded and encoded on its own, without a byte-order mark."""
    try:
        codecs.getincrementaldecoder(encoding)("replace").decode(b"\x80" * 4)
        return not "".encode(encoding) and "ab".encode(encoding) == "a".encode(encoding) + "b".encode(encoding)
    except UnicodeError:
        return False


def check_split(fractions: tuple[float, ...]) -> None:
    """Raise JaxrnnError unless a text can be split into slices of these fractions of it."""
    are_fractions = 1 <= len(fractions) <= 3 and all(0 < fraction <= 1 for fraction in fractions)
    if not (are_fractions and abs(math.fsum(fractions) - 1) <= 1e-9):
        given = ",".join(map(str, fractions)) or "none"
        raise JaxrnnError(f"split must be one to three fractions that add up to 1, got {given}; try 0.9,0.1")


def check_text_options(vocabulary: VocabularyKind, encoding: str, normalize: tuple[Normalization, ...]) -> None:
    """Raise JaxrnnError unless a text can be read with these options."""
    if not _is_text_encoding(encoding):
        names = {name.replace("_", "-") for name in {*aliases, *aliases.values()} if _is_text_encoding(name)}
        hint = did_you_mean(encoding.lower(), names, "utf-8, cp1252, gbk, shift-jis and koi8-r are some")
        raise JaxrnnError(f"encoding must be the name of a text encoding of Python's, got {encoding!r}; {hint}")
    if vocabulary == "bytes" and not _decodes_any_bytes(encoding):
        raise JaxrnnError(
            f"{encoding} needs a byte-order mark or a whole text, and bytes are decoded in pieces; give an encoding "
            "such as utf-16-le"
        )
    if vocabulary == "bytes" and normalize and "\r\n".encode(encoding) != b"\r\n":
        raise JaxrnnError(f"normalize newlines changes single bytes, of which {encoding} has several a character")
    if vocabulary == "bytes" and not {*normalize} <= {"newlines"}:
        raise JaxrnnError("normalize nfc and quotes change characters, and the vocabulary is of bytes; leave them out")

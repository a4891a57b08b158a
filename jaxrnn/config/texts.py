"""What describes a text: how it is read, and how it is called."""

import codecs
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
        >>> corpus_name("/texts/hamlet.txt.gz"), corpus_name("/a.txt\n/b.txt"), corpus_name("/texts/*.txt")
        ('hamlet', 'a+1', 'texts')
    """
    first, *more = source.split("\n")
    path = Path(first)
    while "*" in path.name or path.suffix in (".gz", ".bz2", ".xz", ".zst"):
        path = path.parent if "*" in path.name else path.with_suffix("")
    name = "stdin" if source == "-" else path.stem
    return f"{name}+{len(more)}" if more else name


def check_text_options(vocabulary: VocabularyKind, encoding: str, normalize: tuple[Normalization, ...]) -> None:
    """Raise JaxrnnError unless a text can be read with these options."""
    try:
        codec = codecs.lookup(encoding)
        codecs.getincrementaldecoder(encoding)
        known = codec._is_text_encoding
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        known = False
    if not known:
        names = {name.replace("_", "-") for name in {*aliases, *aliases.values()}}
        hint = did_you_mean(encoding.lower(), names, "utf-8, cp1252, gbk, shift-jis and koi8-r are some")
        raise JaxrnnError(f"encoding must be the name of a text encoding of Python's, got {encoding!r}; {hint}")
    if vocabulary == "bytes" and not {*normalize} <= {"newlines"}:
        raise JaxrnnError("normalize nfc and quotes change characters, and the vocabulary is of bytes; leave them out")

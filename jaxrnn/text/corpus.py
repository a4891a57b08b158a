"""A corpus: a text that can be trained on, read whole."""

import codecs
import dataclasses
import hashlib
from pathlib import Path

from jaxrnn import fetch
from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError
from jaxrnn.text.vocabulary import Tokens, Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text that can be trained on.

    Attributes:
        source: what `load_corpus` finds it by again: an absolute path or a corpus's name.
        vocabulary: its symbols.
        tokens: int [N], the text in that vocabulary.
        sha256: of the bytes that were read, in hex.
        normalize: whether a byte-order mark and CR line ends were then removed.
        min_count: how often a symbol must occur; those that occur less became the unknown symbol.
    """

    source: str
    vocabulary: Vocabulary
    tokens: Tokens
    sha256: str
    normalize: bool = False
    min_count: int = 1

    @property
    def name(self) -> str:
        """A short name for titles and folders."""
        return Path(self.source).stem

    def __len__(self) -> int:
        """Return N, the number of tokens."""
        return len(self.tokens)

    def __repr__(self) -> str:
        """Say what a person wants to know of it."""
        size = f"{len(self):,} {self.vocabulary.kind}, {len(self.vocabulary):,} distinct"
        return f"Corpus({self.name}: {size}, sha256 {self.sha256})"


def load_corpus(
    source: str | Path, *, vocabulary: VocabularyKind = "characters", normalize: bool = False, min_count: int = 1
) -> Corpus:
    """Read a text and encode it.

    Args:
        source: a path, or the name of a corpus: "python-docs" (the standard library's own help texts) or
            "tinyshakespeare" (fetched once, then kept in the user's cache directory). A name wins over a file.
        vocabulary: "characters" for a UTF-8 text, "bytes" for any file.
        normalize: drop a byte-order mark and turn CRLF and CR line ends into LF.
        min_count: symbols that occur fewer times become one, the unknown symbol; 1 keeps them all.

    Raises:
        JaxrnnError: the text can't be had, is empty, is not UTF-8, has a byte-order mark or CRLF line ends that nobody
            asked to drop, or has a single distinct symbol (there would be nothing to predict).
    """
    source = str(source)
    if source not in fetch.NAMED:
        try:
            source = str(Path(source).expanduser().absolute())
        except RuntimeError:  # ~somebody, whom this machine does not know
            raise JaxrnnError(f"no such file: {source}; give a text file") from None
    data = fetch.read(source)
    text = _as_text(data, source, vocabulary, normalize)
    if not text:
        raise JaxrnnError(f"{source} is empty; give a text to learn from")
    symbols = Vocabulary.of(text, min_count)
    if len(symbols) < 2:
        if symbols.unknown:
            raise JaxrnnError(f"no symbol of {source} occurs {min_count:,} times; make min_count smaller")
        raise JaxrnnError(f"{source} has a single distinct symbol, {text[:1]!r}: nothing to predict; give another text")
    return Corpus(source, symbols, symbols.encode(text), hashlib.sha256(data).hexdigest(), normalize, min_count)


_UTF8_BOM = codecs.BOM_UTF8
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _as_text(data: bytes, source: str, vocabulary: VocabularyKind, normalize: bool) -> str | bytes:
    """Return str for characters and bytes for bytes; refuse what would quietly become a part of the vocabulary."""
    normalized = data.removeprefix(_UTF8_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n") if normalize else data
    if vocabulary == "bytes":
        return normalized
    try:
        text = data.decode("utf-8")  # before it is normalized, so that the offset in the message is the file's
    except UnicodeDecodeError as error:
        what = "UTF-16" if data.startswith(_UTF16_BOMS) else f"not UTF-8 (byte 0x{data[error.start]:02x})"
        raise JaxrnnError(
            f"{source} is {what} at offset {error.start}; convert it to UTF-8, or train on it with --vocabulary bytes"
        ) from None
    if normalize:
        return normalized.decode("utf-8")
    if data.startswith(_UTF8_BOM):
        raise JaxrnnError(f"{source} begins with a byte-order mark, which is no part of the text; --normalize drops it")
    if b"\r\n" in data:
        offset = data.index(b"\r\n")
        raise JaxrnnError(f"{source} has CRLF line ends (the first at offset {offset}); --normalize makes them LF")
    return text

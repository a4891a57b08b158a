"""Vocabularies: the symbols of a text as integers, and back, also for tokens that arrive in pieces."""

import codecs
import contextlib
import dataclasses
import functools
import unicodedata

import numpy as np

from jaxrnn.config import Unknown, VocabularyKind, check_text_options
from jaxrnn.config.fields import check_arguments, in_short
from jaxrnn.errors import JaxrnnError, counted, listed
from jaxrnn.text.characters import alternatives, name_of

Tokens = np.ndarray[tuple[int, ...], np.dtype[np.integer]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Counts = np.ndarray[tuple[int, ...], np.dtype[np.integer]]

UNKNOWN = "\ufffd"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The distinct symbols of a text, sorted: token i is `symbols[i]`.

    Example:
        >>> vocabulary = Vocabulary.of("hello")
        >>> vocabulary.symbols, vocabulary.encode("hole").tolist(), vocabulary.decode([2, 3, 2])
        ('ehlo', [1, 3, 2, 0], 'lol')

    If there is an unknown symbol, U+FFFD, it replaces every symbol that is not in the vocabulary, and U+FFFD itself.

    Attributes:
        symbols: one character per token; for kind "bytes" the character with the byte's value (Latin-1).
        kind: "characters" (Unicode code points) or "bytes".
        unknown: whether U+FFFD is the unknown symbol.
        encoding: for kind "bytes", how bytes are shown and how a text becomes bytes.

    Raises:
        JaxrnnError: the symbols are not distinct, not sorted, or not of this kind.
    """

    symbols: str
    kind: VocabularyKind = "characters"
    unknown: bool = False
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the symbols."""
        check_arguments(Vocabulary, vars(self))
        codes = np.frombuffer(self.symbols.encode("utf-32-le", "surrogatepass"), "<u4")
        if not len(codes):
            raise JaxrnnError("a vocabulary must have a symbol; give those of a text by Vocabulary.of")
        if (codes[1:] <= codes[:-1]).any():
            ordered = "".join(sorted(set(self.symbols)))
            raise JaxrnnError(
                f"the symbols of a vocabulary must be distinct and sorted, got {self.symbols[:40]!r}; give "
                f"{ordered[:40]!r}, or a text to Vocabulary.of"
            )
        if self.kind == "bytes" and max(self.symbols.replace(UNKNOWN, "")[-1:], "") > "\xff":
            raise JaxrnnError("the symbols of bytes must be the characters up to U+00FF; decode the bytes as Latin-1")
        if self.unknown and UNKNOWN not in self.symbols:
            raise JaxrnnError("a vocabulary with an unknown symbol must have U+FFFD among its symbols; add it")
        check_text_options(self.kind, self.encoding, ())

    @classmethod
    def of(cls, text: str | bytes, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of a text; its kind is "bytes" if the text is bytes.

        Symbols that occur fewer than `min_count` times become the unknown symbol. Without such symbols there is no
        unknown symbol either, as it would never be trained.

        Example:
            >>> vocabulary = Vocabulary.of("banana", min_count=2)
            >>> vocabulary.symbols, vocabulary.decode(vocabulary.encode("banker"))
            ('an�', '�an���')
        """
        check_arguments(Vocabulary.of, locals())
        return cls.of_counts(count_symbols(text), "bytes" if isinstance(text, bytes) else "characters", min_count)

    @classmethod
    def of_counts(cls, counts: Counts, kind: VocabularyKind, min_count: int = 1, symbols: str = "") -> "Vocabulary":
        """Return the vocabulary of a text in which code point or byte i occurs `counts[i]` times, and of `symbols`."""
        given = _code_points(symbols, "characters")
        codes = np.union1d(np.flatnonzero(counts >= max(1, min_count)), given).astype(np.intp)
        unknown = bool(np.setdiff1d(np.flatnonzero(counts), codes).size) or (min_count > 1 and UNKNOWN in symbols)
        if unknown:
            codes = np.union1d(codes, [ord(UNKNOWN)])
        return cls(codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), kind, unknown)

    def __repr__(self) -> str:
        """Show the number of symbols, and at most the first hundred."""
        more = f" and {len(self) - 100:,} more" if len(self) > 100 else ""
        unknown = ", one of them for all others" if self.unknown else ""
        return f"Vocabulary({counted(len(self), self.kind)}{unknown}: {self.symbols[:100]!r}{more})"

    def __len__(self) -> int:
        """Return V, the number of symbols."""
        return len(self.symbols)

    def check_size(self, size: int) -> None:
        """Raise JaxrnnError unless a network has as many symbols."""
        if len(self) != size:
            raise JaxrnnError(f"the vocabulary has {len(self)} symbols, and the network {size}; give that of its run")

    def encode(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, int [N], in `dtype`.

        Raises JaxrnnError, with their names, if symbols are not in the vocabulary and there is no unknown symbol.
        """
        tokens, is_known = self.find(text)
        if not is_known.all():
            raise JaxrnnError(self._refusal(_code_points(text, self.kind, self.encoding)[~is_known]))
        return tokens

    def _refusal(self, codes: Counts) -> str:
        """Return the message for code points or bytes that are not in the vocabulary."""
        distinct = np.unique(codes)
        if self.kind == "bytes":
            names, known = [repr(bytes([code])) for code in distinct], []
        else:
            symbols = [*map(chr, distinct)]
            names = [*map(name_of, symbols)]
            nearest = {symbol: next(filter(self.knows, alternatives(symbol)), "") for symbol in symbols[:4]}
            known = [f"{near!r} for {name_of(symbol).partition(' (')[0]}" for symbol, near in nearest.items() if near]
        instead = f", such as {', '.join(known)}" if known else ""
        return (
            f"the model has never seen {listed(names, 4)}; it knows {counted(len(self), self.kind)} (listed by jaxrnn "
            f"info RUN --vocabulary){instead}"
        )

    def knows(self, text: str) -> bool:
        """Return whether all symbols of a text are in the vocabulary, not as the unknown symbol."""
        try:
            tokens, is_known = self.find(text)
        except JaxrnnError:  # it has no bytes
            return False
        return bool(is_known.all()) and not (self.unknown and (tokens == self.symbols.index(UNKNOWN)).any())

    def adapt(self, text: str, unknown: Unknown) -> str:
        r"""Return a text with the characters that are not in the vocabulary mapped to others that are, or left out.

        "map" composes characters (Unicode's normal form C) and replaces each unknown one with its first known
        substitute: a straight quote for a curly one, the other case, the letter without its accent. A character
        without a known substitute stays. "error" changes nothing.

        Example:
            >>> vocabulary = Vocabulary.of("don't")
            >>> vocabulary.adapt("Don\u2019t!", "map"), vocabulary.adapt("Don\u2019t!", "drop")
            ("don't!", 'ont')
        """
        if unknown == "error" or self.knows(text):
            return text
        if unknown == "map":
            text = unicodedata.normalize("NFC", text)
        lacking = [character for character in set(text) if not self.knows(character)]
        changes = dict.fromkeys(lacking, "")
        if unknown == "map":
            changes = {symbol: next(filter(self.knows, alternatives(symbol)), symbol) for symbol in lacking}
        return "".join(changes.get(character, character) for character in text)

    def find(self, text: str | bytes) -> tuple[Tokens, Flags]:
        """Return the tokens of a text, int [N], and whether each symbol is in the vocabulary, bool [N].

        Other symbols become the unknown symbol and count as known; without it, their tokens have no meaning.
        """
        codes, table = _code_points(text, self.kind, self.encoding), self._table
        tokens: Tokens
        if codes.dtype == np.uint8 and table.dtype == np.uint8:  # by far the fastest way
            tokens = np.frombuffer(codes.tobytes().translate(table[:256].tobytes()), np.uint8)
        else:
            tokens = table.take(codes, mode="clip")  # the table's last entry is that of all higher code points
        return np.minimum(tokens, len(self) - 1).astype(self.dtype, copy=False), tokens < len(self)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every token."""
        return np.min_scalar_type(len(self) - 1)

    @functools.cached_property
    def _table(self) -> Tokens:
        """The token of each code point, up to one past the last symbol; V if it is not in the vocabulary."""
        codes = _code_points(self.symbols, "characters")
        other = self.symbols.index(UNKNOWN) if self.unknown else len(self)
        table = np.full(max(256, int(codes[-1]) + 2), other, np.min_scalar_type(len(self)))
        table[codes] = np.arange(len(codes))
        return table

    def utf8_lengths(self) -> Tokens:
        """Return the number of UTF-8 bytes of each symbol, int [V]; of bytes and of the unknown symbol 1, the least."""
        lengths = 1 + np.searchsorted([0x80, 0x800, 0x10000], _code_points(self.symbols, "characters"), side="right")
        if self.kind == "bytes":
            lengths[:] = 1
        elif self.unknown:
            lengths[self.symbols.index(UNKNOWN)] = 1
        return lengths

    def decode(self, tokens: Tokens | list[int]) -> str:
        """Return the text of tokens, int [N]; bytes that are not in the encoding are decoded as U+FFFD."""
        return self.decoder().decode(tokens, final=True)

    def to_bytes(self, tokens: Tokens | list[int]) -> bytes:
        """Return the bytes of tokens, int [N]: themselves, or characters in UTF-8."""
        errors = "surrogateescape" if self.kind == "bytes" else "surrogatepass"
        return self.decoder(raw=True).decode(tokens).encode("utf-8", errors)

    def decoder(self, *, raw: bool = False) -> "Decoder":
        """Return a decoder for tokens that arrive in pieces; a `raw` one, for a file, gives bytes as they are."""
        return Decoder(self, raw)


class Decoder:
    """Decodes a stream of tokens; holds back bytes that are not yet a whole character."""

    def __init__(self, vocabulary: Vocabulary, raw: bool = False) -> None:
        """Start at the beginning of a stream.

        A `raw` decoder gives bytes that are not UTF-8 as the surrogate escapes of `os.fsdecode`.
        """
        self._symbols, self._raw = _code_points(vocabulary.symbols, "characters").astype("<u4"), raw
        is_bytes = vocabulary.kind == "bytes"
        self._bytes = codecs.getincrementaldecoder(vocabulary.encoding)("replace") if is_bytes else None

    def decode(self, tokens: Tokens | list[int], final: bool = False) -> str:
        """Return the text that tokens, int [N], complete; `final` flushes what is held back."""
        try:
            indices = np.asarray(tokens, None if len(tokens) else np.int64)
            check_tokens(indices, len(self._symbols))
        except (JaxrnnError, ValueError, TypeError):
            last = len(self._symbols) - 1
            raise JaxrnnError(f"tokens to decode must be integers from 0 to {last}, got {in_short(tokens)}") from None
        codes = self._symbols[indices]
        if self._bytes is None:
            return codes.tobytes().decode("utf-32-le", "surrogatepass")
        if self._raw:
            return np.minimum(codes, 0xFF).astype(np.uint8).tobytes().decode("utf-8", "surrogateescape")
        first, *others = np.split(codes, np.flatnonzero(codes > 0xFF))  # the others begin with the unknown symbol
        text = self._bytes.decode(first.astype(np.uint8).tobytes(), final or bool(others))
        for number, part in enumerate(others, start=1):
            text += UNKNOWN + self._bytes.decode(part[1:].astype(np.uint8).tobytes(), final or number < len(others))
        return text


def check_tokens(tokens: Tokens, vocab_size: int | None = None) -> None:
    """Raise JaxrnnError unless tokens are int [N] and, if they are in memory, below the size of a vocabulary."""
    if getattr(tokens, "ndim", 0) != 1 or tokens.dtype.kind not in "iu":
        raise JaxrnnError(f"the tokens must be an integer array [N], got {in_short(tokens)}")
    if vocab_size and len(tokens) and not isinstance(tokens, np.memmap):
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= vocab_size:
            raise JaxrnnError(f"tokens of {vocab_size} symbols must be 0 to {vocab_size - 1}, got {low} to {high}")


def encode_bytes(text: str, encoding: str) -> bytes:
    """Return the bytes of a text; the surrogate escapes of bytes on a command line become these bytes again."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError as error:
        symbol = name_of(text[error.start])
        raise JaxrnnError(f"{symbol} has no bytes in {encoding.upper()}; leave it out") from None


def count_symbols(text: str | bytes) -> Counts:
    """Return the number of occurrences of each code point or byte in a text, int [at least the largest + 1]."""
    return np.bincount(_code_points(text, "bytes" if isinstance(text, bytes) else "characters"), minlength=256)


def _code_points(
    text: str | bytes, kind: VocabularyKind, encoding: str = "utf-8"
) -> np.ndarray[tuple[int], np.dtype[np.uint8 | np.uint32]]:
    """Return the code points or bytes of a text: uint8 if it is ASCII or bytes, else uint32."""
    if not isinstance(text, str | bytes):
        raise JaxrnnError(f"a vocabulary is of str or bytes, got {in_short(text)}")
    if kind == "bytes":
        return np.frombuffer(encode_bytes(text, encoding) if isinstance(text, str) else text, np.uint8)
    if isinstance(text, bytes):
        raise JaxrnnError("a vocabulary of characters encodes str, got bytes; decode them first")
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    try:
        return np.frombuffer(text.encode("utf-32-le"), "<u4")
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeError):  # where Python expects ASCII, it passes UTF-8 as surrogate escapes
            text = text.encode("utf-8", "surrogateescape").decode("utf-8")
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")

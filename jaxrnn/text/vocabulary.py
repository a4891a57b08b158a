"""Vocabularies: the symbols of a text as integers, and back, also for tokens that arrive in pieces."""

import codecs
import contextlib
import dataclasses
import functools

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError

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
    """

    symbols: str
    kind: VocabularyKind = "characters"
    unknown: bool = False

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
        return f"Vocabulary({len(self):,} {self.kind}{unknown}: {self.symbols[:100]!r}{more})"

    def __len__(self) -> int:
        """Return V, the number of symbols."""
        return len(self.symbols)

    def encode(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, int [N], in `dtype`.

        Raises JaxrnnError, with their names, if symbols are not in the vocabulary and there is no unknown symbol.
        """
        tokens = self._lookup(text)
        if tokens.max(initial=0) == len(self):
            missing = np.unique(_code_points(text, self.kind)[tokens == len(self)])
            names = ", ".join(repr(chr(code) if self.kind == "characters" else bytes([code])) for code in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise JaxrnnError(f"the model has never seen {names}{more}; it knows {len(self)} {self.kind}: use those")
        return tokens.astype(self.dtype, copy=False)

    def find(self, text: str | bytes) -> tuple[Tokens, Flags]:
        """Return the tokens of a text, int [N], and whether each symbol is in the vocabulary, bool [N].

        With an unknown symbol, all are; without one, the token of a symbol that is not has no meaning.
        """
        tokens = self._lookup(text)
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

    def _lookup(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, and V for symbols that are not in the vocabulary."""
        codes, table = _code_points(text, self.kind), self._table
        if codes.dtype == np.uint8 and table.dtype == np.uint8:  # by far the fastest way
            return np.frombuffer(bytearray(codes.tobytes().translate(table[:256].tobytes())), np.uint8)
        return table.take(codes, mode="clip")  # the table's last entry is that of all higher code points

    def utf8_lengths(self) -> Tokens:
        """Return the number of UTF-8 bytes of each symbol, int [V]; for kind "bytes" one each."""
        codes = _code_points(self.symbols, "characters")
        if self.kind == "bytes":
            return np.ones(len(codes), np.int64)
        return 1 + np.searchsorted([0x80, 0x800, 0x10000], codes, side="right")

    def decode(self, tokens: Tokens | list[int]) -> str:
        """Return the text of tokens, int [N]; bytes that are not UTF-8 are decoded as U+FFFD."""
        return self.decoder().decode(tokens, final=True)

    def decoder(self) -> "Decoder":
        """Return a decoder for tokens that arrive in pieces."""
        return Decoder(self)


class Decoder:
    """Decodes a stream of tokens; holds back bytes that are not yet a whole character."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Start at the beginning of a stream."""
        self._symbols = _code_points(vocabulary.symbols, "characters").astype("<u4")
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.kind == "bytes" else None

    def decode(self, tokens: Tokens | list[int], final: bool = False) -> str:
        """Return the text that tokens, int [N], complete; `final` flushes what is held back."""
        codes = self._symbols[np.asarray(tokens, np.int64)]
        if self._bytes is None:
            return codes.tobytes().decode("utf-32-le", "surrogatepass")
        # UTF-8 never contains 0xFF, so that the unknown symbol of bytes is decoded as U+FFFD too.
        return self._bytes.decode(np.minimum(codes, 0xFF).astype(np.uint8).tobytes(), final)


def count_symbols(text: str | bytes) -> Counts:
    """Return the number of occurrences of each code point or byte in a text, int [at least the largest + 1]."""
    return np.bincount(_code_points(text, "bytes" if isinstance(text, bytes) else "characters"), minlength=256)


def _code_points(text: str | bytes, kind: VocabularyKind) -> np.ndarray[tuple[int], np.dtype[np.uint8 | np.uint32]]:
    """Return the code points or bytes of a text: uint8 if it is ASCII or bytes, else uint32."""
    if kind == "bytes":
        # Python's command line passes bytes that are not UTF-8 as surrogate escapes; they become bytes again.
        try:
            data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        except UnicodeEncodeError as error:
            raise JaxrnnError(f"{text[error.start]!r} is half a character and has no bytes; remove it") from None
        return np.frombuffer(data, np.uint8)
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

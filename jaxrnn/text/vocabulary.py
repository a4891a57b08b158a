"""Symbols as integers: a vocabulary, and the way back for tokens that arrive piece by piece."""

import codecs
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
    """The distinct symbols of a text, sorted: token i stands for `symbols[i]`.

    Example:
        >>> vocabulary = Vocabulary.of("hello")
        >>> vocabulary.symbols, vocabulary.encode("hole").tolist(), vocabulary.decode([2, 3, 2])
        ('ehlo', [1, 3, 2, 0], 'lol')

    With an unknown symbol, U+FFFD stands for all that is not in the vocabulary, a U+FFFD of the text itself included.

    Attributes:
        symbols: one character a token; for kind "bytes" the character with that byte's value (Latin-1).
        kind: "characters" (Unicode code points) or "bytes".
        unknown: whether U+FFFD is the unknown symbol.
    """

    symbols: str
    kind: VocabularyKind = "characters"
    unknown: bool = False

    @classmethod
    def of(cls, text: str | bytes, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of a text; of kind "bytes" where the text is bytes.

        Symbols that occur fewer than `min_count` times become the unknown symbol; if there are none, neither is it: it
        would never be trained.

        Example:
            >>> vocabulary = Vocabulary.of("banana", min_count=2)
            >>> vocabulary.symbols, vocabulary.decode(vocabulary.encode("banker"))
            ('an�', '�an���')
        """
        return cls.of_counts(count_symbols(text), "bytes" if isinstance(text, bytes) else "characters", min_count)

    @classmethod
    def of_counts(cls, counts: Counts, kind: VocabularyKind, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of a text in which code point i (byte i) stands `counts[i]` times, as `of` does."""
        kept = np.flatnonzero(counts >= max(1, min_count))
        unknown = bool(len(kept) < np.count_nonzero(counts))
        if unknown:
            kept = np.union1d(kept, [ord(UNKNOWN)])
        return cls(kept.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), kind, unknown)

    def __repr__(self) -> str:
        """Give their number, and the first ones."""
        more = f" and {len(self) - 100:,} more" if len(self) > 100 else ""
        unknown = ", one of them for all others" if self.unknown else ""
        return f"Vocabulary({len(self):,} {self.kind}{unknown}: {self.symbols[:100]!r}{more})"

    def __len__(self) -> int:
        """Return V, the number of symbols."""
        return len(self.symbols)

    def encode(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, int [N], in the smallest unsigned type that holds V.

        Raises:
            JaxrnnError: the text holds symbols that the vocabulary lacks, and it has no unknown symbol; the message
                names them.
        """
        tokens = self._looked_up(text)
        if tokens.max(initial=0) == len(self):
            missing = np.unique(_code_points(text, self.kind)[tokens == len(self)])
            named = ", ".join(repr(chr(code) if self.kind == "characters" else bytes([code])) for code in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise JaxrnnError(f"the model has never seen {named}{more}; it knows {len(self)} {self.kind}: use those")
        return tokens.astype(self.dtype, copy=False)

    def find(self, text: str | bytes) -> tuple[Tokens, Flags]:
        """Return the tokens of a text, int [N], and which of them stand for their symbol, bool [N].

        With an unknown symbol all of them do; without one, a symbol that the vocabulary lacks gets some token.
        """
        tokens = self._looked_up(text)
        return np.minimum(tokens, len(self) - 1).astype(self.dtype, copy=False), tokens < len(self)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds V tokens."""
        return np.min_scalar_type(len(self) - 1)

    @functools.cached_property
    def _table(self) -> Tokens:
        """The token of each code point up to one past the last that is known; V for what the vocabulary lacks."""
        codes = _code_points(self.symbols, "characters")
        lacking = self.symbols.index(UNKNOWN) if self.unknown else len(self)
        table = np.full(max(256, int(codes[-1]) + 2), lacking, np.min_scalar_type(len(self)))
        table[codes] = np.arange(len(codes))
        return table

    def _looked_up(self, text: str | bytes) -> Tokens:
        table = self._table
        codes = _code_points(text, self.kind)
        if codes.dtype == np.uint8 and table.dtype == np.uint8:  # the fastest way there is, by far
            return np.frombuffer(bytearray(codes.tobytes().translate(table[:256].tobytes())), np.uint8)
        return table.take(codes, mode="clip")  # the table's last entry is that of all code points from it on

    def utf8_lengths(self) -> Tokens:
        """Return how many bytes each token's symbol takes in UTF-8, int [V]; of kind "bytes" one each."""
        codes = _code_points(self.symbols, "characters")
        if self.kind == "bytes":
            return np.ones(len(codes), np.int64)
        return 1 + np.searchsorted([0x80, 0x800, 0x10000], codes, side="right")

    def decode(self, tokens: Tokens | list[int]) -> str:
        """Return the text of tokens, int [N]; bytes that are not UTF-8 become U+FFFD."""
        return self.decoder().decode(tokens, final=True)

    def decoder(self) -> "Decoder":
        """Return a decoder for tokens that arrive piece by piece."""
        return Decoder(self)


class Decoder:
    """Decodes a stream of tokens; holds back a byte sequence that is not yet a whole character."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Start at the beginning of a stream."""
        self._symbols = _code_points(vocabulary.symbols, "characters").astype("<u4")
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.kind == "bytes" else None

    def decode(self, tokens: Tokens | list[int], final: bool = False) -> str:
        """Return the text that these tokens, int [N], complete; all of it if they are the final ones."""
        codes = self._symbols[np.asarray(tokens, np.int64)]
        if self._bytes is None:
            return codes.tobytes().decode("utf-32-le", "surrogatepass")
        # 0xFF stands nowhere in UTF-8: the unknown symbol of bytes is shown as U+FFFD too.
        return self._bytes.decode(np.minimum(codes, 0xFF).astype(np.uint8).tobytes(), final)


def count_symbols(text: str | bytes) -> Counts:
    """Return how often each code point (of bytes: each byte) stands in a text, int [the largest one + 1, or more]."""
    codes = _code_points(text, "bytes" if isinstance(text, bytes) else "characters")
    return np.bincount(codes, minlength=256)


def _code_points(text: str | bytes, kind: VocabularyKind) -> np.ndarray[tuple[int], np.dtype[np.uint8 | np.uint32]]:
    """Return a text as numbers: uint8 where it is ASCII or bytes, else uint32."""
    if kind == "bytes":
        # A command line hands over bytes that are not UTF-8 as surrogate escapes; they become those bytes again.
        try:
            data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        except UnicodeEncodeError as error:
            raise JaxrnnError(f"{text[error.start]!r} is half a character and has no bytes; remove it") from None
        return np.frombuffer(data, np.uint8)
    if isinstance(text, bytes):
        raise JaxrnnError("a vocabulary of characters encodes str, got bytes; decode them first")
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")

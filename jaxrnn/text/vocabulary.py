"""Symbols as integers: a vocabulary, and the way back for tokens that arrive piece by piece."""

import codecs
import collections
import dataclasses

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError

Tokens = np.ndarray[tuple[int, ...], np.dtype[np.integer]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

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
        kind: VocabularyKind = "bytes" if isinstance(text, bytes) else "characters"
        codes = text.decode("latin-1") if isinstance(text, bytes) else text
        symbols, unknown = set(codes), False
        if min_count > 1:  # to count takes longer than to collect
            kept = {symbol for symbol, count in collections.Counter(codes).items() if count >= min_count}
            unknown = len(kept) < len(symbols)
            symbols = kept | {UNKNOWN} if unknown else kept
        return cls("".join(sorted(symbols)), kind, unknown)

    def __len__(self) -> int:
        """Return V, the number of symbols."""
        return len(self.symbols)

    def encode(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, int [N], in the smallest unsigned type that holds V.

        Raises:
            JaxrnnError: the text holds symbols that the vocabulary lacks, and it has no unknown symbol; the message
                names them.
        """
        tokens, known = self.find(text)
        if not known.all():
            missing = np.unique(_code_points(text, self.kind)[~known])
            named = ", ".join(repr(chr(code) if self.kind == "characters" else bytes([code])) for code in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise JaxrnnError(f"the model has never seen {named}{more}; it knows {len(self)} {self.kind}: use those")
        return tokens

    def find(self, text: str | bytes) -> tuple[Tokens, Flags]:
        """Return the tokens of a text, int [N], and which of them stand for their symbol, bool [N].

        With an unknown symbol all of them do; without one, a symbol that the vocabulary lacks gets some token.
        """
        codes, symbols = _code_points(text, self.kind), _code_points(self.symbols, "characters")
        place = np.minimum(np.searchsorted(symbols, codes), len(symbols) - 1)
        known = symbols[place] == codes
        if self.unknown:
            place = np.where(known, place, self.symbols.index(UNKNOWN))
            known = np.ones_like(known)
        return place.astype(np.min_scalar_type(len(self) - 1)), known

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
        self._symbols = _code_points(vocabulary.symbols, "characters")
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.kind == "bytes" else None

    def decode(self, tokens: Tokens | list[int], final: bool = False) -> str:
        """Return the text that these tokens, int [N], complete; all of it if they are the final ones."""
        codes = self._symbols[np.asarray(tokens, np.int64)]
        if self._bytes is None:
            return codes.tobytes().decode("utf-32-le", "surrogatepass")
        # 0xFF stands nowhere in UTF-8: the unknown symbol of bytes is shown as U+FFFD too.
        return self._bytes.decode(np.minimum(codes, 0xFF).astype(np.uint8).tobytes(), final)


def _code_points(text: str | bytes, kind: VocabularyKind) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    if kind == "bytes":
        # A command line hands over bytes that are not UTF-8 as surrogate escapes; they become those bytes again.
        try:
            data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        except UnicodeEncodeError as error:
            raise JaxrnnError(f"{text[error.start]!r} is half a character and has no bytes; remove it") from None
        return np.frombuffer(data, np.uint8).astype(np.uint32)
    if isinstance(text, bytes):
        raise JaxrnnError("a vocabulary of characters encodes str, got bytes; decode them first")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)

"""Text as integers: the vocabulary, a corpus, and the batches that a training step sees."""

import codecs
import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrnn import fetch
from jaxrnn.config import TrainConfig, VocabularyKind
from jaxrnn.errors import JaxrnnError

Tokens = np.ndarray[tuple[int, ...], np.dtype[np.integer]]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The distinct symbols of a text, sorted: token i stands for `symbols[i]`.

    Example:
        >>> vocabulary = Vocabulary.of("hello")
        >>> vocabulary.symbols, vocabulary.encode("hole").tolist(), vocabulary.decode([2, 3, 2])
        ('ehlo', [1, 3, 2, 0], 'lol')

    Attributes:
        symbols: one character a token; for kind "bytes" the character with that byte's value (Latin-1).
        kind: "characters" (Unicode code points) or "bytes".
    """

    symbols: str
    kind: VocabularyKind = "characters"

    @classmethod
    def of(cls, text: str | bytes) -> "Vocabulary":
        """Return the vocabulary of a text; of kind "bytes" where the text is bytes."""
        if isinstance(text, bytes):
            return cls("".join(map(chr, sorted(set(text)))), "bytes")
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        """Return V, the number of symbols."""
        return len(self.symbols)

    def encode(self, text: str | bytes) -> Tokens:
        """Return the tokens of a text, int [N], in the smallest unsigned type that holds V.

        Raises:
            JaxrnnError: the text holds symbols that the vocabulary lacks; the message names them.
        """
        codes = _code_points(text, self.kind)
        known = _code_points(self.symbols, "characters")
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        missing = np.unique(codes[known[place] != codes])
        if len(missing):
            named = ", ".join(repr(chr(code) if self.kind == "characters" else bytes([code])) for code in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise JaxrnnError(f"the model has never seen {named}{more}; it knows {len(self)} {self.kind}: use those")
        return place.astype(np.min_scalar_type(len(self) - 1))

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
        return self._bytes.decode(codes.astype(np.uint8).tobytes(), final)


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


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text that can be trained on.

    Attributes:
        source: what `load_corpus` finds it by again: an absolute path or a corpus's name.
        vocabulary: its symbols.
        tokens: int [N], the text in that vocabulary.
        sha256: of the bytes that were read, in hex.
        normalize: whether a byte-order mark and CR line ends were then removed.
    """

    source: str
    vocabulary: Vocabulary
    tokens: Tokens
    sha256: str
    normalize: bool = False

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


def load_corpus(source: str | Path, *, vocabulary: VocabularyKind = "characters", normalize: bool = False) -> Corpus:
    """Read a text and encode it.

    Args:
        source: a path, or the name of a corpus: "python-docs" (the standard library's own help texts) or
            "tinyshakespeare" (fetched once, then kept in the user's cache directory). A name wins over a file.
        vocabulary: "characters" for a UTF-8 text, "bytes" for any file.
        normalize: drop a byte-order mark and turn CRLF and CR line ends into LF.

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
    symbols = Vocabulary.of(text)
    if len(symbols) < 2:
        raise JaxrnnError(f"{source} has a single distinct symbol, {text[:1]!r}: nothing to predict; give another text")
    return Corpus(source, symbols, symbols.encode(text), hashlib.sha256(data).hexdigest(), normalize)


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


class Batch(NamedTuple):
    """What a training step sees; a chunk of K steps has a leading axis K on every array.

    Attributes:
        inputs: int [T, B].
        targets: int [T, B], the inputs shifted by one: the target of a symbol is the symbol after it.
        reset: bool [], whether the carry starts from zero before this batch.
    """

    inputs: Any
    targets: Any
    reset: Any


def batches(tokens: Tokens, step: int, num_steps: int, config: TrainConfig) -> Batch:
    """Return the batches of steps `step` to `step + num_steps - 1`, a chunk.

    The text is cut into B contiguous lanes of equal length n (a rest shorter than B is left out). Every step takes the
    next T symbols of each lane. A sweep begins at position p = 0 with a zero carry, and begins again when
    p + T + 1 >= n, as in min-char-rnn. So the batch of a step is known from the step alone.

    Args:
        tokens: int [N], the encoded text.
        step: the first step, counted from 0.
        num_steps: K.
        config: gives `sequence_length` T and `batch_size` B.

    Returns:
        Batch of inputs and targets int32 [K, T, B] and reset bool [K].

    Raises:
        JaxrnnError: the text is too short for one batch.
    """
    length, lanes = config.sequence_length, config.batch_size
    lane_length = len(tokens) // lanes
    if lane_length < length + 2:
        raise JaxrnnError(
            f"the text has {len(tokens)} symbols, but sequence_length {length} and batch_size {lanes} need at least "
            f"{lanes} x ({length} + 2) = {lanes * (length + 2)}; give a longer text or make them smaller"
        )
    steps_per_sweep = -(-(lane_length - length - 1) // length)
    place = np.arange(step, step + num_steps) % steps_per_sweep
    window = place[:, None] * length + np.arange(length + 1)  # [K, T+1]
    symbols = tokens[: lanes * lane_length].reshape(lanes, lane_length)[:, window]  # [B, K, T+1]
    symbols = np.moveaxis(symbols, 0, -1).astype(np.int32, order="C")
    return Batch(symbols[:, :-1], symbols[:, 1:], place == 0)

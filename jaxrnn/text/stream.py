"""Texts and their tokens in pieces, in bounded memory; a text is read twice, surveyed and then encoded."""

import codecs
import contextlib
import dataclasses
import hashlib
import io
import itertools
import mmap
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.config import Normalization, TrainConfig, VocabularyKind
from jaxrnn.errors import JaxrnnError, StorageError
from jaxrnn.text.characters import straight_quotes
from jaxrnn.text.encodings import contradiction, likely_encodings
from jaxrnn.text.files import Text, texts_of
from jaxrnn.text.vocabulary import Counts, Tokens, Vocabulary, count_symbols, encode_bytes

BLOCK = 2**20  # tokens; their counts take eight times as many bytes

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Progress = Callable[[str, int, int], object]
"""A function of an activity ("reading", "encoding", "verifying"), its number of new bytes, and of bytes in all."""


class Rules(NamedTuple):
    """How a text becomes tokens: the options of `load_corpus`."""

    vocabulary: VocabularyKind = "characters"
    encoding: str = "utf-8"
    normalize: tuple[Normalization, ...] = ()
    min_count: int = 1
    join: str = "\n"
    symbols: str = ""

    @classmethod
    def of(cls, config: TrainConfig) -> "Rules":
        """Return the rules of a run."""
        return cls(*(getattr(config, name) for name in cls._fields))

    @property
    def of_arguments(self) -> "Rules":
        """The rules for a text that is an argument: its characters are in UTF-8, its bytes in their encoding."""
        return self if self.vocabulary == "bytes" else self._replace(encoding="utf-8")

    @property
    def join_bytes(self) -> bytes:
        """The join string as bytes; raise JaxrnnError if it can't be encoded."""
        return encode_bytes(self.join, self.of_arguments.encoding)

    def vocabulary_of(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with the encoding, if it is of bytes."""
        return dataclasses.replace(vocabulary, encoding=self.encoding) if vocabulary.kind == "bytes" else vocabulary


def silent(activity: str, new: int, total: int) -> None:
    """Show no progress."""


def read_pieces(source: str, rules: Rules) -> Iterator[str | bytes]:
    """Yield the text of a source in pieces, as `decode_files` does."""
    return decode_files(texts_of(source, rules.vocabulary, once=True), rules)


def decode_files(texts: Iterable[Text], rules: Rules) -> Iterator[str | bytes]:
    """Yield the joined text of files in pieces; like `decode`, it may raise JaxrnnError after some of the pieces."""
    for number, (name, blocks) in enumerate(texts):
        if number and rules.join:
            yield from decode([rules.join_bytes], "the join string", rules.of_arguments)
        yield from decode(blocks, name, rules)


def decode(blocks: Iterable[bytes], name: str, rules: Rules) -> Iterator[str | bytes]:
    """Yield a file in pieces: str for a vocabulary of characters, bytes for one of bytes.

    Raises JaxrnnError, about the first such place, if a text of characters, called `name`, is not in its encoding, or
    has a byte-order mark, or CRLF or CR line ends, which would become symbols of the vocabulary.
    """
    is_text = rules.vocabulary == "characters"
    if not (is_text or rules.normalize):
        yield from blocks
        return
    # Bytes are normalized as Latin-1, which maps each byte to a character and back.
    if is_text:
        blocks = _refuse_other_encodings(blocks, name, rules.encoding)
    pieces = _decoded(blocks, name, rules.encoding if is_text else "latin-1")
    for piece in filter(None, _normalized(pieces, name, rules)):
        yield piece if is_text else piece.encode("latin-1")


def _normalized(pieces: Iterable[str], name: str, rules: Rules) -> Iterator[str]:
    is_text = rules.vocabulary == "characters"
    if "newlines" in rules.normalize:
        pieces = _with_lf(pieces, codecs.BOM_UTF8.decode("utf-8" if is_text else "latin-1"))
    elif is_text:
        pieces = _refuse_marks(pieces, name)
    if "nfc" in rules.normalize:
        pieces = _composed(pieces)
    if "quotes" in rules.normalize:
        pieces = map(straight_quotes, pieces)
    yield from pieces


def _refuse_other_encodings(blocks: Iterable[bytes], name: str, encoding: str) -> Iterator[bytes]:
    """Yield the blocks of a file; raise JaxrnnError if the first one can be read in `encoding`, but is in another."""
    for number, data in enumerate(blocks):
        if number == 0 and (other := contradiction(data, encoding)):
            raise JaxrnnError(f"{name} is {other[0].upper()} {other[1]}; {_advice([other[0]])}")
        yield data


def _decoded(blocks: Iterable[bytes], name: str, encoding: str) -> Iterator[str]:
    """Yield the blocks of a file as text; at the first bad byte, yield what is before it and raise JaxrnnError."""
    decoder, offset = codecs.getincrementaldecoder(encoding)(), 0
    for data in itertools.chain(blocks, [b""]):
        state = decoder.getstate()
        begin = offset - len(state[0])  # where the decoder's next input begins
        try:
            yield decoder.decode(data, final=not data)
        except UnicodeError as other:  # without a byte-order mark, for example, a codec gives no position
            error = other
            if not isinstance(error, UnicodeDecodeError):
                error = UnicodeDecodeError(encoding, data or b"\0", 0, 1, str(other))
            # The error lacks the bytes of a mark that the codec has dropped.
            begin += max(0, len(state[0]) + len(data) - len(error.object))
            where = begin + error.start
            with contextlib.suppress(UnicodeError):  # what is before may be too short for its byte-order mark
                decoder.setstate(state)
                yield decoder.decode(data[: max(0, where - offset)])
            likely = likely_encodings(error.object[max(0, error.start - 20) :]) if encoding == "utf-8" else []
            words = " or ".join(f"{name} ({word!r})" for name, word in likely)
            raise JaxrnnError(
                f"{name} is not {encoding.upper()} (byte 0x{error.object[error.start]:02x}) at offset {where}; "
                f"{f'it may be {words}; ' if likely else ''}{_advice([name for name, _ in likely])}"
            ) from None
        offset += len(data)


def normalized(text: str, normalize: tuple[Normalization, ...]) -> str:
    """Return a prompt, normalized as the text of its run."""
    rules = Rules("characters", "utf-8", normalize)
    return "".join(_normalized([text], "the prompt", rules)) if normalize else text


def _advice(encodings: list[str]) -> str:
    names = f"name its encoding (--encoding {encodings[0] if encodings else 'NAME'})"
    return f"{names}, convert it to UTF-8, or train on it with --vocabulary bytes"


def _with_lf(pieces: Iterable[str], mark: str) -> Iterator[str]:
    """Yield a text without a byte-order mark at its beginning, and with LF for CRLF and CR."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    for piece in pieces:
        yield decoder.decode(piece.removeprefix(mark))
        mark = mark if not piece else ""
    yield decoder.decode("", final=True)


def _refuse_marks(pieces: Iterable[str], name: str) -> Iterator[str]:
    """Yield the pieces of a text; refuse a byte-order mark, CRLF line ends, and more lone CR than LF."""
    last, returns, lines = None, 0, 0
    advice = "by normalize (--normalize newlines)"
    for piece in filter(None, pieces):
        if last is None and piece.startswith("\ufeff"):
            raise JaxrnnError(f"{name} begins with a byte-order mark; drop it {advice}")
        text = "\r" + piece if last == "\r" else piece  # it may be half of a CRLF
        if "\r" in text and (crlf := text.find("\r\n")) >= 0:  # one character is found in a tenth of the time
            line = lines + text.count("\n", 0, crlf) + 1
            raise JaxrnnError(f"{name} has CRLF line ends (the first in line {line:,}); convert them {advice}")
        returns, lines = returns + piece.count("\r"), lines + piece.count("\n")
        yield piece
        last = piece[-1]
    if returns > lines:
        raise JaxrnnError(f"{name} has CR line ends ({returns:,}, and {lines:,} LF); convert them {advice}")


_STANDS_ALONE = re.compile("[\0-\x7f\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]")  # ASCII, CJK


def _composed(pieces: Iterable[str]) -> Iterator[str]:
    """Yield a text in Unicode's normal form C, cut only before characters that never compose with preceding ones."""
    rest = ""
    for piece in pieces:
        rest += piece
        cut = next((index for index in range(len(rest) - 1, -1, -1) if _STANDS_ALONE.match(rest, index)), 0)
        yield unicodedata.normalize("NFC", rest[:cut])
        rest = rest[cut:]
    yield unicodedata.normalize("NFC", rest)


class Survey(NamedTuple):
    """What a text contains: its vocabulary; the SHA-256, in hex, of its bytes and, if it has several files, of each."""

    sha256: str
    files: tuple[tuple[str, str], ...]
    vocabulary: Vocabulary


def survey_text(texts: Iterable[Text], name: str, rules: Rules) -> Survey:
    """Return what a text contains; its bytes are those of its files, joined.

    Raises JaxrnnError if `decode` refuses the text, or if there is nothing to learn from it.
    """
    digest, digests = hashlib.sha256(), list[tuple[str, Any]]()

    def hashed(file: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
        if digests:
            digest.update(rules.join_bytes)
        digests.append((file, hashlib.sha256()))
        for block in blocks:
            digest.update(block)
            digests[-1][1].update(block)
            yield block

    counts: Counts = np.zeros(256, np.int64)
    for piece in decode_files(((file, hashed(file, blocks)) for file, blocks in texts), rules):
        more = count_symbols(piece)
        if len(more) > len(counts):
            counts, more = more, counts
        counts[: len(more)] += more
    if not counts.any():
        raise JaxrnnError(f"{name} is empty; give a text to learn from")
    vocabulary = rules.vocabulary_of(Vocabulary.of_counts(counts, rules.vocabulary, rules.min_count, rules.symbols))
    if len(vocabulary) < 2:
        if vocabulary.unknown:
            raise JaxrnnError(f"no symbol of {name} occurs {rules.min_count:,} times; make min_count smaller")
        symbol = vocabulary.symbols if rules.vocabulary == "characters" else vocabulary.symbols.encode("latin-1")
        raise JaxrnnError(f"{name} has a single distinct symbol, {symbol!r}: nothing to predict; give another text")
    files = tuple((file, own.hexdigest()) for file, own in digests) if len(digests) > 1 else ()
    return Survey(digest.hexdigest(), files, vocabulary)


def encode_text(texts: Iterable[Text], name: str, rules: Rules, vocabulary: Vocabulary) -> Iterator[Tokens]:
    """Yield the tokens of a surveyed text in pieces; raise JaxrnnError if the text has changed."""
    for piece in decode_files(texts, rules):
        try:
            yield vocabulary.encode(piece)
        except JaxrnnError:
            raise changed(name) from None


def changed(name: str) -> JaxrnnError:
    """Return the error for a file that changes between two readings."""
    return JaxrnnError(f"{name} changed while it was read; try again when nothing writes to it")


@contextlib.contextmanager
def on_disk(dtype: np.dtype[Any], pieces: Iterable[Array]) -> Iterator[Array]:
    """Yield the concatenation of pieces, [N], as a writable array in a temporary file."""
    with tempfile.TemporaryFile() as file:
        count = 0
        for piece in pieces:
            try:
                file.write(np.ascontiguousarray(piece, dtype).data)
                file.flush()
            except OSError as error:
                raise StorageError(
                    f"can't write to {tempfile.gettempdir()} ({error.strerror or error}); make room there, or set "
                    "TMPDIR to another place"
                ) from None
            count += len(piece)
        yield np.memmap(file, dtype, "r+", shape=(count,)) if count else np.zeros(0, dtype)


def release_pages(tokens: Array) -> None:
    """Drop a memory-mapped array's pages from this process's memory; of any other array, do nothing.

    They stay in the system's page cache as long as it has room, and are mapped again when they are read.
    """
    mapped = getattr(tokens, "_mmap", None)  # np.memmap passes it on to its slices
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(tokens: Array) -> Iterator[Array]:
    """Yield an array in consecutive blocks, of which one at a time is in memory."""
    for begin in range(0, len(tokens), BLOCK):
        yield tokens[begin : begin + BLOCK]
        release_pages(tokens)


def count_tokens(tokens: Tokens, vocab_size: int) -> Counts:
    """Return the number of occurrences of each token, int [V]."""
    counts: Counts = np.zeros(vocab_size, np.int64)
    for block in blocks(tokens):
        counts += np.bincount(block, minlength=vocab_size)
    return counts

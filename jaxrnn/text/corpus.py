"""A corpus: an encoded text, in memory or, if it is big, on the disk."""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxrnn.config import Count, Normalization, VocabularyKind, check_text_options, corpus_name
from jaxrnn.config.fields import check_arguments, in_short
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.text import cache, fetch
from jaxrnn.text.files import STDIN, Text, absolute, find_files, in_blocks, one_line, read_file, texts_of
from jaxrnn.text.stream import Progress, Rules, blocks, encode_text, silent, survey_text
from jaxrnn.text.vocabulary import Tokens, Vocabulary, check_tokens

MAX_IN_MEMORY = 2**26  # bytes of a text up to which its tokens are kept in memory
TEXT, TOKENS = "text-in-memory", "tokens-in-memory"  # the sources of corpora that were never in a file


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text to train on: from a file by `load_corpus`, from memory by `from_text` or `from_tokens`.

    Attributes:
        source: what to give `load_corpus` to load it: absolute paths, one per line, "-" for stdin, or the name of a
            corpus; "text-in-memory" or "tokens-in-memory" for a corpus from memory.
        vocabulary: the distinct symbols of the text.
        tokens: int [N], the encoded text; memory-mapped if the text is big.
        sha256: the SHA-256, in hex, of the text's bytes, including those of `join` between files.
        encoding: the encoding of the files.
        normalize: how the text was changed before it was encoded, as in `load_corpus`.
        min_count: the number of occurrences below which symbols became the unknown symbol.
        join: the string between its files.
        symbols: symbols that are in the vocabulary even if they do not occur in the text.
        files: the path and the SHA-256 of each of its files, if they are several.
        cache_file: the file that holds the tokens; None if they are in memory.
    """

    source: str
    vocabulary: Vocabulary
    tokens: Tokens
    sha256: str
    encoding: str = "utf-8"
    normalize: tuple[Normalization, ...] = ()
    min_count: int = 1
    join: str = "\n"
    symbols: str = ""
    files: tuple[tuple[str, str], ...] = ()
    cache_file: Path | None = None

    def __post_init__(self) -> None:
        """Check the tokens: their type, and in memory their range too."""
        _check(self.tokens, self.vocabulary)

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        *,
        encoding: str = "utf-8",
        normalize: tuple[Normalization, ...] = (),
        min_count: Count = 1,
        symbols: str = "",
    ) -> "Corpus":
        """Return a corpus from a text in memory; a text of type bytes gets a vocabulary of bytes.

        Example:
            >>> corpus = Corpus.from_text("to be or not to be")
            >>> corpus.vocabulary.symbols, corpus.tokens[:5].tolist(), corpus.source
            (' benort', [6, 4, 0, 1, 2], 'text-in-memory')

        The options and errors are those of `load_corpus`. The `sha256` is that of the text's UTF-8 bytes, the same as
        that of a file with this text in UTF-8.
        """
        check_arguments(Corpus.from_text, locals())
        kind: VocabularyKind = "bytes" if isinstance(text, bytes) else "characters"
        check_text_options(kind, encoding, tuple(normalize))
        rules = Rules(kind, encoding, tuple(normalize), min_count, symbols=symbols)
        try:
            data = text if isinstance(text, bytes) else text.encode()
        except UnicodeEncodeError as error:
            half = f"{text[error.start]!r} at offset {error.start:,}"
            raise JaxrnnError(f"the text has half a character, {half}; leave it out, or give bytes") from None
        corpus = _encode_in_memory([(TEXT, data)], TEXT, rules.of_arguments, silent)
        return dataclasses.replace(corpus, encoding=encoding)

    @classmethod
    def from_tokens(cls, tokens: Tokens, vocabulary: Vocabulary) -> "Corpus":
        """Return a corpus from tokens in memory, or memory-mapped ones.

        Example:
            >>> corpus = Corpus.from_tokens(np.array([0, 1, 1, 0]), Vocabulary("ab"))
            >>> corpus.vocabulary.decode(corpus.tokens)
            'abba'

        Raises JaxrnnError unless the tokens are int [N], from 0 to V - 1, and the vocabulary has 2 symbols or more.
        """
        tokens = np.asanyarray(tokens)
        _check(tokens, vocabulary)
        dtype = vocabulary.dtype.newbyteorder("<")
        digest = hashlib.sha256(json.dumps([vocabulary.symbols, vocabulary.kind, vocabulary.unknown]).encode())
        for block in blocks(tokens):
            check_tokens(np.asarray(block), len(vocabulary))
            digest.update(block.astype(dtype).data)
        return cls(TOKENS, vocabulary, tokens.astype(vocabulary.dtype, copy=False), digest.hexdigest())

    @property
    def name(self) -> str:
        """A short name for titles and folders."""
        return corpus_name(self.source)

    def __len__(self) -> int:
        """Return N, the number of tokens."""
        return len(self.tokens)

    def __repr__(self) -> str:
        """Summarize the corpus without its tokens."""
        size = f"{counted(len(self), self.vocabulary.kind)}, vocabulary of {len(self.vocabulary):,}"
        return f"Corpus({self.name}: {size}, sha256 {self.sha256[:12]})"


def _check(tokens: Tokens, vocabulary: Vocabulary) -> None:
    if not isinstance(vocabulary, Vocabulary) or len(vocabulary) < 2:
        raise JaxrnnError(f"the vocabulary must be a jaxrnn.Vocabulary of at least 2 symbols, got {vocabulary!r}")
    check_tokens(tokens, len(vocabulary))
    if not isinstance(tokens, np.ndarray) or not len(tokens):
        raise JaxrnnError(f"the tokens must be a non-empty array of NumPy, got {in_short(tokens)}")


def load_corpus(
    source: str | Path | tuple[str | Path, ...],
    *,
    vocabulary: VocabularyKind = "characters",
    encoding: str = "utf-8",
    normalize: tuple[Normalization, ...] = (),
    min_count: Count = 1,
    join: str = "\n",
    symbols: str = "",
    progress: Progress = silent,
    verify: bool = False,
) -> Corpus:
    """Read and encode a text from files.

    A text of up to 64 MiB is read into memory. The tokens of a bigger one are memory-mapped from the user's cache
    directory, so that it may be larger than memory; they are written there when the text is new or has changed, or
    in advance by `jaxrnn prepare`.

    Args:
        source: a file, a folder of files, or a pattern such as "texts/*.txt", or a list of these, which are joined; "-"
            for stdin; or the name of a corpus, which takes precedence over a file: "python-docs" (the standard
            library's help texts) or "tinyshakespeare" (downloaded once to the user's cache directory). Files .gz, .bz2,
            .xz and .zst are decompressed.
        vocabulary: "characters", or "bytes" for any file.
        encoding: of a text of characters, one of Python's.
        normalize: what to change: "newlines" drops a byte-order mark and converts CRLF and CR line ends to LF, "nfc"
            composes characters (Unicode's normal form C), "quotes" makes curly quotes straight.
        min_count: replace symbols that occur fewer times by one unknown symbol.
        join: the string between files.
        symbols: what the vocabulary has besides the symbols of the text; bytes as characters with their values.
        progress: called with an activity, the number of new bytes, and the number of bytes in all.
        verify: read a big text and its cached tokens in full, even if the files have not changed.

    Raises:
        JaxrnnError: the text can't be read, is empty, is not in the encoding, has a byte-order mark or CRLF or CR line
            ends that are not normalized, or has a single distinct symbol, so that there is nothing to predict.
        StorageError: the tokens of a big text can't be cached.
    """
    check_arguments(load_corpus, locals())
    source = "\n".join(map(str, source)) if isinstance(source, list | tuple) else str(source)
    check_text_options(vocabulary, encoding, tuple(normalize))
    rules = Rules(vocabulary, encoding, tuple(normalize), min_count, join, symbols)
    if source in (TEXT, TOKENS):
        raise JaxrnnError(
            f"{source} is the corpus of a run whose text was in memory and in no file; hand it over in Python, as "
            "jaxrnn.Corpus.from_text or from_tokens made it, or give a file with the same text"
        )
    if source in (*fetch.NAMED, STDIN):
        contents = [(name, b"".join(blocks)) for name, blocks in texts_of(source, vocabulary)]
        return _encode_in_memory(contents, source, rules, progress)
    paths, source = find_files(source), absolute(source)
    if (small := _read_small(paths, vocabulary)) is not None:
        return _encode_in_memory(small, source, rules, progress)
    survey, tokens, path = cache.load_tokens(paths, one_line(source), rules, progress, verify)
    return Corpus(source, survey.vocabulary, tokens, survey.sha256, *rules[1:], survey.files, path)


def _read_small(paths: Sequence[Path], kind: VocabularyKind) -> list[tuple[str, bytes]] | None:
    """Return the names and contents of files; None if they are, decompressed, larger than `MAX_IN_MEMORY`."""
    with contextlib.suppress(OSError, ValueError):  # reading it says what is wrong
        if sum(path.stat().st_size for path in paths) > MAX_IN_MEMORY:
            return None
    contents, left = [], MAX_IN_MEMORY
    for path in paths:
        blocks = []
        for block in read_file(path, kind):
            blocks.append(block)
            left -= len(block)
            if left < 0:
                return None
        contents.append((str(path), b"".join(blocks)))
    return contents


def _encode_in_memory(contents: list[tuple[str, bytes]], source: str, rules: Rules, progress: Progress) -> Corpus:
    def texts() -> Iterator[Text]:
        return ((name, in_blocks(io.BytesIO(data))) for name, data in contents)

    survey, size = survey_text(texts(), one_line(source), rules), sum(len(data) for _, data in contents)
    progress("reading", size, size)
    tokens = np.concatenate(list(encode_text(texts(), source, rules, survey.vocabulary)))
    return Corpus(source, survey.vocabulary, tokens, survey.sha256, *rules[1:], survey.files)

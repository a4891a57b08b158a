"""A corpus: a text that can be trained on, in memory or, a big one, on the disk."""

import dataclasses
import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import cache, fetch
from jaxrnn.text.mapped import blocks
from jaxrnn.text.scan import Progress, Rules, Scan, changed, encode, scan, silent, vocabulary_of
from jaxrnn.text.vocabulary import Tokens, Vocabulary

IN_MEMORY = 2**26  # bytes of a text up to which its tokens are kept in memory and made anew at each start

TEXT, TOKENS = "text-in-memory", "tokens-in-memory"  # sources that `load_corpus` can't read again


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text that can be trained on: from a file by `load_corpus`, from memory by `from_text` or `from_tokens`.

    Attributes:
        source: what `load_corpus` finds it by again: an absolute path or a corpus's name; "text-in-memory" and
            "tokens-in-memory" have no file.
        vocabulary: its symbols.
        tokens: int [N], the text in that vocabulary; memory-mapped where it is big.
        sha256: of the bytes that were read, in hex.
        normalize: whether a byte-order mark and CR line ends were then removed.
        min_count: how often a symbol must occur; those that occur less became the unknown symbol.
        cache_file: the file of the cache that holds the tokens; None: they are in memory.
    """

    source: str
    vocabulary: Vocabulary
    tokens: Tokens
    sha256: str
    normalize: bool = False
    min_count: int = 1
    cache_file: Path | None = None

    @classmethod
    def from_text(cls, text: str | bytes, *, normalize: bool = False, min_count: int = 1) -> "Corpus":
        """Return a text that is already in memory as a corpus; bytes get a vocabulary of bytes.

        Example:
            >>> corpus = Corpus.from_text("to be or not to be")
            >>> corpus.vocabulary.symbols, corpus.tokens[:5].tolist(), corpus.source
            (' benort', [6, 4, 0, 1, 2], 'text-in-memory')

        Args:
            text: the text; `sha256` is that of its UTF-8 bytes, and so the same as that of a file with this text.
            normalize: drop a byte-order mark and turn CRLF and CR line ends into LF.
            min_count: symbols that occur fewer times become one, the unknown symbol; 1 keeps them all.

        Raises:
            JaxrnnError: as `load_corpus` does for such a text.
        """
        if not isinstance(text, str | bytes):
            raise JaxrnnError(f"the text must be a str or bytes, got {type(text).__name__}")
        try:
            data = text.encode() if isinstance(text, str) else text
        except UnicodeEncodeError as error:
            bad = f"{text[error.start]!r} at {error.start}"
            raise JaxrnnError(f"the text has half a character, {bad}, which UTF-8 can't hold; remove it") from None
        rules = Rules("characters" if isinstance(text, str) else "bytes", normalize, min_count)
        return _in_memory(data, TEXT, rules, silent)

    @classmethod
    def from_tokens(cls, tokens: Tokens, vocabulary: Vocabulary) -> "Corpus":
        """Return tokens that are already in memory, or memory-mapped, as a corpus.

        Example:
            >>> corpus = Corpus.from_tokens(np.array([0, 1, 1, 0]), Vocabulary("ab"))
            >>> corpus.vocabulary.decode(corpus.tokens)
            'abba'

        Args:
            tokens: int [N], each from 0 to V - 1.
            vocabulary: what they stand for; `sha256` is that of the tokens and of the vocabulary.

        Raises:
            JaxrnnError: the tokens are no such array, or there is nothing to predict.
        """
        if not isinstance(vocabulary, Vocabulary) or len(vocabulary) < 2:
            raise JaxrnnError(f"the vocabulary must be a jaxrnn.Vocabulary of at least 2 symbols, got {vocabulary!r}")
        tokens = np.asanyarray(tokens)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not len(tokens):
            raise JaxrnnError(f"the tokens must be a non-empty integer array [N], got {tokens.dtype}{[*tokens.shape]}")
        dtype = vocabulary.dtype.newbyteorder("<")
        digest = hashlib.sha256(json.dumps(dataclasses.astuple(vocabulary)).encode())
        for block in blocks(tokens):
            if block.min() < 0 or block.max() >= len(vocabulary):
                bad = f"{block.min()} to {block.max()}"
                raise JaxrnnError(f"tokens of {len(vocabulary)} symbols must be 0 to {len(vocabulary) - 1}, got {bad}")
            digest.update(block.astype(dtype).data)
        return cls(TOKENS, vocabulary, tokens.astype(vocabulary.dtype, copy=False), digest.hexdigest())

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
    source: str | Path,
    *,
    vocabulary: VocabularyKind = "characters",
    normalize: bool = False,
    min_count: int = 1,
    progress: Progress = silent,
    verify: bool = False,
) -> Corpus:
    """Read a text and encode it.

    A text of up to 64 MiB is read into memory. The tokens of a bigger one are kept in the user's cache directory, are
    used again as long as the text is the same, and are memory-mapped: it may be larger than memory. `jaxrnn prepare`
    makes them ahead.

    Args:
        source: a path, or the name of a corpus: "python-docs" (the standard library's own help texts) or
            "tinyshakespeare" (fetched once, then kept in the user's cache directory). A name wins over a file. For a
            text that is already in memory there is `Corpus.from_text`.
        vocabulary: "characters" for a UTF-8 text, "bytes" for any file.
        normalize: drop a byte-order mark and turn CRLF and CR line ends into LF.
        min_count: symbols that occur fewer times become one, the unknown symbol; 1 keeps them all.
        progress: is told what is being done, to how many more bytes, and of how many in all.
        verify: read all of a big text and of its tokens, even if their files have not changed since that was last done.

    Raises:
        JaxrnnError: the text can't be had, is empty, is not UTF-8, has a byte-order mark or CRLF line ends that nobody
            asked to drop, or has a single distinct symbol (there would be nothing to predict).
        StorageError: the tokens of a big one can't be kept.
    """
    source, rules = str(source), Rules(vocabulary, normalize, min_count)
    if source in (TEXT, TOKENS):
        raise JaxrnnError(
            f"{source} is the corpus of a run whose text was in memory and in no file; hand it over in Python, as "
            "jaxrnn.Corpus.from_text or from_tokens made it, or give a file with the same text"
        )
    if source not in fetch.NAMED:
        try:
            source = str(Path(source).expanduser().absolute())
        except RuntimeError:  # ~somebody, whom this machine does not know
            raise fetch.no_such_file(source) from None
    with fetch.opened(source) as file:
        if fetch.size_of(file) > IN_MEMORY:
            return _mapped(file, source, rules, progress, verify)
        data = file.read(IN_MEMORY + 1)
    if len(data) > IN_MEMORY:
        raise changed(source)
    return _in_memory(data, source, rules, progress)


def _in_memory(data: bytes, source: str, rules: Rules, progress: Progress) -> Corpus:
    found = scan(io.BytesIO(data), source, rules, lambda more: progress("reading", more, len(data)))
    vocabulary = vocabulary_of(found, source, rules)
    tokens, end = np.empty(int(found.counts.sum()), vocabulary.dtype), 0
    for piece in encode(io.BytesIO(data), source, rules, vocabulary, lambda _: None):
        tokens[end : end + len(piece)] = piece
        end += len(piece)
    return Corpus(source, vocabulary, tokens, found.sha256, rules.normalize, rules.min_count)


def _mapped(file: BinaryIO, source: str, rules: Rules, progress: Progress, verify: bool) -> Corpus:
    before, now = os.fstat(file.fileno()), time.time_ns()

    def corpus(sha256: str, kept: cache.Kept) -> Corpus:
        return Corpus(source, kept.vocabulary, kept.tokens, sha256, rules.normalize, rules.min_count, kept.path)

    known = None if verify else cache.known_sha256(source, before)
    if known and (kept := cache.find(known, rules, progress)):
        return corpus(known, kept)
    size = before.st_size
    found = scan(file, source, rules, lambda more: progress("reading", more, size))
    _check_unchanged(file, source, before)
    vocabulary = vocabulary_of(found, source, rules)
    kept = cache.find(found.sha256, rules, progress, verify=verify)
    kept = kept or _encode(file, source, rules, found, vocabulary, progress)
    _check_unchanged(file, source, before)
    if max(before.st_mtime_ns, before.st_ctime_ns) < now - cache.CLOCK_NS:
        cache.remember_sha256(source, before, found.sha256)
    return corpus(found.sha256, kept)


def _encode(
    file: BinaryIO, source: str, rules: Rules, found: Scan, vocabulary: Vocabulary, progress: Progress
) -> cache.Kept:
    file.seek(0)
    size = fetch.size_of(file)
    pieces = encode(file, source, rules, vocabulary, lambda more: progress("encoding", more, size))
    return cache.keep(found.sha256, rules, vocabulary, int(found.counts.sum()), pieces, source)


def _check_unchanged(file: BinaryIO, source: str, before: os.stat_result) -> None:
    if cache.fingerprint(os.fstat(file.fileno())) != cache.fingerprint(before):
        raise changed(source)

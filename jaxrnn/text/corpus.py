"""A corpus: a text that can be trained on, in memory or, a big one, on the disk."""

import dataclasses
import io
import os
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import cache, fetch
from jaxrnn.text.scan import Progress, Rules, Scan, changed, encode, scan, silent, vocabulary_of
from jaxrnn.text.vocabulary import Tokens, Vocabulary

IN_MEMORY = 2**26  # bytes of a text up to which its tokens are kept in memory and made anew at each start


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text that can be trained on.

    Attributes:
        source: what `load_corpus` finds it by again: an absolute path or a corpus's name.
        vocabulary: its symbols.
        tokens: int [N], the text in that vocabulary; memory-mapped where it is big.
        sha256: of the bytes that were read, in hex.
        normalize: whether a byte-order mark and CR line ends were then removed.
        min_count: how often a symbol must occur; those that occur less became the unknown symbol.
        kept_in: the file of the cache that holds the tokens; None: they are in memory.
    """

    source: str
    vocabulary: Vocabulary
    tokens: Tokens
    sha256: str
    normalize: bool = False
    min_count: int = 1
    kept_in: Path | None = None

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
            "tinyshakespeare" (fetched once, then kept in the user's cache directory). A name wins over a file.
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
    if source not in fetch.NAMED:
        try:
            source = str(Path(source).expanduser().absolute())
        except RuntimeError:  # ~somebody, whom this machine does not know
            raise JaxrnnError(f"no such file: {source}; give a text file") from None
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

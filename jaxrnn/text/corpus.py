"""A corpus: an encoded text, in memory or, if it is big, on the disk."""

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np

from jaxrnn.config import VocabularyKind
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import cache, fetch
from jaxrnn.text.stream import Progress, Rules, blocks, encode_text, open_file, read_blocks, silent, survey_text
from jaxrnn.text.vocabulary import Tokens, Vocabulary

MAX_IN_MEMORY = 2**26  # bytes of a text up to which its tokens are kept in memory
TEXT, TOKENS = "text-in-memory", "tokens-in-memory"  # the sources of corpora that were never in a file


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text to train on: from a file by `load_corpus`, from memory by `from_text` or `from_tokens`.

    Attributes:
        source: an absolute path or the name of a corpus, by which `load_corpus` finds it again; "text-in-memory" or
            "tokens-in-memory" for a corpus from memory.
        vocabulary: the distinct symbols of the text.
        tokens: int [N], the encoded text; memory-mapped if the text is big.
        sha256: of the text's bytes, in hex.
        normalize: whether a byte-order mark and CR line ends were removed.
        min_count: the number of occurrences below which symbols became the unknown symbol.
        cache_file: the file that holds the tokens; None if they are in memory.
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
        """Return a corpus from a text in memory; of bytes, with a vocabulary of bytes.

        Example:
            >>> corpus = Corpus.from_text("to be or not to be")
            >>> corpus.vocabulary.symbols, corpus.tokens[:5].tolist(), corpus.source
            (' benort', [6, 4, 0, 1, 2], 'text-in-memory')

        The options and errors are those of `load_corpus`. The `sha256` is that of the text's UTF-8 bytes, the same as
        that of a file with this text.
        """
        check_arguments(Corpus.from_text, {"text": text, "normalize": normalize, "min_count": min_count})
        rules = Rules("bytes" if isinstance(text, bytes) else "characters", normalize, min_count)
        # Half a character (a lone surrogate) becomes bytes that are refused with their position.
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return _encode_in_memory(data, TEXT, rules, silent)

    @classmethod
    def from_tokens(cls, tokens: Tokens, vocabulary: Vocabulary) -> "Corpus":
        """Return a corpus from tokens in memory, or memory-mapped ones.

        Example:
            >>> corpus = Corpus.from_tokens(np.array([0, 1, 1, 0]), Vocabulary("ab"))
            >>> corpus.vocabulary.decode(corpus.tokens)
            'abba'

        Raises JaxrnnError unless the tokens are int [N], from 0 to V - 1, and the vocabulary has 2 symbols or more.
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
        """Summarize the corpus without its tokens."""
        size = f"{len(self):,} {self.vocabulary.kind}, {len(self.vocabulary):,} distinct"
        return f"Corpus({self.name}: {size}, sha256 {self.sha256[:12]})"


def load_corpus(
    source: str | Path,
    *,
    vocabulary: VocabularyKind = "characters",
    normalize: bool = False,
    min_count: int = 1,
    progress: Progress = silent,
    verify: bool = False,
) -> Corpus:
    """Read and encode a text from a file.

    A text of up to 64 MiB is read into memory. The tokens of a bigger one are memory-mapped from the user's cache
    directory, so that it may be larger than memory; they are written there when the text is new or has changed, or
    in advance by `jaxrnn prepare`.

    Args:
        source: a path, or the name of a corpus, which takes precedence over a file: "python-docs" (the standard
            library's help texts) or "tinyshakespeare" (downloaded once to the user's cache directory).
        vocabulary: "characters" for a UTF-8 text, "bytes" for any file.
        normalize: drop a byte-order mark and convert CRLF and CR line ends to LF.
        min_count: replace symbols that occur fewer times by one unknown symbol.
        progress: called with an activity, its number of new bytes, and of bytes in all.
        verify: read all of a big text and of its cached tokens, even if the files have not changed.

    Raises:
        JaxrnnError: the text can't be read, is empty, is not UTF-8, has a byte-order mark or CRLF line ends without
            `normalize`, or has a single distinct symbol, so that there is nothing to predict.
        StorageError: the tokens of a big text can't be cached.
    """
    check_arguments(load_corpus, locals())
    source, rules = str(source), Rules(vocabulary, normalize, min_count)
    if source in (TEXT, TOKENS):
        raise JaxrnnError(
            f"{source} is the corpus of a run whose text was in memory and in no file; hand it over in Python, as "
            "jaxrnn.Corpus.from_text or from_tokens made it, or give a file with the same text"
        )
    if source in fetch.NAMED:
        return _encode_in_memory(fetch.read_named_corpus(source), source, rules, progress)
    advice = f"give a text file or one of: {', '.join(fetch.NAMED)}"
    if len(source) > 255 or any(map(str.isspace, source)):
        advice = "give a text file, or a text itself by jaxrnn.Corpus.from_text(TEXT)"
    path = Path(os.path.expanduser(source)).absolute()  # noqa: PTH111 (~NAME without such a user is a file)
    with open_file(path, vocabulary, advice) as file:
        if os.fstat(file.fileno()).st_size > MAX_IN_MEMORY:
            cached = cache.load_tokens(file, str(path), rules, progress, verify)
            return Corpus(str(path), cached.vocabulary, cached.tokens, cached.sha256, normalize, min_count, cached.path)
        return _encode_in_memory(file.read(), str(path), rules, progress)


def _encode_in_memory(data: bytes, source: str, rules: Rules, progress: Progress) -> Corpus:
    sha256, vocabulary = survey_text(read_blocks(io.BytesIO(data)), source, rules)
    progress("reading", len(data), len(data))
    tokens = np.concatenate(list(encode_text(read_blocks(io.BytesIO(data)), source, rules, vocabulary)))
    return Corpus(source, vocabulary, tokens, sha256, rules.normalize, rules.min_count)

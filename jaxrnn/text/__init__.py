"""Text as integers: the vocabulary, a corpus, its slices, and the batches that a training step sees."""

from jaxrnn.text.batch import (
    Array,
    Batch,
    DocumentStarts,
    Slice,
    Starts,
    batches,
    check_length,
    check_separator,
    document_starts,
    encode_separator,
    never_seen,
    position,
    split,
)
from jaxrnn.text.corpus import Corpus, load_corpus
from jaxrnn.text.stream import Progress, blocks, count_tokens, on_disk, read_pieces, release_pages, silent
from jaxrnn.text.vocabulary import UNKNOWN, Decoder, Flags, Tokens, Vocabulary

__all__ = [
    "UNKNOWN",
    "Array",
    "Batch",
    "Corpus",
    "Decoder",
    "DocumentStarts",
    "Flags",
    "Progress",
    "Slice",
    "Starts",
    "Tokens",
    "Vocabulary",
    "batches",
    "blocks",
    "check_length",
    "check_separator",
    "count_tokens",
    "document_starts",
    "encode_separator",
    "load_corpus",
    "never_seen",
    "on_disk",
    "position",
    "read_pieces",
    "release_pages",
    "silent",
    "split",
]

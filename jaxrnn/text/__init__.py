"""Text as integers: the vocabulary, a corpus, its slices, and the batches that a training step sees."""

from jaxrnn.text.batch import Array, Batch, batches, check_length, position
from jaxrnn.text.corpus import Corpus, load_corpus
from jaxrnn.text.documents import DocumentStarts, Starts, check_separator, document_starts, encode_separator
from jaxrnn.text.mapped import blocks, count_tokens, on_disk, release_pages
from jaxrnn.text.slices import Slice, never_seen, split
from jaxrnn.text.stream import Progress, read_pieces, silent
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

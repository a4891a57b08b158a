"""Text as integers: the vocabulary, a corpus, its slices, and the batches that a training step sees."""

from jaxrnn.text.batch import Batch, batches, position
from jaxrnn.text.corpus import Corpus, load_corpus
from jaxrnn.text.documents import check_separator, document_starts, encode_separator
from jaxrnn.text.slices import Slice, never_seen, split
from jaxrnn.text.stream import read_pieces
from jaxrnn.text.vocabulary import UNKNOWN, Decoder, Flags, Tokens, Vocabulary

__all__ = [
    "UNKNOWN",
    "Batch",
    "Corpus",
    "Decoder",
    "Flags",
    "Slice",
    "Tokens",
    "Vocabulary",
    "batches",
    "check_separator",
    "document_starts",
    "encode_separator",
    "load_corpus",
    "never_seen",
    "position",
    "read_pieces",
    "split",
]

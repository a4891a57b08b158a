"""Text as integers: the vocabulary, a corpus, its slices, and the batches that a training step sees."""

from jaxrnn.text.batch import Array, Batch, batches
from jaxrnn.text.corpus import Corpus, load_corpus
from jaxrnn.text.documents import Slice, document_starts, encode_separator, split
from jaxrnn.text.vocabulary import UNKNOWN, Tokens, Vocabulary

__all__ = ["UNKNOWN", "Array", "Batch", "Corpus", "Slice", "Tokens", "Vocabulary"]
__all__ += ["batches", "document_starts", "encode_separator", "load_corpus", "split"]

"""Independent documents in a text, at whose beginnings the carry is reset."""

from typing import Any, overload

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.text.mapped import blocks
from jaxrnn.text.vocabulary import UNKNOWN, Flags, Tokens, Vocabulary

Positions = np.ndarray[tuple[int, ...], np.dtype[np.signedinteger[Any]]]


class DocumentStarts:
    """The flags of `document_starts` for a text, computed where they are read.

    Example:
        >>> starts = DocumentStarts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0]))
        >>> starts[np.array([2, 3])].tolist(), starts[2:].begin, starts[2:][np.array([0])].tolist()
        ([True, False], 2, [True])
    """

    def __init__(self, text: Tokens, separator: Tokens, begin: int = 0, end: int | None = None) -> None:
        """Describe the flags of the symbols from `begin` to `end` of a text, int [N]."""
        self._text, self._separator = text, separator
        self.begin, self._end = begin, len(text) if end is None else end

    def __len__(self) -> int:
        """Return the number of flags."""
        return self._end - self.begin

    @overload
    def __getitem__(self, index: slice) -> "DocumentStarts": ...
    @overload
    def __getitem__(self, index: Positions) -> Flags: ...
    def __getitem__(self, index: slice | Positions) -> "DocumentStarts | Flags":
        """Return a contiguous part, without computing it, or the flags at these positions, bool of their shape."""
        if isinstance(index, slice):
            begin, end, _ = index.indices(len(self))
            return DocumentStarts(self._text, self._separator, self.begin + begin, self.begin + max(begin, end))
        first = index + (self.begin - len(self._separator) + 1)
        starts: Flags = first >= 0
        for offset, symbol in enumerate(self._separator):
            starts &= self._text[np.maximum(first + offset, 0)] == symbol
        return starts


Starts = Flags | DocumentStarts


def document_starts(tokens: Tokens, separator: Tokens, before: Tokens | None = None) -> Flags:
    """Return where the carry is reset: at each token with which the text so far ends in the separator, bool [N].

    The first symbol of a document is therefore predicted from the last symbol of the separator alone.

    Example:
        >>> document_starts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0])).tolist()
        [False, False, True, False, False, True, True]

    Args:
        tokens: int [N].
        separator: int [k], k >= 1, from `encode_separator`.
        before: int [M], the text before the tokens, in which a separator may begin; its last k - 1 tokens suffice.
    """
    count, width = len(tokens), len(separator) - 1
    context = np.concatenate([np.full(width, -1), tokens[:0] if before is None else before])
    text = np.concatenate([context[len(context) - width :], tokens])
    starts = np.ones(count, np.bool_)
    for offset, symbol in enumerate(separator):
        starts &= text[offset : offset + count] == symbol
    return starts


def encode_separator(vocabulary: Vocabulary, reset_on: str) -> Tokens:
    """Return the separator of documents as tokens, int [k]; k = 0 if there is none.

    Raises:
        JaxrnnError: one of its symbols is not in the vocabulary, or only as the unknown symbol.
    """
    tokens, in_vocabulary = vocabulary.find(reset_on)
    if not in_vocabulary.all() or (vocabulary.unknown and (tokens == vocabulary.symbols.index(UNKNOWN)).any()):
        raise JaxrnnError(f"reset_on {reset_on!r} has symbols that are not in the vocabulary; {_ADVICE}")
    return tokens


def check_separator(tokens: Tokens, separator: Tokens, reset_on: str) -> None:
    """Raise JaxrnnError if a text has no separator."""
    before = tokens[:0]
    for block in blocks(tokens):
        if document_starts(block, separator, before).any():
            return
        before = block[max(0, len(block) - len(separator) + 1) :]
    raise JaxrnnError(f"reset_on {reset_on!r} does not occur in the text; {_ADVICE}")


_ADVICE = "give a string that separates its documents (a new line is $'\\n' in a shell)"

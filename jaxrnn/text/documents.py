"""Independent documents in a text: where the state starts anew."""

from typing import Any, overload

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.text.mapped import blocks
from jaxrnn.text.vocabulary import UNKNOWN, Flags, Tokens, Vocabulary

Places = np.ndarray[tuple[int, ...], np.dtype[np.signedinteger[Any]]]


def encode_separator(vocabulary: Vocabulary, reset_on: str) -> Tokens:
    """Return the string between documents as tokens, int [k]; k = 0: there are no documents.

    Raises:
        JaxrnnError: the vocabulary lacks one of its symbols, or has folded it into the unknown one.
    """
    tokens, known = vocabulary.find(reset_on)
    if not known.all() or (vocabulary.unknown and (tokens == vocabulary.symbols.index(UNKNOWN)).any()):
        raise JaxrnnError(f"reset_on {reset_on!r} has symbols that are not in the vocabulary; {_HINT}")
    return tokens


def document_starts(tokens: Tokens, separator: Tokens, before: Tokens | None = None) -> Flags:
    """Return where the state starts anew: at each token with which the text so far ends in the separator, bool [N].

    So the first symbol of a document is predicted from the separator's last symbol alone.

    Example:
        >>> document_starts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0])).tolist()
        [False, False, True, False, False, True, True]

    Args:
        tokens: int [N].
        separator: int [k], k >= 1, from `encode_separator`.
        before: int [M], what stands before the tokens, so that a separator may begin there; the last k - 1 suffice.
    """
    tail = len(separator) - 1
    read = np.full(tail, -1) if before is None else np.concatenate([np.full(tail, -1), before])[len(before) :]
    text = np.concatenate([read, tokens])
    starts = np.ones(len(tokens), np.bool_)
    for offset, symbol in enumerate(separator):
        starts &= text[offset : offset + len(tokens)] == symbol
    return starts


class DocumentStarts:
    """The flags of `document_starts` for a whole text, found where they are asked for.

    Example:
        >>> starts = DocumentStarts(np.array([7, 0, 0, 7, 0, 0, 0]), np.array([0, 0]))
        >>> starts[np.array([2, 3])].tolist(), starts[2:].begin, starts[2:][np.array([0])].tolist()
        ([True, False], 2, [True])
    """

    def __init__(self, text: Tokens, separator: Tokens, begin: int = 0, end: int | None = None) -> None:
        """Find the flags of the symbols from `begin` to `end` of a text, int [N]."""
        self._text, self._separator = text, separator
        self.begin, self._end = begin, len(text) if end is None else end

    def __len__(self) -> int:
        """Return for how many symbols there are flags."""
        return self._end - self.begin

    @overload
    def __getitem__(self, places: slice) -> "DocumentStarts": ...
    @overload
    def __getitem__(self, places: Places) -> Flags: ...
    def __getitem__(self, places: slice | Places) -> "DocumentStarts | Flags":
        """Return the flags of a contiguous part, still to be found, or those at some places, bool as they are."""
        if isinstance(places, slice):
            begin, end, _ = places.indices(len(self))
            return DocumentStarts(self._text, self._separator, self.begin + begin, self.begin + max(begin, end))
        first = places + (self.begin - len(self._separator) + 1)
        starts: Flags = first >= 0
        for offset, symbol in enumerate(self._separator):
            starts &= self._text[np.maximum(first + offset, 0)] == symbol
        return starts


Starts = Flags | DocumentStarts


def check_separator(tokens: Tokens, separator: Tokens, reset_on: str) -> None:
    """Raise JaxrnnError if there is no document boundary in a text."""
    before = tokens[:0]
    for block in blocks(tokens):
        if document_starts(block, separator, before).any():
            return
        before = block[max(0, len(block) - len(separator) + 1) :]
    raise JaxrnnError(f"reset_on {reset_on!r} does not occur in the text; {_HINT}")


_HINT = "give a string that separates its documents (a new line is $'\\n' in a shell)"

"""Independent documents in a text: where the state starts anew."""

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.text.vocabulary import UNKNOWN, Flags, Tokens, Vocabulary


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


def check_separator(starts: Flags, reset_on: str) -> None:
    """Raise JaxrnnError if there is no document boundary in a text."""
    if not starts.any():
        raise JaxrnnError(f"reset_on {reset_on!r} does not occur in the text; {_HINT}")


_HINT = "give a string that separates its documents (a new line is $'\\n' in a shell)"

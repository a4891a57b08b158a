"""Did the network copy? The longest span of a sample that stands in the text it was trained on."""

from collections.abc import Iterable
from typing import NamedTuple


class Copy(NamedTuple):
    """A span that two texts have in common.

    Attributes:
        text: the span; empty where they have not a single character in common.
        sample_offset: characters of the sample before it.
        text_offset: characters of the text before the first place where it stands there.
    """

    text: str
    sample_offset: int
    text_offset: int


def longest_copy(sample: str, text: str | Iterable[str]) -> Copy:
    """Return the longest span of `sample` that stands verbatim in `text`; of equally long ones the first.

    It searches for as many spans as the sample has characters, so it takes time in proportion to both: some 0.3 s for
    1,000 characters and a text of a million. A text in pieces takes the memory of a piece.

    Example:
        >>> longest_copy("the cat sat", "a cat, a mat")
        Copy(text=' cat', sample_offset=3, text_offset=1)
        >>> longest_copy("the cat sat", ["a c", "at, ", "a mat"])
        Copy(text=' cat', sample_offset=3, text_offset=1)

    Args:
        sample: what was written.
        text: what it may be copied from, whole or in pieces that follow each other.
    """
    longest, read, before = Copy("", 0, 0), 0, ""
    for piece in [text] if isinstance(text, str) else text:
        block = before + piece  # a span may begin in the piece before
        found = _longest(sample, block, least=len(longest.text))
        if (len(found.text), -found.sample_offset) > (len(longest.text), -longest.sample_offset):
            longest = found._replace(text_offset=read - len(before) + found.text_offset)
        before, read = block[max(0, len(block) - len(sample) + 1) :], read + len(piece)
    return longest


def _longest(sample: str, text: str, least: int) -> Copy:
    """Return what `longest_copy` does, if it has `least` characters; else nothing."""
    longest, length = Copy("", 0, 0), max(0, least - 1)
    for begin in range(len(sample)):
        # Only a span that is longer than the longest so far counts, and from here on each one in turn.
        while (end := begin + length + 1) <= len(sample):
            found = text.find(sample[begin:end])
            if found < 0:
                break
            longest, length = Copy(sample[begin:end], begin, found), length + 1
    return longest

"""Did the network copy? The longest span of a sample that occurs in the training text."""

from collections.abc import Iterable
from typing import NamedTuple

from jaxrnn.config.fields import check_arguments


class Copy(NamedTuple):
    """A span of a sample that occurs in a text, and its offset in each, in characters; empty if there is none."""

    text: str
    sample_offset: int
    text_offset: int


def longest_copy(sample: str, text: str | Iterable[str]) -> Copy:
    """Return the longest span of a sample that occurs verbatim in a text; among equally long ones the first.

    The time is proportional to the length of both: about 0.3 s for 1,000 characters and a text of a million. Of a text
    in consecutive pieces, one piece at a time is in memory.

    Example:
        >>> longest_copy("the cat sat", "a cat, a mat")
        Copy(text=' cat', sample_offset=3, text_offset=1)
        >>> longest_copy("the cat sat", ["a c", "at, ", "a mat"])
        Copy(text=' cat', sample_offset=3, text_offset=1)
    """
    check_arguments(longest_copy, locals())
    longest, offset, overlap = Copy("", 0, 0), 0, ""
    for piece in [text] if isinstance(text, str) else text:
        block = overlap + piece  # a span may begin in the piece before
        copy = _longest(sample, block, len(longest.text))
        if (len(copy.text), -copy.sample_offset) > (len(longest.text), -longest.sample_offset):
            longest = copy._replace(text_offset=offset - len(overlap) + copy.text_offset)
        overlap, offset = block[max(0, len(block) - len(sample) + 1) :], offset + len(piece)
    return longest


def _longest(sample: str, text: str, min_length: int) -> Copy:
    """Return the longest copy if it has at least `min_length` characters; otherwise an empty one."""
    longest, length = Copy("", 0, 0), max(0, min_length - 1)
    for begin in range(len(sample)):
        # Only a longer span than the longest so far matters: try one more character for as long as it is found.
        while (end := begin + length + 1) <= len(sample):
            offset = text.find(sample[begin:end])
            if offset < 0:
                break
            longest, length = Copy(sample[begin:end], begin, offset), length + 1
    return longest

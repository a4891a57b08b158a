import numpy as np
import pytest

from jaxrnn.evaluation.copies import Copy, longest_copy


def by_hand(sample, text):
    """Find the longest span by trying every one, the longest first."""
    for length in range(len(sample), 0, -1):
        for begin in range(len(sample) - length + 1):
            if sample[begin : begin + length] in text:
                span = sample[begin : begin + length]
                return Copy(span, begin, text.index(span))
    return Copy("", 0, 0)


@pytest.mark.parametrize(
    ("sample", "text", "expected"),
    [
        ("the cat sat", "a cat, a mat", Copy(" cat", 3, 1)),
        ("abc", "xxabcxxabc", Copy("abc", 0, 2)),  # all of it, where it occurs first
        ("abXcd", "cd ab", Copy("ab", 0, 3)),  # the first of two equally long ones
        ("xyz", "abc", Copy("", 0, 0)),
        ("", "abc", Copy("", 0, 0)),
        ("abc", "", Copy("", 0, 0)),
        ("猫が好き", "犬と猫が好", Copy("猫が好", 0, 2)),
        ("abcabd", "abd", Copy("abd", 3, 0)),
    ],
)
def test_the_longest_span_of_a_sample_in_a_text_is_found(sample, text, expected):
    assert longest_copy(sample, text) == expected


@pytest.mark.parametrize("seed", range(30))
def test_it_is_what_trying_every_span_finds(seed):
    rng = np.random.default_rng(seed)
    sample, text = ("".join(rng.choice(list("ab\n"), size)) for size in rng.integers(1, [40, 200]))
    assert longest_copy(sample, text) == by_hand(sample, text)
    for size in (1, 3, 50):
        pieces = [text[begin : begin + size] for begin in range(0, len(text), size)]
        assert longest_copy(sample, pieces) == by_hand(sample, text)


def test_a_planted_copy_is_found_in_a_text_of_a_million_characters():
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefgh"), 1_000_000))
    own = "".join(rng.choice(list("abcdefgh"), 300))
    assert longest_copy(own + text[765_432:765_482] + own, text).text_offset <= 765_432
    assert len(longest_copy(own + text[765_432:765_482] + own, text).text) >= 50

"""Single characters: substitutes for one that a vocabulary lacks, and names for messages."""

import unicodedata
from collections.abc import Iterator

_STRAIGHT = {**dict.fromkeys("\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys("\u201c\u201d\u201e\u201f", '"')}
_QUOTES = "\"'"
_DASHES = "-\u2013\u2014\u2012\u2015\u2212\u2010\u2011"


def straight_quotes(text: str) -> str:
    """Return a text with straight quotes for curly ones."""
    for curly, straight in _STRAIGHT.items():
        text = text.replace(curly, straight)
    return text


def alternatives(character: str) -> Iterator[str]:
    r"""Yield substitutes for a character, the nearest first.

    Example:
        >>> [ascii(text) for text in alternatives("\u00c9")][:4]
        ["'E\\u0301'", "'\\xe9'", "'E'", "'e'"]
    """
    decomposed = unicodedata.normalize("NFD", character)
    base = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    quotes = [curly for curly, straight in _STRAIGHT.items() if straight == character]
    if straight_quotes(character) in _QUOTES:  # a text may have one kind of quotes only
        quotes += _QUOTES
    dashes = _DASHES if character in _DASHES else ""
    compatible = unicodedata.normalize("NFKC", character)
    near = straight_quotes(character), decomposed, *quotes, *dashes, character.swapcase(), compatible, base
    for text in dict.fromkeys([*near, compatible.lower(), base.swapcase()]):
        if text not in ("", character):
            yield text


def visible(character: str) -> str:
    """Return a character; a combining mark stands on a dotted circle."""
    return f"\u25cc{character}" if unicodedata.category(character).startswith("M") else character


def name_of(character: str) -> str:
    r"""Return a character with its code point and name; a combining mark stands on a dotted circle.

    Example:
        >>> name_of("e"), name_of("\n"), name_of("\udce9")
        ('e (U+0065 LATIN SMALL LETTER E)', "'\\n' (U+000A)", 'the byte 0xe9, which is not UTF-8')
    """
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # as Python passes it
        return f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8"
    if 0xD800 <= code <= 0xDFFF:
        return f"half a character (U+{code:04X})"
    shown = visible(character) if character.isprintable() and not character.isspace() else repr(character)
    return f"{shown} (U+{code:04X}{f' {name}' if (name := unicodedata.name(character, '')) else ''})"

"""Texts of any script in figures, as they are: `$` is a dollar, and a font is found for every character."""

import functools
import unicodedata
import warnings
from typing import Any

from jaxrnn.errors import listed

_MATH = r"$\mathdefault{"  # as matplotlib labels logarithmic axes


def printable(name: str) -> str:
    """Return a name with control characters, and bytes that are not UTF-8, as Python writes them."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def draw_texts_as_they_are(figure: Any) -> None:
    """Draw no text of a figure as mathematics, and give each the fonts that it needs; warn once if one is missing."""
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    for axes in figure.axes:  # this makes the tick labels that don't exist yet
        axes.get_xticklabels(), axes.get_yticklabels()
    missing: dict[str, None] = {}
    for text in figure.findobj(Text):
        content = text.get_text()
        if not content.startswith(_MATH):
            text.set_parse_math(False)
        if content.isascii():
            continue
        font = get_font(findfont(text.get_fontproperties()))
        characters = dict.fromkeys(content.replace("\n", ""))
        lacking = [character for character in characters if not font.get_char_index(ord(character))]
        families = {character: _family_with(ord(character)) for character in lacking}
        text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), *filter(None, families.values())])))
        missing |= {character: None for character, family in families.items() if not family}
    if missing and not getattr(figure, "_jaxrnn_warned", False):
        figure._jaxrnn_warned = True
        warnings.warn(
            f"no font here has {listed([*missing])}, drawn as boxes; install one, such as the package "
            f"{' or '.join(dict.fromkeys(map(_package_with, missing)))}",
            stacklevel=2,
        )


def _package_with(character: str) -> str:
    """Return the package of Debian and its like with a font for the script of a character."""
    if unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH")):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) == "So" else "fonts-noto-core"


@functools.cache
def _family_with(code: int) -> str | None:
    """Return a font family that has a character; None: there is none."""
    from matplotlib.font_manager import fontManager

    for file, (family, codes) in _installed_fonts().items():
        if code in codes:
            if file not in {entry.fname for entry in fontManager.ttflist}:  # installed after matplotlib made its list
                fontManager.addfont(file)
            return family
    return None


@functools.cache
def _installed_fonts() -> dict[str, tuple[str, frozenset[int]]]:
    """Return the files of all fonts that can be used, with their families and the characters that they have."""
    from matplotlib.font_manager import findSystemFonts, fontManager
    from matplotlib.ft2font import FT2Font

    fonts = {}
    known = [entry.fname for entry in fontManager.ttflist if (entry.style, entry.weight) == ("normal", 400)]
    for file in dict.fromkeys([*known, *sorted(findSystemFonts())]):
        if "LastResort" in file:  # matplotlib's own font of boxes
            continue
        try:
            font = FT2Font(file)
        except (OSError, RuntimeError):
            continue
        if font.scalable:
            fonts[file] = font.family_name, frozenset(font.get_charmap())
    return fonts

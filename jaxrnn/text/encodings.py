"""The encoding that a text may be in, guessed from its bytes, for the error message that refuses the text.

For 11 of the 16 short texts in tests/text/test_files.py, charset-normalizer 3.5.3 names the right encoding, or one that
decodes them alike, first; it takes a French text in cp1252 for cp1257. This module names the right one first for all.
"""

import codecs
import itertools
import re
import unicodedata

_MARKS = {  # the longer first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE = 2**14  # bytes that are looked at
_LEAST_NULS, _LEAST_LETTERS = 8, 6
_CANDIDATES = (
    *("cp1252", "cp1250", "iso8859-2", "cp1254", "mac-roman", "cp850", "cp437"),
    *("cp1251", "koi8-r", "cp866", "mac-cyrillic", "cp1253", "cp1255", "cp1256"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "cp949"),
    *("utf-16-le", "utf-16-be"),
)
_FREQUENT = frozenset("的一是不了人我在有他这這为為之大来來以个個中上们們到说說国國和地也子时時道出日本年見私")
_SCRIPTS = {"CJK": 0.5, "HANGUL": 0.7, "HIRAGANA": 1.5, "HEBREW": 1.1, "FULLWIDTH": 1.0, "HALFWIDTH": 0.0}
_RARE = frozenset("ðþýÿ")
_PUNCTUATION = frozenset("\u2018\u2019\u201c\u201d\u201e\u2013\u2014…«»¿¡°§£€·")


def wide_encoding(data: bytes) -> tuple[str, str] | None:
    """Return the name of the UTF-16 or UTF-32 encoding of a text's first bytes, and the evidence for it; else None.

    Example:
        >>> wide_encoding("Привет, мир! Как дела, как жизнь, как погода?".encode("utf-16-le"))[0]
        'utf-16-le'
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name, "by its byte-order mark"
    if data[:_SAMPLE].count(0) < _LEAST_NULS:
        return None
    columns = [data[index:_SAMPLE:4] for index in range(4)]
    nuls = [column.count(0) / max(1, len(column)) for column in columns]
    if sum(nuls) < 1 and re.fullmatch(rb"[\0\t\n\r -~]*", data[:_SAMPLE]):  # ASCII is half NULs in UTF-16
        return None
    name = ""
    for order, (first, second, third, fourth) in {"be": nuls, "le": nuls[::-1]}.items():
        if first > 0.9 and second > 0.9 > fourth:
            name = f"utf-32-{order}"
        elif first + third > 0.02 and second + fourth < (first + third) / 20:
            name = f"utf-16-{order}"
    return (name, "by its NUL bytes, without a byte-order mark") if name else None


def contradiction(data: bytes, encoding: str) -> tuple[str, str] | None:
    """Return the encoding that a text's first bytes are in, and the evidence for it, if it is not the given one.

    Example:
        >>> contradiction("naïve, café, élève, où, déjà, çà".encode(), "cp1252")
        ('utf-8', 'and would be read as naÃ¯ve,')
    """
    name, wide = codecs.lookup(encoding).name, wide_encoding(data)
    if name.startswith("utf-8") and data.isascii() and re.search(rb"\x1b\$[@B].*\x1b\([BJ]", data, re.DOTALL):
        return "iso2022_jp", "by its escape sequences"
    is_wide, mark = name.startswith(("utf-16", "utf-32")), next(filter(data.startswith, _MARKS), b"")
    has_order = is_wide and name.endswith("e")  # utf-16-le needs no mark, utf-16 does
    if wide and wide[0] != name and not (has_order and mark in (b"", "\ufeff".encode(name))):
        return wide
    if name.startswith("utf-8"):
        return None
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8", "by its byte-order mark"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
        read = "" if is_wide else codecs.getincrementaldecoder(encoding)("replace").decode(data)
    except UnicodeError:
        return None
    if is_wide and 0 not in data and len(data) >= _LEAST_NULS:
        return "utf-8", "or ASCII, without the NUL bytes of wide characters"
    words = [word for word in read.split() if not word.isascii()]
    if words and len(re.findall(r"[^\x00-\x7f]", text)) >= _LEAST_LETTERS:
        return "utf-8", f"and would be read as {words[0][:20]}"
    return None


def likely_encodings(data: bytes) -> list[tuple[str, str]]:
    """Return up to three encodings that bytes beyond ASCII may be in, the likeliest first, each with a word as decoded.

    Example:
        >>> likely_encodings("un café crème".encode("latin-1"))[0]
        ('cp1252', 'café')
    """
    data = data[:_SAMPLE]
    scores: dict[str, float] = {}
    for name in _CANDIDATES:
        try:
            text = codecs.getincrementaldecoder(name)().decode(data)  # may end within a character
        except UnicodeDecodeError:
            continue
        if len(re.findall(r"[\0-\x08\x0e-\x1f]", text)) <= len(text) / 50:  # no text has many control characters
            scores[name] = _plausibility(text)
    least = max(0.1, max(scores.values(), default=0) / 2)
    best = sorted((name for name, score in scores.items() if score >= least), key=lambda name: -scores[name])
    words: dict[str, str] = {}
    for name in best:
        text = codecs.getincrementaldecoder(name)().decode(data)
        (word,) = itertools.islice(re.finditer(r"\S{0,20}[^\x00-\x7f]\S*", text), 1)  # a wide space is one, too
        words.setdefault(word[0][:20], name)
    return [(name, word) for word, name in words.items()][:3]


def _plausibility(text: str) -> float:
    """Return the mean score, at most about 1, of a text's first non-ASCII characters, each after its predecessor."""
    places = itertools.islice(re.finditer(r"[^\x00-\x7f]", text), 1000)
    scores = [_score(text[max(0, place.start() - 1) : place.start()], place[0]) for place in places]
    return sum(scores) / max(1, len(scores))


def _score(before: str, character: str) -> float:
    """Return how plausible a character is after another one: 1 for a lowercase letter in a word of its script."""
    category, script = unicodedata.category(character), _script(character)
    if category in ("Lo", "Ll", "Lu") and script != "LATIN" and before.isascii() and before.isalpha():
        return -1.0
    if character in _FREQUENT:
        return 2.0
    if script in _SCRIPTS:
        return _SCRIPTS[script]
    if category == "Lo" or character in _PUNCTUATION or "\u3000" <= character <= "\u301f":
        return 1.0
    if category not in ("Ll", "Lu"):
        return -1.0
    if category == "Lu":
        return -1.0 if before.islower() else 0.3
    is_rare = script == "LATIN" and (character in _RARE or (before.isalpha() and not before.isascii()))
    return 0.5 if is_rare else 1.0


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]

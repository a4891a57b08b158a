"""Single characters: what else may be meant by one, and how a message names it."""

_QUOTES = {"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'}
_QUOTES["\u201f"] = '"'


def straight_quotes(text: str) -> str:
    """Return a text with straight quotes for curly ones."""
    for curly, straight in _QUOTES.items():
        text = text.replace(curly, straight)
    return text

"""How results are printed: colours only where a person sees them, tables with columns, JSON in a line."""

import json
import os
from collections.abc import Sequence
from typing import Any, TextIO

BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"


def wants_colour(file: TextIO) -> bool:
    """Return whether escape codes may go there: to a terminal that knows them, where NO_COLOR is unset or empty."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def styled(text: str, style: str, file: TextIO) -> str:
    """Return a text in a style, for a file that wants colours; for another one as it is."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and wants_colour(file) else text


def print_result(as_json: bool, values: Any, text: str) -> None:
    """Print what a command found: its values as a line of JSON, or a text."""
    print(json.dumps(values, allow_nan=False) if as_json else text)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines with columns two spaces apart; those numbered in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(text: str, place: int) -> str:
        return text.rjust(widths[place]) if place in right else text.ljust(widths[place])

    return ["  ".join(cell(text, place) for place, text in enumerate(row)).rstrip() for row in rows]

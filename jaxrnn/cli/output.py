"""How results are printed: as a text with tables and, on a terminal, colors, or as one line of JSON."""

import json
import os
from collections.abc import Sequence
from typing import Any, TextIO

BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"


def wants_color(file: TextIO) -> bool:
    """Return whether a file is a terminal that shows colors and NO_COLOR is unset or empty."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def styled(text: str, style: str, file: TextIO) -> str:
    """Return a text with the escape codes of a style if the file takes colors."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and wants_color(file) else text


def print_result(as_json: bool, values: Any, text: str) -> None:
    """Print the result of a command: its values as one line of JSON, or a text."""
    print(json.dumps(_plain(values), allow_nan=False, default=os.fspath) if as_json else text)


def _plain(values: Any) -> Any:
    """Return NamedTuples as dictionaries, at every depth; `json` would write them as lists."""
    if hasattr(values, "_asdict"):
        values = values._asdict()
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return [_plain(value) for value in values] if isinstance(values, list | tuple) else values


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines of aligned columns; the columns whose numbers are in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(text: str, column: int) -> str:
        return text.rjust(widths[column]) if column in right else text.ljust(widths[column])

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in rows]

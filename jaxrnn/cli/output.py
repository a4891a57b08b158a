"""How results are printed: as a text with tables and, on a terminal, colors, or as one line of JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jaxrnn.atomic import replacing
from jaxrnn.config import to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"


def wants_color(file: TextIO) -> bool:
    """Return whether a file is a terminal that shows colors and NO_COLOR is unset or empty."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def styled(text: str, style: str, file: TextIO) -> str:
    """Return a text with the escape codes of a style if the file takes colors."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and wants_color(file) else text


def print_result(as_json: bool, values: Any, text: str) -> None:
    """Print the result of a command: its values as one line of JSON, or a text."""
    if as_json:
        print_json(values)
    else:
        print(text)


def print_json(values: Any) -> None:
    """Print values as one line of JSON: named tuples and configurations as objects, paths as strings."""
    print(json.dumps(_plain(values), allow_nan=False, default=_encode))


def _plain(values: Any) -> Any:
    """Return NamedTuples as dictionaries, at every depth; `json` would write them as lists."""
    if hasattr(values, "_asdict"):
        values = values._asdict()
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return [_plain(value) for value in values] if isinstance(values, list | tuple) else values


def _encode(value: Any) -> Any:
    """Return a path as a string, and a configuration as a dictionary."""
    return str(value) if isinstance(value, Path) else json.loads(to_json(value))


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines of aligned columns; the columns whose numbers are in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(text: str, column: int) -> str:
        return text.rjust(widths[column]) if column in right else text.ljust(widths[column])

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in rows]


def listed(items: Sequence[object], most: int = 8) -> str:
    """Return the first items with commas, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure whole or not at all, as .png or .svg."""
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=150)

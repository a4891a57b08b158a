"""How results are printed: as text with tables and, on a terminal, colors, or as JSON; and what is said of a corpus."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jaxrnn.atomic import replacing
from jaxrnn.config import to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus, Slice, Vocabulary

    Slices = dict[str, Slice]  # by name; a text that is not split has a single one, "train"

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


def corpus_values(corpus: "Corpus") -> dict[str, Any]:
    """Return what identifies a corpus, for JSON."""
    symbols = len(corpus.vocabulary)
    return {"source": corpus.source, "sha256": corpus.sha256, "length": len(corpus), "symbols": symbols}


def slice_values(part: "Slice") -> dict[str, Any]:
    """Return the name, begin and end of a slice, for JSON."""
    return {"name": part.name, "begin": part.begin, "end": part.end}


def slice_lines(slices: "Slices", vocabulary: "Vocabulary") -> list[str]:
    """Return a line per slice of a text that is split, and one per slice with symbols that training never sees."""
    if len(slices) == 1:
        return []
    train, *others = slices.values()
    unseen = [unseen_line(train, other, vocabulary) for other in others]
    return [*map(str, slices.values()), *filter(None, unseen)]


def unseen_line(train: "Slice", other: "Slice", vocabulary: "Vocabulary") -> str:
    """Return how many symbols of a slice never occur in the training slice, and which; empty if all occur there."""
    from jaxrnn.text.documents import never_seen

    unseen, count = never_seen(train.tokens, other.tokens, len(vocabulary))
    if not count:
        return ""
    symbols = listed([repr(vocabulary.symbols[token]) for token in unseen])
    return f"{other}: {count:,} of its {other.kind} never occur in {train.name} ({len(unseen)} distinct: {symbols})"


def validation_lines(report: "Report", slices: "Slices", vocabulary: "Vocabulary") -> list[str]:
    """Return the validation losses with the name of their slice, and why training stopped early, if it did."""
    if report.best is None:
        return []
    now = f"{report.validation_loss:.4f} nats each, " if report.validation_loss is not None else ""
    stopped_early = (
        f"stopped early: no better validation loss in {report.best.since} validations; "
        "use --resume with a larger --patience to continue"
    )
    lines = [
        f"{slices['validation']}: {now}best {report.best.loss:.4f} nats each, after step {report.best.step:,}",
        unseen_line(slices["train"], slices["validation"], vocabulary),
        stopped_early if report.finished and report.step < report.config.steps else "",
    ]
    return list(filter(None, lines))

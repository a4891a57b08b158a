"""How results and progress are shown: as text with tables and, on a terminal, colors and bars, or as JSON."""

import contextlib
import io
import json
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import jaxrnn
from jaxrnn.cli.streams import Stream, as_unicode, style
from jaxrnn.config import SampleConfig, TrainConfig, to_json
from jaxrnn.config.atomic import commit
from jaxrnn.errors import listed
from jaxrnn.runs.progress import bar_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"


def wants_color(file: TextIO) -> bool:
    """Return whether a file is a terminal that shows colors and NO_COLOR is unset or empty."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def styled(text: str, code: str) -> str:
    """Return a text with the escape codes of a style if stdout takes colors."""
    return style(text, code) if code and text and isinstance(sys.stdout, Stream) and wants_color(sys.stdout) else text


def print_result(as_json: bool, values: Any, *lines: str | None) -> None:
    """Print the result of a command: its values as one line of JSON, or its lines of text that are not None."""
    if as_json:
        print(json_text(values))
    else:
        print("\n".join(line for line in lines if line is not None))


def json_text(values: Any, indent: int | None = None) -> str:
    """Return values as JSON, by default in one line.

    Named tuples and configurations become objects, paths become strings, and numbers that are not finite become null.
    """
    return json.dumps(_plain(values), allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):  # `json` would write a named tuple as a list
        value = value._asdict()
    if type(value) in (TrainConfig, SampleConfig):
        value = json.loads(to_json(value))
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | Path):
        return as_unicode(str(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines of aligned columns; the columns whose numbers are in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(text: str, column: int) -> str:
        return text.rjust(widths[column]) if column in right else text.ljust(widths[column])

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in rows]


def loss_text(loss: float) -> str:
    """Return a loss for a table: 2.345, or 1e+30 where the training has diverged."""
    return f"{loss:.3f}" if loss < 1e4 else f"{loss:.4g}"


def quoted(path: Path) -> str:
    """Return a path as a word of a shell command, which is not taken for a flag or a home directory."""
    name = str(path)
    return shlex.quote(f"./{name}" if name.startswith(("-", "~")) else name)


def in_words(value: Any) -> str:
    """Return a value as on the command line; an empty string and control characters as in Python, None as a dash."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, str) and not (value and value.isprintable()):
        return repr(value)
    return "-" if value is None else str(value)


def save_figure(figure: "Figure", path: Path) -> str:
    """Write a figure whole or not at all, as .png or .svg; return a line that says so."""
    replaced = " (replaced)" * path.exists()
    contents = io.BytesIO()  # not a file: a signal may end the process while matplotlib imports its backend
    figure.savefig(contents, format=path.suffix[1:].lower(), dpi=150)
    commit(path, contents.getvalue())
    return f"plot: {path}{replaced}"


def corpus_values(corpus: "jaxrnn.Corpus") -> dict[str, Any]:
    """Return what identifies a corpus, for JSON."""
    symbols = len(corpus.vocabulary)
    return {"source": corpus.source, "sha256": corpus.sha256, "length": len(corpus), "symbols": symbols}


def fields_of(value: object, *names: str) -> dict[str, Any]:
    """Return some attributes of an object by name, for JSON."""
    return {name: getattr(value, name) for name in names}


def loss_values(report: "jaxrnn.Report") -> dict[str, Any]:
    """Return the losses of a report with their units, for JSON."""
    from jaxrnn.runs.metrics import metrics_of

    best = report.best and {"step": report.best.step, "validation_bits_per_character": report.best.bits_per_character}
    losses = {name: value for name, value in metrics_of(report).items() if name not in ("step", "seconds")}
    return {**losses, "best": best}


def slice_lines(slices: "dict[str, jaxrnn.Slice]", vocabulary: "jaxrnn.Vocabulary") -> list[str]:
    """Return a line per slice of a text that is split, and one per slice with symbols that training never sees."""
    if len(slices) == 1:
        return []
    train, *others = slices.values()
    unseen = [unseen_symbols(train, other, vocabulary)[1] for other in others]
    return [*map(str, slices.values()), *filter(None, unseen)]


def unseen_symbols(
    train: "jaxrnn.Slice", other: "jaxrnn.Slice", vocabulary: "jaxrnn.Vocabulary"
) -> tuple[int, str | None]:
    """Return how many symbols of a slice never occur in the training slice, and a line with them, or None for 0."""
    from jaxrnn.text.characters import visible
    from jaxrnn.text.documents import never_seen

    unseen, count = never_seen(train.tokens, other.tokens, len(vocabulary))
    if not count:
        return 0, None
    symbols = listed([repr(visible(vocabulary.symbols[token])) for token in unseen])
    distinct = f"({len(unseen)} distinct: {symbols})"
    return count, f"{other}: {other.kind} that never occur in {train.name}: {count:,} {distinct}"


@contextlib.contextmanager
def reading() -> "Iterator[jaxrnn.text.stream.Progress]":
    """Yield a callback that shows, on a terminal, a bar for each activity that takes longer than a second."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    options: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False, "dynamic_ncols": True, "delay": 1}
    with contextlib.ExitStack() as stack:

        def show(activity: str, new: int, total: int) -> None:
            if activity not in bars:
                stack.close()  # the bar of the activity before
                bar = tqdm(desc=activity, total=total, file=bar_file(), disable=not sys.stderr.isatty(), **options)
                bars[activity] = stack.enter_context(bar)
            bars[activity].update(new)

        yield show

"""How training goes, while it does: a bar on a terminal, or a line at intervals in a log; without JAX."""

import contextlib
import datetime
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, TextIO

_SECONDS_PER_DRAWING, _SECONDS_PER_LINE = 0.1, 10.0
COMPILING = "compiling ..."


class TrainingProgress:
    """A context manager that shows on stderr how training goes, from "compiling ..." to the last step.

    A terminal shows a bar that fits into a line and makes way for other output. A log gets a line at the first step,
    every ten seconds, and at the end.

    Attributes:
        total: training steps in all; 0: not known yet.
    """

    def __init__(
        self, total: int, position: str = "step {:,} of {:,}", *, has_bar: bool = True, has_lines: bool = True
    ) -> None:
        """Show nothing yet; `position` says how many of the `total` steps are done."""
        self.total, self._position, self._has_bar, self._has_lines = total, position, has_bar, has_lines
        self._bar: Any = None
        self._step, self._losses, self._activity = 0, [""], COMPILING
        self._first: tuple[int, float] | None = None  # step and time when training began: after resuming and compiling
        self._validated, self._noted, self._shown = 0, -math.inf, -math.inf

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._has_bar and sys.stderr.isatty():
            from tqdm import tqdm

            columns = _columns(sys.stderr)
            line = _fitted(columns, COMPILING, [])
            self._bar = tqdm(total=self.total, file=bar_file(), ncols=columns, nrows=2, bar_format=line)
        return self

    def __exit__(self, *_: object) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._draw()
            self._bar.close()

    def note(self, activity: str, new: int, total: int) -> None:
        """Take what `fit` passes to its `progress`: steps that are trained, or characters that are validated."""
        if activity == "training":
            self.total = total
            self._begin_or_go_on(self._step + new)
        else:
            self._validated = new if self._validated >= total else self._validated + new
            self._activity = f"{activity} ... {self._validated / total:.0%}"
        if time.monotonic() >= self._noted + _SECONDS_PER_DRAWING:
            self._noted = time.monotonic()
            self._draw()

    def show(self, step: int, losses: Sequence[str], *, finished: bool, before: int = 0) -> None:
        """Show the step of a report and its losses in words, the most important first.

        The speed leaves out the steps that were done before, by a sweep that is resumed.
        """
        first, began = self._begin_or_go_on(step)
        self._first = max(first, before), began
        self._losses = list(losses)
        pause = _SECONDS_PER_DRAWING if self._bar is not None else _SECONDS_PER_LINE
        if not finished and time.monotonic() < self._shown + pause:
            return
        self._shown = time.monotonic()
        self._draw()
        if self._has_lines and self._bar is None:
            facts = ", ".join([*losses, *self._speed[-1:]])
            print(f"{self._position.format(step, self.total)}: {facts}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Clear the line of the bar for other output."""
        if self._bar is not None:
            self._bar.clear()
        try:
            yield
        finally:
            self._draw()

    def _begin_or_go_on(self, step: int) -> tuple[int, float]:
        self._step, self._activity = step, ""
        self._first = self._first or (step, time.monotonic())
        return self._first

    @property
    def _speed(self) -> list[str]:
        """The remaining time and the speed in words, as soon as they are known."""
        first, began = self._first or (0, 0.0)
        steps, seconds = self._step - first, time.monotonic() - began
        if not steps or not seconds:
            return []
        rate = steps / seconds
        left = [f"{time_in_words((self.total - self._step) / rate)} left"] if self._step < self.total else []
        return [*left, f"{rate:,.{0 if rate >= 10 else 1}f} steps/s"]

    def _draw(self) -> None:
        """Draw the bar."""
        if self._bar is None:
            return
        columns, position, parts = _columns(sys.stderr), COMPILING, list[str]()
        if self._first:
            train, *others = self._losses
            position = self._position.format(self._step, self.total)
            parts = [self._activity, train, *others[:1], *self._speed, *others[1:]]
        self._bar.bar_format = _fitted(columns, position, parts, self._step / max(1, self.total))
        self._bar.ncols, self._bar.n, self._bar.total = columns, self._step, self.total
        self._bar.refresh()


def bar_file() -> TextIO:
    """Return stderr without its filter: a bar must move the cursor, which the command line lets no other text do."""
    return getattr(sys.stderr, "unfiltered", sys.stderr)


def time_in_words(seconds: float) -> str:
    """Return a time such as 12 s or 0:03:25."""
    return f"{seconds:.0f} s" if seconds < 99.5 else str(datetime.timedelta(seconds=round(seconds)))


def _columns(file: TextIO) -> int:
    """Return the width of a terminal: COLUMNS if that is a number above 0, else that of the system, else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(file.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _fitted(columns: int, position: str, parts: Sequence[str], fraction: float = 0.0) -> str:
    """Return a position, a bar and as many of the parts as fit into a line, as a format of tqdm's."""
    room = max(1, columns - 1)
    if len(position) > room:
        position = f"{fraction:.0%}"[:room] if parts else position[:room]
    text = ""
    for part in filter(None, parts):
        longer = f"{text}, {part}" if text else part
        if len(position) + 2 + len(longer) > room:
            break
        text = longer
    width = room - len(position) - len(text) - 2
    if parts and width >= 4:
        return f"{position} {{bar:{width}}} {text}"
    return f"{position}: {text}" if text else position

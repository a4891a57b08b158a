"""Progress of long work, as a bar or lines on stderr, and signals that are noted, so that work ends at a safe point."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text.stream import Progress

_SECONDS_PER_LINE = 10


@contextlib.contextmanager
def reading() -> Iterator["Progress"]:
    """Yield a callback that shows, on a terminal, a bar for each activity that takes longer than a second."""
    bars: dict[str, Any] = {}

    def close() -> None:
        while bars:
            bars.popitem()[1].close()

    def show(activity: str, new: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        from tqdm import tqdm

        if activity not in bars:
            close()
            options: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False, "dynamic_ncols": True}
            bars[activity] = tqdm(desc=activity, total=total, delay=1, **options)
        bars[activity].update(new)

    try:
        yield show
    finally:
        close()


class TrainingProgress(contextlib.AbstractContextManager["TrainingProgress"]):
    """A bar on a terminal, or a line at the start, every ten seconds, and at the end."""

    def __init__(self, total: int, quiet: bool) -> None:
        """Show the progress towards a total number of characters, or nothing if `quiet`."""
        self._quiet = quiet
        self._start: tuple[int, float] | None = None
        self._next_line = 0.0
        self._bar: Any = None
        if sys.stderr.isatty() and not quiet:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="char", unit_scale=True, dynamic_ncols=True)

    def show(self, characters: int, position: str, losses: str, finished: bool) -> None:
        """Show, if it is time to, how many characters are done, the position and the losses in words.

        A bar shows the position by itself. The line for the end, when training is `finished`, is always due.
        """
        now = time.monotonic()
        # A resumed run does not start from 0.
        first, start = self._start = self._start or (characters, now)
        if self._bar is not None:
            self._bar.initial = first
            self._bar.set_postfix_str(losses, refresh=False)
            self._bar.update(characters - self._bar.n)
        elif not self._quiet and (finished or now >= self._next_line):
            self._next_line = now + _SECONDS_PER_LINE
            rate = f", {(characters - first) / (now - start):,.0f} characters/s" if characters > first else ""
            print(f"{position}: {losses}{rate}", file=sys.stderr, flush=True)

    def write(self, text: str) -> None:
        """Print a text to stdout, above the bar."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text, file=sys.stdout)

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def loss_words(report: "Report") -> str:
    """Return the losses of a report in words."""
    losses = f"loss {report.smooth_loss:.2f}, {report.bits_per_character:.3f} bits/char"
    if report.best is None:
        return losses
    validation = f"{report.validation_loss:.4f}, " if report.validation_loss is not None else ""
    return f"{losses}, validation {validation}best {report.best.loss:.4f} nats/char"


class NotedSignals(contextlib.AbstractContextManager["NotedSignals"]):
    """Notes the first of some signals in `received`."""

    def __init__(self, *numbers: signal.Signals, message: str = "", second_ends: bool = True) -> None:
        """Take the signals, a message for stderr, and whether a second signal ends the process or is ignored."""
        self.received = 0
        self._numbers, self._message, self._second_ends = numbers, message, second_ends

    def __enter__(self) -> "NotedSignals":
        """Start to note them."""
        self._handlers = {number: signal.signal(number, self._note) for number in self._numbers}
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number
        if self._second_ends:
            signal.signal(number, signal.SIG_DFL)
        if self._message:  # not by print: the signal may interrupt another print
            with contextlib.suppress(OSError, ValueError):
                os.write(sys.stderr.fileno(), self._message.encode())

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def stop_signals() -> NotedSignals:
    """Return what notes SIGINT and SIGTERM, so that training can save and stop."""
    return NotedSignals(
        signal.SIGINT, signal.SIGTERM, message="\njaxrnn: saving, then stopping; again to stop at once\n"
    )

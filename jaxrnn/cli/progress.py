"""Progress of long work, as a bar or lines on stderr, and signals that are noted, so that work ends at a safe point."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jaxrnn

_SECONDS_PER_LINE = 10


@contextlib.contextmanager
def reading() -> "Iterator[jaxrnn.text.stream.Progress]":
    """Yield a callback that shows, on a terminal, a bar for each activity that takes longer than a second."""
    bars: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:

        def show(activity: str, new: int, total: int) -> None:
            if not sys.stderr.isatty():
                return
            from tqdm import tqdm

            if activity not in bars:
                stack.close()
                options: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False, "dynamic_ncols": True}
                bars[activity] = stack.enter_context(tqdm(desc=activity, total=total, delay=1, **options))
            bars[activity].update(new)

        yield show


class TrainingProgress(contextlib.AbstractContextManager["TrainingProgress"]):
    """A bar on a terminal, or a line at the start, every ten seconds, and at the end; nothing if `quiet`."""

    def __init__(self, total: int, quiet: bool) -> None:
        """Begin at 0 of a total number of characters."""
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


@contextlib.contextmanager
def noted_signals(*numbers: signal.Signals, message: str = "") -> Iterator[list[int]]:
    """Yield a list that gets the signals received; with a message for stderr, a second one ends the process."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if message:
            signal.signal(number, signal.SIG_DFL)
            with contextlib.suppress(OSError, ValueError):  # not by print: the signal may interrupt another print
                os.write(sys.stderr.fileno(), message.encode())

    handlers = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stop_signals() -> contextlib.AbstractContextManager[list[int]]:
    """Note SIGINT and SIGTERM, so that training can save and stop."""
    message = "\njaxrnn: saving, then stopping; again to stop at once\n"
    return noted_signals(signal.SIGINT, signal.SIGTERM, message=message)

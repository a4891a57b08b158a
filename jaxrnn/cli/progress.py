"""Progress of long work, as a bar or lines on stderr, and signals that are noted, so that work ends at a safe point."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jaxrnn

_SECONDS_PER_LINE = 10


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
                bar = tqdm(desc=activity, total=total, disable=not sys.stderr.isatty(), **options)
                bars[activity] = stack.enter_context(bar)
            bars[activity].update(new)

        yield show


@contextlib.contextmanager
def training(total: int, quiet: bool) -> Iterator[Callable[..., None]]:
    """Yield a callback that shows, unless `quiet`, how many characters of a total are done.

    It takes their number, the position and the losses in words, whether training is finished, and a sample for stdout.
    A terminal shows a bar; a log gets a line at the start, every ten seconds, and at the end.
    """
    from tqdm import tqdm

    has_bar = sys.stderr.isatty() and not quiet
    beginning: tuple[int, float] | None = None  # a resumed run does not begin at 0
    next_line = 0.0
    with tqdm(total=total, unit="char", unit_scale=True, dynamic_ncols=True, disable=not has_bar) as bar:

        def show(characters: int, position: str, losses: str, finished: bool, sample: str = "") -> None:
            nonlocal beginning, next_line
            now = time.monotonic()
            first, start = beginning = beginning or (characters, now)
            if sample:
                with bar.external_write_mode():  # hides the bar
                    print(sample, flush=True)
            if has_bar:
                bar.initial = first
                bar.set_postfix_str(losses, refresh=False)
                bar.update(characters - bar.n)
            elif not quiet and (finished or now >= next_line):
                next_line = now + _SECONDS_PER_LINE
                rate = f", {(characters - first) / (now - start):,.0f} characters/s" if characters > first else ""
                print(f"{position}: {losses}{rate}", file=sys.stderr, flush=True)

        yield show


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

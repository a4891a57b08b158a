"""Signals that are noted, so that what runs can end where it likes; a second one ends it at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None


class NotedSignals(contextlib.AbstractContextManager["NotedSignals"]):
    """Notes the first of some signals in `received`."""

    def __init__(self, *numbers: signal.Signals, say: str = "", then: Handler = signal.SIG_DFL) -> None:
        """Take the signals, what to say on stderr at the first one, and the handler of the next; None: nothing more."""
        self.received = 0
        self._numbers, self._say, self._then = numbers, say, then

    def __enter__(self) -> "NotedSignals":
        """Begin to note them."""
        self._before = {number: signal.signal(number, self._note) for number in self._numbers}
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number
        if self._then is not None:
            signal.signal(number, self._then)
        if self._say:  # not by print: what the signal interrupts may be the middle of another print
            with contextlib.suppress(OSError, ValueError):
                os.write(sys.stderr.fileno(), self._say.encode())

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def stop_signals() -> NotedSignals:
    """Return what notes SIGINT and SIGTERM, so that training can save and stop; a second one stops it at once."""
    return NotedSignals(signal.SIGINT, signal.SIGTERM, say="\njaxrnn: saving, then stopping; again to stop at once\n")

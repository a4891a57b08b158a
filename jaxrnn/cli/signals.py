"""Signals that are noted rather than obeyed at once, so that work can end where it is safe."""

import contextlib
import os
import signal
import sys
from types import FrameType


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

"""The iterator of reports that `fit`, `fit_many` and `watch` return; without JAX."""

import atexit
import contextlib
import signal
import threading
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from jaxrnn.errors import Interrupted
from jaxrnn.text.stream import Progress

_PATIENCE = 10.0  # seconds that the end of Python waits for a thread that trains

ReportType = TypeVar("ReportType", bound=Any)  # of reports, which have a step


class Reports(Generator[ReportType]):
    """A generator of reports whose repr says how to use it, and which an interrupt ends just as leaving the loop does.

    Ctrl-C, or a notebook's interrupt, takes effect after the current chunk: the run is saved, its last report is
    yielded, and asking for another raises Interrupted. A second interrupt ends the training at once.

    Attributes:
        name: the function that returned it.
        interrupts: gets the signals received; the generator must stop once there are any.
        run_dir: where the run is kept; None: nowhere.
        listeners: the functions that are called with the progress between two reports; more may be added.
    """

    def __init__(
        self,
        name: str,
        reports: Generator[ReportType],
        interrupts: list[int],
        run_dir: str | Path | None,
        listeners: list[Progress],
    ) -> None:
        """Take a generator; it is closed when Python ends, while JAX can still be used."""
        self.name, self.interrupts, self.run_dir, self.listeners = name, interrupts, run_dir, listeners
        self._reports, self._step, self._thread = reports, 0, threading.current_thread()

        def close() -> None:
            if (generator := reference()) is not None:
                generator.interrupts.append(signal.SIGINT)  # a thread that trains saves, and ends
                if getattr(generator._reports, "gi_running", False):
                    generator._thread.join(_PATIENCE)
                generator.close()

        reference = weakref.ref(self, lambda _: atexit.unregister(close))
        atexit.register(close)

    def __repr__(self) -> str:
        """Say how to use it."""
        watched = ", or watch(fit(...))" if self.name == "fit" else ""
        return f"{self.name}(...): iterate me: for report in {self.name}(...): ...{watched}"

    def send(self, value: None) -> ReportType:
        """Return the next report; raise Interrupted if an interrupt has ended the run."""
        self._thread = threading.current_thread()
        if self.interrupts:
            self.close()
            rest = f"saved in {self.run_dir}: resume=True continues it" if self.run_dir else "not saved: no run_dir"
            raise Interrupted(f"training ended after step {self._step:,}, {rest}")
        with _interrupts_noted(self.interrupts):
            report = self._reports.send(value)
        self._step = report.step
        return report

    def throw(self, *error: Any) -> ReportType:
        """Raise an error in the generator."""
        return self._reports.throw(*error)

    def close(self) -> None:
        """End the run, and save it if it is kept."""
        self._reports.close()
        nothing: tuple[ReportType, ...] = ()
        self._reports = (report for report in nothing)  # else one that never began would keep its directory open


@contextlib.contextmanager
def _interrupts_noted(interrupts: list[int]) -> Iterator[None]:
    """Note the first SIGINT where it would otherwise raise KeyboardInterrupt."""
    default = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not default:
        yield  # no signals come here, or the program has a handler of its own, which may tell `should_stop`
        return

    def note(number: int, _: FrameType | None) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, default)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, default)

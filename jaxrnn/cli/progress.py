"""What is shown while something takes its time: a bar on a terminal, lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jaxrnn.cli.slices import slice_lines
from jaxrnn.config import TrainConfig

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus, Progress


@contextlib.contextmanager
def reading() -> Iterator["Progress"]:
    """Give what shows a bar on a terminal, for each thing that is done and takes longer than a second."""
    from jaxrnn.text import silent

    if not sys.stderr.isatty():
        yield silent
        return
    from tqdm import tqdm

    shown, bar = "", tqdm(disable=True)

    def show(what: str, more: int, total: int) -> None:
        nonlocal shown, bar
        if what != shown:
            bar.close()
            options: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False, "dynamic_ncols": True}
            shown, bar = what, tqdm(desc=what, total=total, delay=1, **options)
        bar.update(more)

    try:
        yield show
    finally:
        bar.close()


class TrainingProgress(Protocol):
    """What shows how training goes."""

    def write(self, text: str) -> None:
        """Print a text to stdout."""

    def show(self, report: "Report") -> None:
        """Show a report, if it is time to."""

    def __enter__(self) -> "TrainingProgress":
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""


def training(config: TrainConfig, corpus: "Corpus", run_dir: Path, quiet: bool) -> TrainingProgress:
    """Return what shows on stderr how training goes, after it has said there what is trained on and where it is kept.

    It is a bar on a terminal, else a line now and then; nothing where it is to be quiet.
    """
    if quiet:
        return _Lines(None)
    print("\n".join([str(corpus), *slice_lines(config, corpus), f"run: {run_dir}"]), file=sys.stderr)
    return _Bar(config) if sys.stderr.isatty() else _Lines(config)


def _losses(report: "Report") -> str:
    losses = f"loss {report.smooth_loss:.2f}, {report.bits_per_character:.3f} bits/char"
    if report.best is None:
        return losses
    now = f"{report.validation_loss:.4f}, " if report.validation_loss is not None else ""
    return f"{losses}, validation {now}best {report.best.loss:.4f} nats/char"


class _Bar(contextlib.AbstractContextManager["_Bar"]):
    """A tqdm bar on a terminal; what is printed goes above it."""

    def __init__(self, config: TrainConfig) -> None:
        from tqdm import tqdm

        characters = config.sequence_length * config.batch_size
        self._characters = characters
        self._bar = tqdm(total=config.steps * characters, unit="char", unit_scale=True, dynamic_ncols=True)

    def write(self, text: str) -> None:
        self._bar.write(text, file=sys.stdout)

    def show(self, report: "Report") -> None:
        self._bar.set_postfix_str(_losses(report), refresh=False)
        if self._bar.n == 0:
            self._bar.initial = report.step * self._characters  # a resumed run: its rate counts from here
        self._bar.update(report.step * self._characters - self._bar.n)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines(contextlib.AbstractContextManager["_Lines"]):
    """Plain lines for a stderr that is no terminal: one at the beginning, every ten seconds, and at the end."""

    def __init__(self, config: TrainConfig | None) -> None:
        self._config, self._next = config, 0.0
        self._first: Report | None = None

    def write(self, text: str) -> None:
        print(text, flush=True)

    def show(self, report: "Report") -> None:
        config = self._config
        first = self._first = self._first or report
        if config is None or (time.monotonic() < self._next and not report.finished):
            return
        self._next = time.monotonic() + 10
        characters = (report.step - first.step) * config.sequence_length * config.batch_size
        print(
            f"step {report.step:,} of {config.steps:,}: {_losses(report)}"
            + (f", {characters / (report.seconds - first.seconds):,.0f} characters/s" if characters else ""),
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *_: object) -> None:
        pass

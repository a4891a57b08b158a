"""Training that is watched: a picture that grows in a notebook, a bar on a terminal, nothing in a log."""

import base64
import contextlib
import importlib.util
import io
import math
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jaxrnn.runs import Report

_PAUSE = 0.5  # seconds from one drawing to the next, at least
_SHARE = 0.1  # of the time may go into drawing
_DPI = 80
_COLUMNS = ("step", "train_loss", "bits_per_character", "validation_loss")  # as in plots.loss_curves


def watch(reports: "Generator[Report]", *, plot: bool = True) -> "Generator[Report]":
    """Hand on the reports of `fit`, and show meanwhile how training goes.

        for report in jaxrnn.watch(jaxrnn.fit(config, corpus)):
            ...

    In a notebook one picture is drawn again and again: the loss so far, each batch faint, smoothed firm, validation
    dashed, over all the steps that there will be. At the end nothing stands in it that another run would change.
    Without matplotlib, or with `plot=False`, it is a bar. On a terminal it is a bar on stderr, which makes way for what
    the loop prints. Where stderr is neither, nothing is shown.

    Args:
        reports: from `fit`. They are closed when the loop is left, so that a run directory is saved.
        plot: whether a notebook shows the picture.
    """
    view: _View = _Notebook(plot and _has_matplotlib()) if _in_notebook() else _Terminal()
    with contextlib.closing(reports), view:
        for report in reports:
            view.show(report)
            yield report
            view.back()


def _in_notebook() -> bool:
    """Return whether a kernel runs this, which has a display for pictures; a prompt of IPython has none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def _has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


class _View(Protocol):
    def show(self, report: "Report") -> None: ...
    def back(self) -> None: ...  # from the loop, to training
    def __enter__(self) -> "_View": ...
    def __exit__(self, *_: object) -> None: ...


class _Terminal(contextlib.AbstractContextManager["_Terminal"]):
    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, report: "Report") -> None:
        from tqdm import tqdm

        if self._bar is None:  # disable=None: where stderr is no terminal
            options: dict[str, Any] = {"unit": "step", "dynamic_ncols": True, "disable": None}
            self._bar = tqdm(total=report.config.steps, initial=report.step, **options)
        self._bar.set_postfix_str(_losses(report), refresh=False)
        self._bar.update(report.step - self._bar.n)
        self._bar.clear()

    def back(self) -> None:
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class _Notebook(contextlib.AbstractContextManager["_Notebook"]):
    def __init__(self, plot: bool) -> None:
        self._plot = plot
        self._columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
        self._latest: Report | None = None
        self._first_step, self._first_seconds = 0, 0.0
        self._display: Any = None
        self._next = 0.0

    def show(self, report: "Report") -> None:
        if self._latest is None:
            self._first_step, self._first_seconds = report.step, report.seconds
        self._latest = report
        loss = None if report.loss is None else report.loss / report.config.sequence_length
        values = (report.step, loss, report.bits_per_character, report.validation_loss)
        for name, value in zip(_COLUMNS, values, strict=True):
            self._columns[name].append(math.nan if value is None else value)
        now = time.monotonic()
        if now >= self._next:
            self._draw(report, self._time_left(report))
            self._next = now + max(_PAUSE, (time.monotonic() - now) / _SHARE)

    def back(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._latest is not None:
            self._draw(self._latest, "")

    def _time_left(self, report: "Report") -> str:
        done = report.step - self._first_step
        if not done or report.finished:
            return ""
        seconds = (report.seconds - self._first_seconds) / done * (report.config.steps - report.step)
        return f", {seconds:,.0f} s left"

    def _draw(self, report: "Report", time_left: str) -> None:
        from IPython.display import display

        line = f"step {report.step:,} of {report.config.steps:,}: {_losses(report)}"
        data, metadata = self._picture(report, line + time_left) if self._plot else (_bar(report, line + time_left), {})
        data["text/plain"] = line
        if self._display is None:
            self._display = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._display.update(data, metadata=metadata, raw=True)

    def _picture(self, report: "Report", line: str) -> tuple[dict[str, str], dict[str, Any]]:
        from jaxrnn.plots import loss_curves

        figure = loss_curves(self._columns, labels=[Path(report.config.corpus).stem])
        axes = figure.axes[0]
        axes.set_xlim(self._first_step, max(report.config.steps, self._first_step + 1))
        axes.set_title(line, loc="left", fontsize=10)
        width, height = figure.get_size_inches()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=2 * _DPI)  # twice as fine as it is shown, for screens that can
        size = {"width": round(width * _DPI), "height": round(height * _DPI)}
        return {"image/png": base64.b64encode(drawn.getvalue()).decode()}, {"image/png": size}


def _bar(report: "Report", line: str) -> dict[str, str]:
    steps, style = report.config.steps, "width: 40ex; vertical-align: middle"
    return {"text/html": f'<progress value="{report.step}" max="{steps}" style="{style}"></progress> {line}'}


def _losses(report: "Report") -> str:
    best = f", best validation {report.best.loss / math.log(2):.3f}" if report.best else ""
    return f"{report.bits_per_character:.3f} bits per character{best}"

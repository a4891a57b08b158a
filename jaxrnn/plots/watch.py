"""Watch training: a growing picture in a notebook, a bar on a terminal, nothing in a log."""

import base64
import contextlib
import importlib.util
import io
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from jaxrnn.config import corpus_name
from jaxrnn.config.fields import in_short
from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.curves import loss_curves
from jaxrnn.runs.iteration import Reports
from jaxrnn.runs.metrics import METRICS, metrics_of
from jaxrnn.runs.progress import COMPILING, TrainingProgress, time_in_words
from jaxrnn.runs.report import Report, losses_in_words
from jaxrnn.text.stream import Progress

_PAUSE = 0.5  # seconds between two drawings, at least
_SHARE = 0.1  # of the time may be spent on drawing, at most
_DPI = 80

_Shown = tuple[dict[str, str], dict[str, Any]]  # by MIME type: data and metadata


def watch(reports: Generator[Report], *, plot: bool = True) -> Generator[Report]:
    """Pass on the reports of `fit`, and show how training goes.

        for report in jaxrnn.watch(jaxrnn.fit(config, corpus)):
            ...

    In a notebook one picture is redrawn as training goes on: the loss so far (between two reports faint, its running
    mean solid, validation dashed) on an axis of all steps. The final picture shows no times: a rerun draws it the same.
    Without matplotlib, or with `plot=False`, a notebook shows a bar. A terminal shows a bar on stderr, which makes way
    for what the loop prints. If stderr is neither, nothing is shown.

    The reports are closed when the loop is left or interrupted, so that a run directory is saved.
    """
    if not isinstance(reports, Iterator) or getattr(reports, "name", "fit") == "fit_many":
        given = "fit_many(...)" if isinstance(reports, Reports) else in_short(reports)
        raise JaxrnnError(f"watch takes the reports of fit, as in watch(fit(config)), got {given}")
    if not isinstance(reports, Reports):  # a generator that passes them on
        reports = Reports("fit", reports, [], None, [])
    watched = _watch_in_notebook(reports, plot) if _in_notebook() else _watch_on_terminal(reports)
    return Reports("watch", watched, reports.interrupts, reports.run_dir, reports.listeners)


def _in_notebook() -> bool:
    """Return whether this runs in a kernel, which can show pictures; IPython's prompt can't."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def _watch_on_terminal(reports: Reports[Report]) -> Generator[Report]:
    with contextlib.closing(reports), TrainingProgress(0, has_lines=False) as bar:
        reports.listeners.append(bar.note)
        for report in reports:
            bar.total = report.config.steps
            bar.show(report.step, losses_in_words(report), finished=report.finished)
            with bar.hidden():
                yield report


def _watch_in_notebook(reports: Reports[Report], plot: bool) -> Generator[Report]:
    from IPython.display import display

    plot = plot and importlib.util.find_spec("matplotlib") is not None
    rows: list[dict[str, Any]] = []
    handle = display({"text/plain": COMPILING}, raw=True, display_id=True)

    def show(report: Report, time_left: str) -> None:
        line = f"step {report.step:,} of {report.config.steps:,}: {', '.join(losses_in_words(report))}"
        data, metadata = _picture(report, rows, line + time_left) if plot else _bar(report, line + time_left)
        handle.update({**data, "text/plain": line}, metadata=metadata, raw=True)

    reports.listeners.append(_validation_line(display))
    next_time, report = 0.0, None
    with contextlib.closing(reports):
        try:
            for report in reports:
                rows.append(metrics_of(report))
                now = time.monotonic()
                if now >= next_time:
                    per_step = (report.seconds - rows[0]["seconds"]) / max(1, report.step - rows[0]["step"])
                    seconds = per_step * (report.config.steps - report.step)
                    show(report, f", {time_in_words(seconds)} left" if seconds else "")
                    next_time = now + max(_PAUSE, (time.monotonic() - now) / _SHARE)
                yield report
        finally:
            if report is not None:
                show(report, "")


def _validation_line(display: Callable[..., Any]) -> Progress:
    """Return a `progress` for `fit` that shows a line below the picture during a validation that takes long."""
    handle: Any = None
    done, drawn = 0, 0.0

    def note(activity: str, new: int, total: int) -> None:
        nonlocal handle, done, drawn
        now, was_done = time.monotonic(), done
        done = 0 if activity == "training" else (was_done + new) % total
        if not was_done:
            drawn = now  # a validation begins; the line waits
        if (not done and handle) or (done and now >= drawn + 2 * _PAUSE):
            drawn = now
            handle = handle or display({"text/plain": ""}, raw=True, display_id=True)
            handle.update({"text/plain": f"{activity} ... {done / total:.0%}" if done else ""}, raw=True)

    return note


def _picture(report: Report, rows: list[dict[str, Any]], line: str) -> _Shown:
    columns = {name: np.array([row[name] for row in rows], float) for name in METRICS}  # None becomes NaN
    figure = loss_curves(columns, labels=[corpus_name(report.config.corpus)])
    axes = figure.axes[0]
    axes.set_ylabel(report.config.loss_unit)
    axes.set_xlim(columns["step"][0], max(report.config.steps, columns["step"][0] + 1))
    axes.set_title(line, loc="left", fontsize=10)
    width, height = figure.get_size_inches()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=2 * _DPI)  # twice the size at which it is shown, for sharp screens
    size = {"width": round(width * _DPI), "height": round(height * _DPI)}
    return {"image/png": base64.b64encode(png.getvalue()).decode()}, {"image/png": size}


def _bar(report: Report, line: str) -> _Shown:
    steps, style = report.config.steps, "width: 40ex; vertical-align: middle"
    return {"text/html": f'<progress value="{report.step}" max="{steps}" style="{style}"></progress> {line}'}, {}

"""What every suite returns: its table, its chart, and the machine on which it was measured."""

import dataclasses
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.timing import Timing
from jaxrnn.plots.figure import COLORS, new_figure, tidy
from jaxrnn.runs.checkpoint import computed_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTERS = {"hidden_size": "H", "sequence_length": "T", "batch_size": "B", "vocab_size": "V"}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a suite measured."""

    seconds: dict[str, Timing]  # by contender, per unit of work: a training step, a character, a process
    lines: list[str]  # what the table means; long ones are wrapped
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)  # by header, then by contender
    characters: int | None = None  # per unit of work; None shows no characters per second
    details: dict[str, Any] = dataclasses.field(default_factory=dict)  # further values, for JSON
    chart: Literal["bars", "curves", "ratios"] = "bars"

    @property
    def unit(self) -> tuple[str, float]:
        """The unit of time that suits these measurements: its name, and how many seconds it has."""
        return ("ms", 1e-3) if min(timing.median for timing in self.seconds.values()) > 1e-3 else ("us", 1e-6)

    def table(self) -> list[list[str]]:
        """Return the rows of the table, the header first."""
        name, unit = self.unit
        compiled = any(timing.compile_seconds for timing in self.seconds.values())
        rows = [["", name, "quartiles"] + ["char/s"] * bool(self.characters) + [*self.columns] + ["compile"] * compiled]
        for contender, timing in self.seconds.items():
            row = [contender, number(timing.median / unit)]
            row.append(f"{number(timing.lower / unit)}-{number(timing.upper / unit)}")
            if self.characters:
                row.append(number(self.characters / timing.median))
            row += [number(cells[contender].median) if contender in cells else "-" for cells in self.columns.values()]
            if compiled:
                row.append(f"{timing.compile_seconds:.2f} s" if timing.compile_seconds else "-")
            rows.append(row)
        return rows


def say(message: str) -> None:
    """Tell a person who waits at a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"... {message}", file=sys.stderr, flush=True)


def workload_line(config: BenchConfig) -> str:
    """Return the workload in a line."""
    sizes = ", ".join(f"{letter} {getattr(config, name)}" for name, letter in LETTERS.items())
    products = "" if config.products == "full" else f", products of {config.products}"
    devices = f", devices {config.devices}" if config.devices > 1 else ""
    return f"{config.cell}, {sizes}, {config.dtype}{products}, {config.optimizer}{devices}"


def number(value: float) -> str:
    """Return a number with three significant digits, and with all those before the point.

    Example:
        >>> number(0.6213), number(75.84), number(1234567.8)
        ('0.621', '75.8', '1,234,568')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def describe_machine() -> dict[str, Any]:
    """Return what a reader of a measurement has to know about the machine and its software."""
    packages = ("jaxrnn", "jax", "jaxlib", "numpy", "optax", "torch")
    return {
        **computed_by(len(jax.devices())),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    versions = machine["versions"]
    software = ", ".join(f"{name} {versions[name]}" for name in ("jax", "numpy", "torch") if versions[name])
    return f"{machine.get('processor', 'host')}, {machine['cores']} cores; on {machine['device']}; {software}"


def version(name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def draw(result: Result, title: str) -> "Figure":
    """Return the figure of what a suite measured, in the form that the suite chose (`Result.chart`)."""
    figure = new_figure((8, 4.4))
    axes = figure.subplots()
    (_draw_curves if result.chart == "curves" else _draw_rows)(axes, result)
    tidy(axes)
    figure.suptitle(title, fontsize=9, color="#444444")
    return figure


def _draw_rows(axes: Any, result: Result) -> None:
    """Draw a row per contender: its time, or its ratio in each column, with whiskers from quartile to quartile."""
    is_ratio = result.chart == "ratios"
    name, unit = ("ratio", 1.0) if is_ratio else result.unit
    series = {label: ratios for label, ratios in result.columns.items() if ratios} if is_ratio else {"": result.seconds}
    for color, (label, timings) in zip(COLORS, series.items(), strict=False):
        medians, whiskers = _medians_and_whiskers(timings.values(), unit)
        axes.errorbar(medians, list(timings), xerr=whiskers, color=color, fmt="o", capsize=2, label=label)
        for row, median in enumerate(medians if not is_ratio else ()):
            axes.annotate(number(median), (median, row), xytext=(0, 6), textcoords="offset points", ha="center")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.set_xlabel(f"{name} (median, quartiles)")
    axes.grid(color="#eeeeee")
    if is_ratio:
        axes.axvline(1, color="#333333", linewidth=1, linestyle=":")
        axes.legend(frameon=False)


def _draw_curves(axes: Any, result: Result) -> None:
    """Draw a curve per kind of contender, over the number that ends its name ("devices 4"); both scales logarithmic."""
    quantity, unit = ("characters per second", 1.0) if result.characters else result.unit
    curves: dict[str, dict[int, Timing]] = {}
    for contender, timing in result.seconds.items():
        curve, size = contender.rsplit(" ", 1)
        point = Timing.of(result.characters / seconds for seconds in timing.rounds) if result.characters else timing
        curves.setdefault(curve, {})[int(size)] = point
    for color, (curve, points) in zip(COLORS, curves.items(), strict=False):
        medians, whiskers = _medians_and_whiskers(points.values(), unit)
        axes.errorbar(list(points), medians, yerr=whiskers, color=color, marker="o", capsize=2, label=curve)
    axes.set_yscale("log", subs=[2, 3, 5, 7])
    axes.set(xscale="log", ylabel=f"{quantity} (median, quartiles)")
    sizes = sorted({size for points in curves.values() for size in points})
    if len(sizes) <= 8:
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.grid(axis="y", which="both", color="#eeeeee")
    axes.legend(frameon=False)


def _medians_and_whiskers(timings: Iterable[Timing], unit: float) -> tuple[np.ndarray, list[np.ndarray]]:
    quartiles = [(timing.lower, timing.median, timing.upper) for timing in timings]
    lower, medians, upper = np.array(quartiles).T / unit
    return medians, [medians - lower, upper - medians]

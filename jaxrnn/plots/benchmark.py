"""The chart of a benchmark: times or ratios as rows, or times over a size as curves."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plots.figure import COLORS, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Timings = Mapping[str, Any]  # by the name of a contender; each has a median, a lower and an upper quartile


def rows(
    series: Mapping[str, Timings], label: str, unit: float, title: str, number: Callable[[float], str] | None
) -> "Figure":
    """Return a figure with a row per contender, and whiskers from quartile to quartile.

    `number` writes the medians above their points; None writes none, and marks 1 instead.
    """
    figure, axes = _figure(title)
    for color, (name, timings) in zip(itertools.cycle(COLORS), series.items(), strict=False):
        medians, whiskers = _medians_and_whiskers(timings.values(), unit)
        axes.errorbar(medians, list(timings), xerr=whiskers, color=color, fmt="o", capsize=2, label=name)
        for row, median in enumerate(medians):
            text = number(median) if number else ""
            axes.annotate(text, (median, row), xytext=(0, 6), textcoords="offset points", ha="center")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.set_xlabel(f"{label} (median, quartiles)")
    axes.grid(color="#eeeeee")
    if not number:
        axes.axvline(1, color="#333333", linewidth=1, linestyle=":")
        axes.legend(frameon=False)
    return figure


def curves(timings: Timings, label: str, unit: float, title: str) -> "Figure":
    """Return a figure with a curve per kind of contender, over the number that ends its name ("devices 4")."""
    figure, axes = _figure(title)
    points: dict[str, dict[int, Any]] = {}
    for contender, timing in timings.items():
        curve, size = contender.rsplit(" ", 1)
        points.setdefault(curve, {})[int(size)] = timing
    for color, (curve, by_size) in zip(itertools.cycle(COLORS), points.items(), strict=False):
        medians, whiskers = _medians_and_whiskers(by_size.values(), unit)
        axes.errorbar(list(by_size), medians, yerr=whiskers, color=color, marker="o", capsize=2, label=curve)
    axes.set_yscale("log", subs=[2, 3, 5, 7])
    axes.set(xscale="log", ylabel=f"{label} (median, quartiles)")
    sizes = sorted({size for by_size in points.values() for size in by_size})
    if len(sizes) <= 8:
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.grid(axis="y", which="both", color="#eeeeee")
    axes.legend(frameon=False)
    return figure


def _figure(title: str) -> tuple["Figure", Any]:
    figure = new_figure((8, 4.4))
    axes = figure.subplots()
    tidy(axes)
    figure.suptitle(title, fontsize=9, color="#444444")
    return figure, axes


def _medians_and_whiskers(timings: Iterable[Any], unit: float) -> tuple[np.ndarray, list[np.ndarray]]:
    quartiles = [(timing.lower, timing.median, timing.upper) for timing in timings]
    lower, medians, upper = np.array(quartiles).T / unit
    return medians, [medians - lower, upper - medians]

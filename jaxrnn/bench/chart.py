"""The chart of a suite, for `--plot` and for notebooks; matplotlib is imported when it is drawn."""

import re
from typing import TYPE_CHECKING, Any

from jaxrnn.bench.result import Result, number, workload_line
from jaxrnn.bench.timing import Timing
from jaxrnn.plots.figure import COLORS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(result: Result, title: str) -> "Figure":
    """Return the figure of what a suite measured: medians, with whiskers from quartile to quartile.

    Contenders whose names end with a number ("devices 4") are points of curves over that number; others are bars.
    """
    figure = new_figure((8, 4.4))
    draw_on = _curves if all(map(_size, result.seconds)) else _bars
    draw_on(figure.subplots(), result)
    figure.suptitle(f"{workload_line(result.config)}\n{title}", fontsize=9, color="#444444")
    return figure


def _size(contender: str) -> re.Match[str] | None:
    return re.fullmatch(r"(.+) (\d+)", contender)


def _bars(axes: Any, result: Result) -> None:
    name, unit = result.unit
    places, timings = range(len(result.seconds)), result.seconds.values()
    medians = [timing.median / unit for timing in timings]
    whiskers = [[(t.median - t.lower) / unit for t in timings], [(t.upper - t.median) / unit for t in timings]]
    axes.barh(places, medians, xerr=whiskers, color=COLORS[0], height=0.62, ecolor="#333333", capsize=2)
    for place, median, timing in zip(places, medians, timings, strict=True):
        at = timing.upper / unit, place
        axes.annotate(number(median), at, (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, list(result.seconds))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{name} (median, quartiles)")
    axes.spines[["top", "right"]].set_visible(False)


def _curves(axes: Any, result: Result) -> None:
    name, unit = result.unit
    curves: dict[str, dict[int, Timing]] = {}
    for contender, timing in result.seconds.items():
        curve, size = contender.rsplit(" ", 1)
        values = timing.rate(result.characters) if result.characters else timing.rate(unit).rate(1)
        curves.setdefault(curve, {})[int(size)] = values
    for color, (curve, points) in zip(COLORS, curves.items(), strict=False):
        medians = [timing.median for timing in points.values()]
        whiskers = [[t.median - t.lower for t in points.values()], [t.upper - t.median for t in points.values()]]
        axes.errorbar(list(points), medians, yerr=whiskers, color=color, marker="o", capsize=2, label=curve)
    axes.set_yscale("log", subs=[2, 3, 5, 7])
    axes.set(xscale="log", ylabel=f"{'characters per second' if result.characters else name} (median)")
    ticks = sorted({size for points in curves.values() for size in points})
    if len(ticks) <= 8:
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", which="both", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)

"""The chart of a suite, for `--plot` and for notebooks; matplotlib is imported when it is drawn."""

from typing import TYPE_CHECKING, Any

from jaxrnn.bench.result import Result, number, workload_line
from jaxrnn.bench.timing import Timing
from jaxrnn.plots.figure import COLORS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(result: Result, title: str) -> "Figure":
    """Return the figure of what a suite measured, in the form that the suite chose (`Result.chart`)."""
    figure = new_figure((8, 4.4))
    axes = figure.subplots()
    {"bars": _draw_bars, "curves": _draw_curves, "ratios": _draw_ratios}[result.chart](axes, result)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{workload_line(result.config)}\n{title}", fontsize=9, color="#444444")
    return figure


def _draw_bars(axes: Any, result: Result) -> None:
    """Draw a bar per contender: its median, with whiskers from quartile to quartile."""
    name, unit = result.unit
    timings = [Timing.of(seconds / unit for seconds in timing.rounds) for timing in result.seconds.values()]
    medians = [timing.median for timing in timings]
    axes.barh(list(result.seconds), medians, xerr=_whiskers(timings), color=COLORS[0], ecolor="#333333", capsize=2)
    for place, timing in enumerate(timings):
        text, at = number(timing.median), (timing.upper, place)
        axes.annotate(text, at, (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{name} (median, quartiles)")


def _draw_curves(axes: Any, result: Result) -> None:
    """Draw a curve per kind of contender, over the number that ends its name ("devices 4"); both scales logarithmic."""
    name, unit = result.unit
    curves: dict[str, dict[int, Timing]] = {}
    for contender, timing in result.seconds.items():
        curve, size = contender.rsplit(" ", 1)
        times = Timing.of(seconds / unit for seconds in timing.rounds)
        curves.setdefault(curve, {})[int(size)] = timing.rate(result.characters) if result.characters else times
    for color, (curve, points) in zip(COLORS, curves.items(), strict=False):
        medians, whiskers = [timing.median for timing in points.values()], _whiskers(list(points.values()))
        axes.errorbar(list(points), medians, yerr=whiskers, color=color, marker="o", capsize=2, label=curve)
    axes.set_yscale("log", subs=[2, 3, 5, 7])
    quantity = "characters per second" if result.characters else name
    axes.set(xscale="log", ylabel=f"{quantity} (median, quartiles)")
    sizes = sorted({size for points in curves.values() for size in points})
    if len(sizes) <= 8:
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", which="both", color="#eeeeee")
    axes.legend(frameon=False)


def _draw_ratios(axes: Any, result: Result) -> None:
    """Draw the ratios of the columns, a line of points per contender."""
    for color, (name, ratios) in zip(COLORS, result.columns.items(), strict=False):
        axes.plot([ratio.median for ratio in ratios.values()], list(ratios), "o", color=color, label=name)
    axes.axvline(1, color="#333333", linewidth=1, linestyle=":")
    axes.invert_yaxis()
    axes.set_xlabel("ratio (median)")
    axes.legend(frameon=False)


def _whiskers(timings: list[Timing]) -> list[list[float]]:
    lower = [timing.median - timing.lower for timing in timings]
    return [lower, [timing.upper - timing.median for timing in timings]]

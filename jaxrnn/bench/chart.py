"""One figure a suite, for `--plot` and for notebooks; matplotlib is imported here only, when a figure is drawn."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.devices import DevicesResult
from jaxrnn.bench.sample import SampleResult
from jaxrnn.bench.scaling import ScalingResult
from jaxrnn.bench.startup import StartupResult
from jaxrnn.bench.step import StepResult
from jaxrnn.bench.sweep import SweepResult
from jaxrnn.bench.tables import LETTERS, STEP_NAMES, workload_line
from jaxrnn.bench.timing import Timing
from jaxrnn.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS, _THEIRS, _LIMIT = "#1f6f8b", "#b0b7bd", "#d1495b"


def draw(result: Any, config: BenchConfig, title: str) -> "Figure":
    """Return the figure of what a suite measured."""
    drawings: dict[type, tuple[tuple[float, float], Callable[..., None]]] = {
        StepResult: ((8, 3.6), _draw_step),
        SampleResult: ((8, 4.4), _draw_sample),
        StartupResult: ((8, 3.6), _draw_startup),
        ScalingResult: ((9, 6.4), _draw_scaling),
        SweepResult: ((8, 4.0), _draw_sweep),
        DevicesResult: ((8, 4.0), _draw_devices),
    }
    size, drawing = drawings[type(result)]
    figure = new_figure(size)
    drawing(figure, result, config)
    figure.suptitle(f"{workload_line(config)}\n{title}", fontsize=9, color="#444444")
    return figure


def _bars(axes: Any, timings: dict[str, Timing], colors: list[str], unit: float, label: Callable[[float], str]) -> None:
    """Horizontal bars from the top down, whiskers from quartile to quartile, the median in figures behind them."""
    places = range(len(timings))
    medians = [timing.median / unit for timing in timings.values()]
    below = [median - timing.lower / unit for median, timing in zip(medians, timings.values(), strict=True)]
    above = [timing.upper / unit - median for median, timing in zip(medians, timings.values(), strict=True)]
    axes.barh(places, medians, xerr=[below, above], color=colors, height=0.62, ecolor="#333333", capsize=2)
    for place, median, more in zip(places, medians, above, strict=True):
        axes.annotate(
            label(median), (median + more, place), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(places, list(timings))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(median + more for median, more in zip(medians, above, strict=True)))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_step(figure: Any, result: StepResult, config: BenchConfig) -> None:
    axes = figure.subplots()
    names = {name: title.format(K=config.chunk_length) for name, title in STEP_NAMES.items()}
    timings = {names[name]: timing for name, timing in result.step_seconds.items()}
    colors = [_OURS if name in result.compile_seconds else _THEIRS for name in result.step_seconds]
    timings["floor, from the machine's limits"] = result.limits.floor
    _bars(axes, timings, [*colors, _LIMIT], 1e-6, lambda median: f"{median:,.0f}")
    axes.axvline(result.limits.floor.median * 1e6, color=_LIMIT, linewidth=1, linestyle=":")
    axes.set_xlabel("microseconds a training step (median, quartiles)")


def _draw_sample(figure: Any, result: SampleResult, config: BenchConfig) -> None:
    axes = figure.subplots()
    streams = sorted(map(int, result.compile_seconds))
    timings = {str(number): result.character_seconds[str(number)] for number in streams}
    rates = _rates(axes, timings, 1, _OURS, "jaxrnn, all streams together")
    numpy_rate = 1 / result.character_seconds["numpy"].median
    axes.axhline(numpy_rate, color="#7a828a", linestyle="--", label="NumPy, one stream")
    axes.set(yscale="log", xlabel="streams", ylabel="characters a second (median, quartiles)")
    axes.minorticks_off()
    axes.set_ylim(numpy_rate / 2, 2 * max(rates))
    ticks = [base * 10**power for power in range(0, 12) for base in (1, 3)]
    shown = [tick for tick in ticks if numpy_rate / 2 <= tick <= 2 * max(rates)]
    axes.set_yticks(shown, [f"{tick:,}" for tick in shown])
    axes.legend(frameon=False)


def _draw_startup(figure: Any, result: StartupResult, config: BenchConfig) -> None:
    axes = figure.subplots()
    timings = {
        **{f"train, {which}: first steps": timing for which, timing in result.first_steps.items()},
        **{f"train, {which}: end": timing for which, timing in result.end.items()},
        **result.imports,
    }
    timings = dict(sorted(timings.items(), key=lambda item: -item[1].median))
    colors = [_OURS if name.startswith("train") else _THEIRS for name in timings]
    _bars(axes, timings, colors, 1.0, lambda median: f"{median:.2f}")
    axes.set_xlabel("seconds from the start of the process (median, quartiles)")


def _draw_scaling(figure: Any, result: ScalingResult, config: BenchConfig) -> None:
    panels = figure.subplots(2, 2).flat
    for axes, (name, growth) in zip(panels, result.axes.items(), strict=True):
        costs = [timing.median * 1e6 for timing in growth.step_seconds]
        axes.plot(growth.sizes, costs, color=_OURS, marker="o", markersize=4)
        letter = LETTERS[name]
        axes.set(xscale="log", yscale="log", xlabel=f"{letter}, {name.replace('_', ' ')}", ylabel="microseconds a step")
        axes.set_xticks(growth.sizes, [f"{size:,}" for size in growth.sizes])
        axes.minorticks_off()
        text = f"~ {letter}^{growth.exponent:.2f}; at the end ~ {letter}^{growth.last_exponent:.2f}"
        axes.annotate(text, (0.04, 0.9), xycoords="axes fraction", fontsize=9)
        low, high = min(costs), max(costs)
        axes.set_ylim(low / 1.6, high * 2.5)
        ticks = [base * 10**power for power in range(0, 9) for base in (1, 2, 5) if base == 1 or high < 30 * low]
        shown = [tick for tick in ticks if low / 1.6 <= tick <= high * 2.5]
        axes.set_yticks(shown, [f"{tick:,}" for tick in shown])
        axes.grid(color="#eeeeee")
        axes.spines[["top", "right"]].set_visible(False)


def _draw_sweep(figure: Any, result: SweepResult, config: BenchConfig) -> None:
    axes = figure.subplots()
    _rates(axes, result.together, result.characters, _OURS, "side by side")
    _rates(axes, result.alone, result.characters, _THEIRS, "one after another")
    axes.set(xlabel="models", ylabel="characters a second, in all (median, quartiles)")
    axes.legend(frameon=False)


def _draw_devices(figure: Any, result: DevicesResult, config: BenchConfig) -> None:
    axes = figure.subplots()
    _rates(axes, result.step_seconds, result.characters, _OURS)
    axes.set(xlabel="devices", ylabel="characters a second (median, quartiles)")
    if result.cores is not None and result.cores < config.devices:
        axes.axvline(result.cores, color=_LIMIT, linewidth=1, linestyle=":", label="cores")
        axes.legend(frameon=False)


def _rates(
    axes: Any, timings: dict[str, Timing], characters: int, color: str, label: str | None = None
) -> list[float]:  # fmt: skip
    """Characters a second against the numbers that the timings are named by; returns their medians."""
    sizes = list(map(int, timings))
    rates = [characters / timing.median for timing in timings.values()]
    errors = [
        [rate - characters / timing.upper for rate, timing in zip(rates, timings.values(), strict=True)],
        [characters / timing.lower - rate for rate, timing in zip(rates, timings.values(), strict=True)],
    ]
    axes.errorbar(sizes, rates, yerr=errors, color=color, marker="o", capsize=2, label=label)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    return rates

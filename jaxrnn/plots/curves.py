"""Figures of runs: losses over the steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from jaxrnn.config import TrainConfig, combinations, read_config
from jaxrnn.config.fields import in_short
from jaxrnn.config.grid import value_of
from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.figure import COLORS, new_figure, tidy
from jaxrnn.plots.fonts import printable
from jaxrnn.runs.metrics import Columns, has_metrics, read_metrics
from jaxrnn.runs.sweep_directory import read_sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Unit = Literal["bits", "nats"]  # per character


def loss_curves(
    *runs: str | Path | Columns,
    labels: Sequence[str] | None = None,
    unit: Unit = "bits",
    smoothing: float | None = None,
) -> "Figure":
    """Draw the loss of runs over the steps: the mean of each interval faint, its running mean solid, validation dashed.

    Args:
        runs: run directories, or columns as `jaxrnn.runs.read_metrics` returns them: "step" and any of
            "interval_bits_per_character", "train_bits_per_character" and "validation_bits_per_character".
        labels: names of the runs; by default those of the directories.
        unit: bits or nats per character.
        smoothing: the weight in [0, 1) of the past, from one line of the metrics to the next, in an exponential mean
            of the intervals; None draws the running mean that training shows.
    """
    for run in runs:
        if not isinstance(run, str | Path) and not (isinstance(run, Mapping) and "step" in run):
            raise JaxrnnError(f"loss_curves takes run directories, or columns of read_metrics, got {in_short(run)}")
    if smoothing is not None and not 0 <= smoothing < 1:
        raise JaxrnnError(f"smoothing must be from 0 to below 1, got {smoothing}")
    figure = new_figure((8, 4.5))
    axes, curves = figure.subplots(), list[Any]()
    if labels is None:
        labels = [
            f"run {n}" if isinstance(run, Mapping) else Path(run).absolute().name for n, run in enumerate(runs, 1)
        ]
    if len(labels) != len(runs):
        raise JaxrnnError(f"labels must be as many as the runs, {len(runs)}, got {len(labels)}")
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        columns = run if isinstance(run, Mapping) else read_metrics(run)
        color, steps = COLORS[index % len(COLORS)], np.asarray(columns["step"], float)
        intervals, mean, validation = _losses(columns, unit)
        axes.plot(steps, intervals, color=color, alpha=0.25, linewidth=0.8)
        curve = mean if smoothing is None else _exponential_mean(intervals, smoothing)
        label = printable(label)
        curves += axes.plot(steps, curve, color=color, linewidth=1.8, label=label)
        measured = np.isfinite(validation)
        if measured.any():
            line: dict[str, Any] = {"linestyle": "--", "linewidth": 1.5, "marker": "o", "markersize": 3}
            curves += axes.plot(
                steps[measured], validation[measured], color=color, label=f"{label}, validation", **line
            )
    configs = [read_config(Path(run) / "config.json") for run in runs if not isinstance(run, Mapping)]
    axes.set(xlabel="step", ylabel=_loss_label(configs, unit))
    tidy(axes, grid="y")
    # The labels are given, as matplotlib leaves out those that begin with _.
    axes.legend(curves, [curve.get_label() for curve in curves], frameon=False)
    return figure


def sweep_curves(sweep: str | Path, unit: Unit = "bits") -> "Figure":
    """Draw the losses of a sweep's directory: for each setting the mean over its seeds, and their range.

    On the left the training loss over the steps. On the right where each run ends (its best validation loss if there
    is one, otherwise its training loss), with mean and standard deviation below.
    """
    by_setting = _runs_by_setting(Path(sweep))
    if not by_setting:
        raise JaxrnnError(f"{sweep} has no metrics yet; let it train for a while")
    label = _loss_label([read_sweep(sweep)[0]], unit)
    validated = any(np.isfinite(_losses(run, unit)[2]).any() for runs in by_setting.values() for run in runs)
    figure = new_figure((11, max(4.5, 1.5 + 0.28 * len(by_setting))))
    curves, ends = figure.subplots(1, 2, width_ratios=(3, 2))
    for index, runs in enumerate(by_setting.values()):
        color = COLORS[index % len(COLORS)]
        steps = max((run["step"] for run in runs), key=len)
        losses, finals = np.full((len(runs), len(steps)), np.nan), np.full(len(runs), np.nan)
        for number, run in enumerate(runs):
            _, mean, validation = _losses(run, unit)
            losses[number, : len(mean)] = mean
            finals[number] = np.fmin.reduce(validation) if validated else mean[-1]
        present = np.isfinite(losses).any(axis=0)
        steps, losses, finals = steps[present], losses[:, present], finals[np.isfinite(finals)]
        curves.fill_between(steps, np.nanmin(losses, axis=0), np.nanmax(losses, axis=0), color=color, alpha=0.2, lw=0)
        curves.plot(steps, np.nanmean(losses, axis=0), color=color, linewidth=1.8)
        ends.plot(finals, np.full(len(finals), index - 0.12), "o", color=color, alpha=0.35, markersize=5)
        if len(finals):
            deviation = finals.std(ddof=1) if len(finals) > 1 else 0.0
            ends.errorbar(finals.mean(), index + 0.12, xerr=deviation, color=color, marker="D", markersize=5, capsize=3)
    curves.set(xlabel="step", ylabel=f"{label}, training loss")
    ends.set(xlabel=f"{label}, {'best validation' if validated else 'training loss at the end'}")
    ends.set_yticks(range(len(by_setting)), list(map(printable, by_setting)))
    ends.invert_yaxis()
    tidy(curves, grid="y")
    tidy(ends, grid="x")
    return figure


def _runs_by_setting(sweep: Path) -> dict[str, list[Columns]]:
    """Return the metrics of a sweep's runs so far, grouped by what they are set to, seeds aside."""
    config, axes = read_sweep(sweep)
    by_setting: dict[str, list[Columns]] = {}
    for name, member in combinations(config, axes).items():
        setting = ", ".join(f"{axis} {value_of(member, axis)}" for axis in axes if axis != "seed") or "all seeds"
        if has_metrics(sweep / name):  # otherwise its turn has not come
            by_setting.setdefault(setting, []).append(read_metrics(sweep / name))
    return by_setting


def _loss_label(configs: Sequence[TrainConfig], unit: Unit) -> str:
    """Return the label of an axis of losses: per character, or per byte where all runs read bytes."""
    units = {config.loss_unit for config in configs}
    return (units.pop() if len(units) == 1 else "bits per character").replace("bits", unit)


def _losses(columns: Columns, unit: Unit) -> list[NDArray[Any]]:
    """Return the means of the intervals, the running means and the validation losses, NaN where there is none."""
    if unit not in ("bits", "nats"):
        raise JaxrnnError(f"unit must be bits or nats, got {unit!r}")
    scale = 1.0 if unit == "bits" else math.log(2)
    missing = np.full(len(columns["step"]), np.nan)
    names = ("interval_bits_per_character", "train_bits_per_character", "validation_bits_per_character")
    return [scale * np.asarray(columns.get(name, missing), float) for name in names]


def _exponential_mean(values: NDArray[Any], weight: float) -> NDArray[Any]:
    """Return the running mean in which a value counts `weight` times as much as the one after it; NaN is skipped."""
    total, count, means = 0.0, 0.0, []
    for value in values:
        if np.isfinite(value):
            total, count = weight * total + value, weight * count + 1
        means.append(total / count if count else np.nan)
    return np.array(means)

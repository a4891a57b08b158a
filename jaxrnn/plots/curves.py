"""Figures of runs: losses over the steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.figure import COLORS, new_figure
from jaxrnn.runs.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]
Run = str | Path


def loss_curves(
    *runs: Run | Mapping[str, Any],
    labels: Sequence[str] | None = None,
    unit: Literal["bits", "nats"] = "bits",
    smoothing: float | None = None,
) -> "Figure":
    """Draw the loss of one or several runs over the steps: each batch faint, smoothed firm, validation dashed.

    Args:
        runs: run directories, or columns as `jaxrnn.runs.read_metrics` returns them: "step", and of "train_loss",
            "validation_loss" (nats per character) and "bits_per_character" (the smooth loss) those that there are.
        labels: names of the runs; None takes those of the directories.
        unit: bits or nats, per character.
        smoothing: the weight of what came before, from line to line of the metrics, in [0, 1), for an exponential
            mean of the batches; None draws the run's own smooth loss, whose weight is 0.999 a step.
    """
    figure = new_figure((8, 4.5))
    axes = figure.subplots()
    if smoothing is not None and not 0 <= smoothing < 1:
        raise JaxrnnError(f"smoothing must be from 0 to below 1, got {smoothing}")
    if unit not in ("bits", "nats"):
        raise JaxrnnError(f"unit must be bits or nats, got {unit!r}")
    per_nat = 1 / np.log(2) if unit == "bits" else 1.0
    named = labels or [run_name(run, place) for place, run in enumerate(runs, start=1)]
    for place, (run, label) in enumerate(zip(runs, named, strict=True)):
        columns = run if isinstance(run, Mapping) else read_metrics(run)
        color, steps = COLORS[place % len(COLORS)], np.asarray(columns["step"], float)
        batches = per_nat * _column(columns, "train_loss", steps)
        smooth = _column(columns, "bits_per_character", steps) * np.log(2) * per_nat
        validation = per_nat * _column(columns, "validation_loss", steps)
        axes.plot(steps, batches, color=color, alpha=0.25, linewidth=0.8)
        firm = smooth if smoothing is None else _exponential_mean(batches, smoothing)
        axes.plot(steps, firm, color=color, linewidth=1.8, label=label)
        measured = np.isfinite(validation)
        if measured.any():
            line: dict[str, Any] = {"linestyle": "--", "linewidth": 1.5, "marker": "o", "markersize": 3}
            axes.plot(steps[measured], validation[measured], color=color, label=f"{label}, validation", **line)
    axes.set(xlabel="step", ylabel=f"{unit} per character")
    axes.grid(axis="y", color="#e8e6e1")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def sweep_curves(sweep: Run, unit: Literal["bits", "nats"] = "bits") -> "Figure":
    """Draw the losses of a sweep: for each setting the mean over its seeds firm, from the lowest to the highest faint.

    On the left the smooth loss over the steps; on the right what each run ends with, its best validation loss where
    there is one, and beside it mean and standard deviation.

    Args:
        sweep: the directory of a sweep.
        unit: bits or nats, per character.
    """
    from jaxrnn.config.grid import combinations, value_of
    from jaxrnn.runs.sweep.directory import read_sweep

    config, axes = read_sweep(sweep)
    by_setting: dict[str, list[Mapping[str, Any]]] = {}
    for name, member in combinations(config, axes).items():
        setting = ", ".join(f"{axis} {value_of(member, axis)}" for axis in axes if axis != "seed") or "all seeds"
        if (Path(sweep) / name / "metrics.jsonl").is_file():  # else its turn has not come
            by_setting.setdefault(setting, []).append(read_metrics(Path(sweep) / name))
    if not by_setting:
        raise JaxrnnError(f"{sweep} has no metrics yet; let it train for a while")
    scale = 1.0 if unit == "bits" else float(np.log(2))
    figure = new_figure((11, max(4.5, 1.5 + 0.28 * len(by_setting))))
    curves, ends = figure.subplots(1, 2, width_ratios=(3, 2))
    validated = any(
        np.isfinite(_column(run, "validation_loss", run["step"])).any() for runs in by_setting.values() for run in runs
    )
    for place, runs in enumerate(by_setting.values()):
        color = COLORS[place % len(COLORS)]
        length = max(len(run["step"]) for run in runs)
        steps = max((run["step"] for run in runs), key=len)
        losses = np.stack([_to_length(scale * run["bits_per_character"], length) for run in runs])
        present = np.isfinite(losses).any(axis=0)
        steps, losses = steps[present], losses[:, present]
        curves.fill_between(steps, np.nanmin(losses, axis=0), np.nanmax(losses, axis=0), color=color, alpha=0.2, lw=0)
        curves.plot(steps, np.nanmean(losses, axis=0), color=color, linewidth=1.8)
        found = np.array([_end(run, validated) for run in runs]) * scale
        found = found[np.isfinite(found)]
        ends.plot(found, np.full(len(found), place - 0.12), "o", color=color, alpha=0.35, markersize=5)
        if len(found):
            spread = found.std(ddof=1) if len(found) > 1 else 0.0
            ends.errorbar(found.mean(), place + 0.12, xerr=spread, color=color, marker="D", markersize=5, capsize=3)
    curves.set(xlabel="step", ylabel=f"{unit} per character, smooth loss")
    ends.set_yticks(range(len(by_setting)), list(by_setting))
    ends.invert_yaxis()
    ends.set(xlabel=f"{unit} per character, {'best validation' if validated else 'smooth loss at the end'}")
    for axes_ in (curves, ends):
        axes_.grid(axis="y" if axes_ is curves else "x", color="#e8e6e1")
        axes_.set_axisbelow(True)
        axes_.spines[["top", "right"]].set_visible(False)
    return figure


def _to_length(values: Array, length: int) -> Array:
    return np.concatenate([values, np.full(length - len(values), np.nan)])


def _end(run: Mapping[str, Any], validated: bool) -> float:
    """Return what a run ends with, in bits per character."""
    if not validated:
        return float(run["bits_per_character"][-1])
    losses = _column(run, "validation_loss", run["step"])
    return float(np.nanmin(losses)) / float(np.log(2)) if np.isfinite(losses).any() else np.nan


def run_name(run: Run | Mapping[str, Any], place: int) -> str:
    """Return what a run is called in a legend."""
    return f"run {place}" if isinstance(run, Mapping) else Path(run).absolute().name


def _column(columns: Mapping[str, Any], name: str, steps: Array) -> Array:
    return np.asarray(columns[name], float) if name in columns else np.full(len(steps), np.nan)


def _exponential_mean(values: Array, weight: float) -> Array:
    """Return the running mean in which a value counts `weight` times as much as the one after it; NaN is left out."""
    total, count, means = 0.0, 0.0, []
    for value in values:
        if np.isfinite(value):
            total, count = weight * total + value, weight * count + 1
        means.append(total / count if count else np.nan)
    return np.array(means)

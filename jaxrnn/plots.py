"""Figures of runs and of what goes on in a network; matplotlib (the extra "plot") is imported when one is drawn.

Every function returns a matplotlib Figure that belongs to no window and no backend: a notebook shows it,
`figure.savefig(path)` writes it, and nothing global is touched.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.figures import new_figure
from jaxrnn.runs.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxrnn.checkpoint import Checkpoint

Array = np.ndarray[Any, np.dtype[Any]]
Run = str | Path

# Okabe and Ito's colours, which people tell apart however they see colours.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_NEGATIVE, _ZERO, _POSITIVE = "#e8804a", "#fcfbf8", "#4a94d1"
_MONO = "DejaVu Sans Mono"  # comes with matplotlib
_GLYPHS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


def check_plot_file(path: Path, flag: str = "--plot") -> None:
    """Raise JaxrnnError, before anything is computed, if a figure can't be written there."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise JaxrnnError(f"{flag} writes .png or .svg, got {path}; give a name that ends so")
    if importlib.util.find_spec("matplotlib") is None:
        raise JaxrnnError(f"{flag} needs matplotlib, which is not installed; pip install matplotlib")
    if not path.absolute().parent.is_dir():
        raise JaxrnnError(f"{flag}: there is no directory {path.absolute().parent}; make it, or choose another")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise JaxrnnError(f"{flag} can't write to {path}; choose another file")


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
        color, steps = _COLORS[place % len(_COLORS)], np.asarray(columns["step"], float)
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
    from jaxrnn.grid import combinations, value_of
    from jaxrnn.runs.sweep_directory import read_sweep

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
        color = _COLORS[place % len(_COLORS)]
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


def hidden_units(
    source: "Run | Checkpoint | Array",
    text: str | None = None,
    *,
    layer: int = -1,
    name: str = "h",
    units: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    columns: int = 80,
) -> "Figure":
    """Draw units over a text: a row a unit, a column a character, wrapped into lines; orange below 0, blue above.

    Args:
        source: a run directory or a checkpoint; or values [T, H] of the text's T characters.
        text: the characters; None lets the network of a run write them.
        layer: of a network, which layer, from 0 at the input or -1 at the top.
        name: of a network, which of its values: "h", "c" or a gate.
        units: which units, from 0; None takes the eight that move most and yet stay longest (the greatest covariance of
            a value and the next).
        labels: what the rows are called; None takes the numbers of the units.
        columns: characters in a line.
    """
    if isinstance(source, np.ndarray):
        values, characters = source, _characters(text, len(source))
    else:
        reading = _read(source, text)
        if not -len(reading.layers) <= layer < len(reading.layers):
            raise JaxrnnError(f"there is no layer {layer}; the network has {len(reading.layers)}, counted from 0")
        by_name = reading.layers[layer]
        if name not in by_name:
            raise JaxrnnError(f"the layer has no {name!r}; it has {', '.join(sorted(by_name))}")
        values, characters = np.asarray(by_name[name]), reading.characters
    chosen = list(_steadiest(values, 8) if units is None else units)
    if not chosen or not all(0 <= unit < values.shape[1] for unit in chosen):
        raise JaxrnnError(f"units must be some of 0 to {values.shape[1] - 1}, got {chosen}")
    if labels is not None and len(labels) != len(chosen):
        raise JaxrnnError(f"labels must be the names of the {len(chosen)} units, got {len(labels)}")
    values = values[:, chosen]
    most = max(float(np.abs(values).max()), 1e-9)
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("units", [_NEGATIVE, _ZERO, _POSITIVE])
    figure, panels = _lines(len(characters), columns, 1 + len(chosen))
    for begin, axes in panels:
        block = _padded(values[begin : begin + columns].T, columns)
        image = axes.imshow(block, cmap=colors, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(chosen)), labels or [str(unit) for unit in chosen], fontsize=7)
        for place, character in enumerate(characters[begin : begin + columns]):
            _write(axes, place, -1, character, color="black")
    _color_bar(figure, image, panels)
    return figure


def next_characters(
    source: "Run | Checkpoint | Array",
    text: str | None = None,
    *,
    symbols: str | None = None,
    top: int = 5,
    columns: int = 80,
) -> "Figure":
    """Draw the likeliest next characters over a text: below each character those that may follow it, by probability.

    Karpathy 2015, "The unreasonable effectiveness of recurrent neural networks".

    Args:
        source: a run directory or a checkpoint; or probabilities [T, V], at t those of the character after text[t].
        text: the T characters; None lets the network of a run write them.
        symbols: the V characters that probabilities are of; of a run its vocabulary.
        top: how many.
        columns: characters in a line.
    """
    if isinstance(source, np.ndarray):
        if symbols is None or len(symbols) != source.shape[1]:
            raise JaxrnnError(f"symbols must be the {source.shape[1]} characters that the probabilities are of")
        probabilities, characters = source, _characters(text, len(source))
    else:
        reading = _read(source, text)
        probabilities, characters, symbols = reading.probabilities, reading.characters, reading.symbols
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    shares = np.take_along_axis(probabilities, order, axis=1)
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("shares", [_ZERO, _POSITIVE, "#12507f"])
    figure, panels = _lines(len(characters), columns, 1 + top)
    for begin, axes in panels:
        block = _padded(shares[begin : begin + columns].T, columns)
        image = axes.imshow(block, cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_yticks([])
        for place, character in enumerate(characters[begin : begin + columns]):
            _write(axes, place, -1, character, color="black", weight="bold")
            for row, token in enumerate(order[begin + place]):
                dark = shares[begin + place, row] > 0.6
                _write(axes, place, row, symbols[token], color="white" if dark else "#222222")
    _color_bar(figure, image, panels, "probability")
    return figure


def gate_saturation(
    source: "Run | Checkpoint | Sequence[Mapping[str, Any]]", text: str | None = None, *, low: float = 0.1
) -> "Figure":
    """Draw how often each gate is shut or open: a point a unit, a panel a gate, a colour a layer.

    The fraction of the characters at which a gate is left-saturated (below `low`) against that at which it is
    right-saturated (above 1 - `low`); Karpathy, Johnson and Li 2015, "Visualizing and understanding recurrent
    networks", section 4.3. Points near the diagonal are gates that work as switches.

    Args:
        source: a run directory or a checkpoint; or of each layer arrays [T, H] by name, from `jaxrnn.activations`.
        text: what the network of a run reads; None lets it write that.
        low: where a gate counts as saturated.

    Raises:
        JaxrnnError: the cell has no gates between 0 and 1.
    """
    from jaxrnn.inspection import SATURABLE

    is_network = isinstance(source, str | Path) or hasattr(source, "state")
    layers: Sequence[Mapping[str, Any]] = _read(source, text).layers if is_network else source  # type: ignore[assignment]
    gates = next((names for names in SATURABLE.values() if names and set(names) <= set(layers[0])), ())
    if not gates:
        raise JaxrnnError("the cell has no gates that could saturate; a GRU or an LSTM has")
    titles = {"r": "reset", "z": "keep", "i": "input", "f": "forget", "o": "output"}
    figure = new_figure((1 + 3 * len(gates), 3.9))
    for axes, gate in zip(figure.subplots(1, len(gates), sharey=True, squeeze=False).flat, gates, strict=True):
        axes.plot([0, 1], [1, 0], color="#d8d5cd", linewidth=1, zorder=0)
        for layer, by_name in enumerate(layers):
            values = np.asarray(by_name[gate])
            left, right = (values < low).mean(axis=0), (values > 1 - low).mean(axis=0)
            color = _COLORS[layer % len(_COLORS)]
            axes.scatter(right, left, s=26, color=color, alpha=0.55, linewidth=0, label=f"layer {layer}")
        axes.set(title=f"{titles[gate]} gate ({gate})", xlabel=f"part of the time above {1 - low:g}")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"part of the time below {low:g}")
    if len(layers) > 1:
        figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


def bench_chart(result: Any, config: Any, title: str = "") -> "Figure":
    """Draw what a suite of `jaxrnn bench` measured: step time, samples, starts or scaling."""
    from jaxrnn.bench.chart import draw

    return draw(result, config, title)


def run_name(run: Run | Mapping[str, Any], place: int) -> str:
    """Return what a run is called in a legend."""
    return f"run {place}" if isinstance(run, Mapping) else Path(run).absolute().name


# ---- what is drawn from a run


class _Reading(NamedTuple):
    characters: str
    symbols: str
    layers: tuple[dict[str, Any], ...]
    probabilities: Array


def _read(source: Any, text: str | None) -> _Reading:
    """Return what the network of a run does while it reads a text: a character a token, so Latin-1 for bytes."""
    import jax
    import jax.numpy as jnp

    from jaxrnn.checkpoint import load_checkpoint
    from jaxrnn.config import SampleConfig
    from jaxrnn.inspection import activations
    from jaxrnn.text import document_starts, encode_separator
    from jaxrnn.writing import write

    checkpoint = load_checkpoint(source) if isinstance(source, str | Path) else source
    vocabulary, model, params = checkpoint.vocabulary, checkpoint.config.model, checkpoint.state.params
    reset_on = checkpoint.config.reset_on
    if text is None:
        written = SampleConfig(length=320, temperature=0.8)
        text = "".join(write(params, vocabulary, model, written, reset_on=reset_on)).strip("\n").replace("\ufffd", "")
    tokens = vocabulary.encode(text)
    if not len(tokens):
        raise JaxrnnError("the text is empty; give one with --text, or leave that out and the network writes it")
    starts = jnp.asarray(document_starts(tokens, encode_separator(vocabulary, reset_on))) if reset_on else None
    layers = activations(params, jnp.asarray(tokens, jnp.int32), model, starts)
    probabilities = jax.nn.softmax(layers[-1]["h"] @ params.Why + params.by[None])
    characters = "".join(vocabulary.symbols[token] for token in tokens)
    return _Reading(characters, vocabulary.symbols, layers, np.asarray(probabilities))


def _characters(text: str | None, length: int) -> str:
    if not text or len(text) != length:
        raise JaxrnnError(f"text must be the {length} characters that the values are of, got {len(text or '')}")
    return text


def _steadiest(values: Array, count: int) -> list[int]:
    centred = values - values.mean(axis=0)
    covariance = (centred[1:] * centred[:-1]).sum(axis=0)
    return sorted(np.argsort(-covariance, kind="stable")[:count].tolist())


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


# ---- how it is drawn


def _lines(length: int, columns: int, rows: int) -> tuple["Figure", list[tuple[int, Any]]]:
    """Return a figure with a panel for each line of a text of `length` characters, `rows` high; and their begins."""
    if columns < 1:
        raise JaxrnnError(f"columns must be at least 1, got {columns}")
    begins = range(0, length, columns)
    figure = new_figure((0.115 * columns + 1.6, 0.3 + len(begins) * (0.19 * rows + 0.12)))
    panels = figure.subplots(len(begins), 1, squeeze=False)[:, 0]
    for axes in panels:
        axes.set(xticks=[], xlim=(-0.5, columns - 0.5))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure, list(zip(begins, panels, strict=True))


def _color_bar(figure: "Figure", image: Any, panels: list[tuple[int, Any]], label: str = "") -> None:
    bar = figure.colorbar(image, ax=[axes for _, axes in panels], shrink=0.6, aspect=30, pad=0.01)
    bar.set_label(label, fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0)


def _padded(block: Array, columns: int) -> Array:
    return np.pad(block.astype(float), ((0, 0), (0, columns - block.shape[1])), constant_values=np.nan)


def _write(axes: Any, place: float, row: float, character: str, **style: Any) -> None:
    """Write one character into a cell; one that the font lacks as a box."""
    from matplotlib.font_manager import findfont, get_font

    shown = _GLYPHS.get(character, character)
    if not shown.isprintable() or not get_font(findfont(_MONO)).get_char_index(ord(shown)):
        shown = "\u25a1"
    position = {"ha": "center", "va": "center", "clip_on": False, "parse_math": False}
    axes.text(place, row, shown, family=_MONO, fontsize=8, **position, **style)

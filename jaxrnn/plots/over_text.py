"""Figures of what goes on in a network over a text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.figure import COLORS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxrnn.runs.checkpoint import Checkpoint

Array = np.ndarray[Any, np.dtype[Any]]
Run = str | Path

_NEGATIVE, _ZERO, _POSITIVE = "#e8804a", "#fcfbf8", "#4a94d1"
_MONO = "DejaVu Sans Mono"  # comes with matplotlib
_GLYPHS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


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
    from jaxrnn.evaluation.activations import SATURABLE

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
            color = COLORS[layer % len(COLORS)]
            axes.scatter(right, left, s=26, color=color, alpha=0.55, linewidth=0, label=f"layer {layer}")
        axes.set(title=f"{titles[gate]} gate ({gate})", xlabel=f"part of the time above {1 - low:g}")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"part of the time below {low:g}")
    if len(layers) > 1:
        figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


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

    from jaxrnn.config import SampleConfig
    from jaxrnn.evaluation.activations import activations
    from jaxrnn.runs.checkpoint import load_checkpoint
    from jaxrnn.sampling.generate import write
    from jaxrnn.text import document_starts, encode_separator

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

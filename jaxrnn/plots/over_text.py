"""Figures of what goes on in a network over a text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxrnn.config import SampleConfig
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.activations import SATURABLE, activations
from jaxrnn.plots.figure import COLORS, new_figure, tidy
from jaxrnn.runs.checkpoint import Checkpoint, load_checkpoint
from jaxrnn.sampling import write
from jaxrnn.text import document_starts, encode_separator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIGNED = ("#e8804a", "#fcfbf8", "#4a94d1")  # the colors of values from below 0 to above
_SHARES = ("#fcfbf8", "#4a94d1", "#12507f")  # the colors of values from 0 to 1
_FONT = "DejaVu Sans Mono"  # comes with matplotlib
_MOST_LINES = 100  # each is a panel: matplotlib lays out so many in seconds, 300 in minutes
_MOST_COLUMNS = 1000
_GLYPHS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


class Observed(NamedTuple):
    """What a network does while it reads a text.

    Attributes:
        text: T characters; of a network of bytes the characters with their values (Latin-1).
        symbols: the V symbols of the vocabulary.
        layers: for each layer arrays [T, H] by name, as `jaxrnn.activations` returns them.
        probabilities: [T, V], at t those of the character after text[t].
    """

    text: str
    symbols: str
    layers: tuple[dict[str, NDArray[Any]], ...]
    probabilities: NDArray[Any]


def observe(source: str | Path | Checkpoint, text: str | None = None) -> Observed:
    """Let the network of a run directory or checkpoint read a text, by default one that it writes, for a figure."""
    checkpoint = load_checkpoint(source) if isinstance(source, str | Path) else source
    vocabulary, config, params = checkpoint.vocabulary, checkpoint.config.model, checkpoint.state.eval_params
    reset_on = checkpoint.config.reset_on
    if text is None:
        pieces = write(params, vocabulary, config, SampleConfig(length=320, temperature=0.8), reset_on=reset_on)
        text = "".join(pieces).strip("\n").replace("\ufffd", "")
    tokens = vocabulary.encode(text)
    if not len(tokens):
        raise JaxrnnError("the text is empty; give one with --text, or leave that out and the network writes it")
    starts = jnp.asarray(document_starts(tokens, encode_separator(vocabulary, reset_on))) if reset_on else None
    layers = activations(params, jnp.asarray(tokens, jnp.int32), config, starts)
    probabilities = jax.nn.softmax(layers[-1]["h"] @ params.Why + params.by[None])
    read = "".join(vocabulary.symbols[token] for token in tokens)
    return Observed(read, vocabulary.symbols, jax.tree.map(np.asarray, layers), np.asarray(probabilities))


def hidden_units(
    values: NDArray[Any],
    text: str,
    *,
    units: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    columns: int = 80,
) -> "Figure":
    """Draw units over a text: a row per unit, a column per character, wrapped into lines; orange below 0, blue above.

    Args:
        values: [T, H], such as `observe(run).layers[-1]["h"]`.
        text: the T characters.
        units: which units, from 0; None takes the eight that vary most and most slowly (the greatest covariance of a
            value and the next one).
        labels: the names of the rows; by default the numbers of the units.
        columns: characters per line.
    """
    if units is None:
        centered = values - values.mean(axis=0)
        covariance = (centered[1:] * centered[:-1]).sum(axis=0)
        units = sorted(np.argsort(-covariance, kind="stable")[:8].tolist())
    chosen = list(units)
    if not chosen or not all(0 <= unit < values.shape[1] for unit in chosen):
        raise JaxrnnError(f"units must be some of 0 to {values.shape[1] - 1}, got {chosen}")
    if labels is not None and len(labels) != len(chosen):
        raise JaxrnnError(f"labels must be the names of the {len(chosen)} units, got {len(labels)}")
    values = values[:, chosen]
    largest = max(float(np.abs(values).max()), 1e-9)
    figure, panels = _heat_map(text, values, columns, _SIGNED, (-largest, largest))
    for axes in panels:
        axes.set_yticks(range(len(chosen)), labels or [str(unit) for unit in chosen], fontsize=7)
    return figure


def next_characters(
    probabilities: NDArray[Any], text: str, symbols: str, *, top: int | None = None, columns: int = 80
) -> "Figure":
    """Draw the most likely next characters over a text: below each character those that may follow, by probability.

    At t the probabilities [T, V] are those of the character after text[t], one of the V `symbols`; `top` are drawn,
    five by default.
    Karpathy 2015, "The unreasonable effectiveness of recurrent neural networks".
    """
    if len(symbols) != probabilities.shape[1]:
        raise JaxrnnError(f"symbols must be the {probabilities.shape[1]} characters of the probabilities")
    top = min(5, len(symbols)) if top is None else top
    check_in(top, f"[1, {len(symbols)}]", "top")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    shares = np.take_along_axis(probabilities, order, axis=1)
    figure, panels = _heat_map(text, shares, columns, _SHARES, (0, 1), "probability")
    for index, row in np.ndindex(order.shape):
        color = "white" if shares[index, row] > 0.6 else "#222222"
        _write(panels[index // columns], index % columns, row, symbols[order[index, row]], color=color)
    return figure


def gate_saturation(layers: Sequence[Mapping[str, Any]], *, low: float = 0.1) -> "Figure":
    """Draw how often each gate is shut or open: a point per unit, a panel per gate, a color per layer.

    The fraction of characters at which a gate is left-saturated (below `low`) against the fraction at which it is
    right-saturated (above 1 - `low`); Karpathy, Johnson and Li 2015, "Visualizing and understanding recurrent
    networks", section 4.3. Points near the diagonal are gates that work as switches.

    The layers are those of `jaxrnn.activations`, arrays [T, H] by name. A cell without gates between 0 and 1 raises
    JaxrnnError.
    """
    check_in(low, "(0, 0.5]", "low")
    gates = next((names for names in SATURABLE.values() if names and layers and set(names) <= set(layers[0])), "")
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
        axes.set(title=f"{titles[gate]} gate ({gate})", xlabel=f"fraction of the time above {1 - low:g}")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        tidy(axes)
    figure.axes[0].set_ylabel(f"fraction of the time below {low:g}")
    if len(layers) > 1:
        figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


def _heat_map(
    text: str, values: NDArray[Any], columns: int, colors: Sequence[str], limits: tuple[float, float], label: str = ""
) -> tuple["Figure", list[Any]]:
    """Draw values [T, N] below a text of T characters, a panel per line of it; return the figure and the panels."""
    from matplotlib.colors import LinearSegmentedColormap

    check_in(columns, f"[1, {_MOST_COLUMNS}]", "columns")
    length, rows = values.shape
    if not text or len(text) != length:
        raise JaxrnnError(f"text must be the {length} characters of the values, got {len(text)}")
    num_lines = -(-length // columns)
    if num_lines > _MOST_LINES:
        advice = "give a shorter text or more columns"
        raise JaxrnnError(f"a figure has at most {_MOST_LINES} lines of text, got {num_lines:,}; {advice}")
    figure = new_figure((0.115 * columns + 1.6, 0.3 + num_lines * (0.19 * (1 + rows) + 0.12)))
    panels = list(figure.subplots(num_lines, 1, squeeze=False)[:, 0])
    padded = np.full((num_lines * columns, rows), np.nan)
    padded[:length] = values
    cmap = LinearSegmentedColormap.from_list("", list(colors))
    for axes, block in zip(panels, np.split(padded, num_lines), strict=True):
        image = axes.imshow(block.T, cmap=cmap, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for index, character in enumerate(text):
        _write(panels[index // columns], index % columns, -1, character, color="black", weight="bold")
    bar = figure.colorbar(image, ax=panels, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label(label, fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0)
    return figure, panels


def _write(axes: Any, column: float, row: float, character: str, **style: Any) -> None:
    """Write one character into a cell; as a box if it has no form."""
    glyph = _GLYPHS.get(character, character)
    glyph = glyph if glyph.isprintable() else "\u25a1"
    options = {"ha": "center", "va": "center", "clip_on": False}
    axes.text(column, row, glyph, family=_FONT, fontsize=8, **options, **style)

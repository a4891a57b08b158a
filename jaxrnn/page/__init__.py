"""A trained network as one HTML file: its weights, its forward pass in JavaScript, and a page to watch it think.

The parts lie beside this module: template.html, style.css, and the scripts network.js (what model.py, cells.py and
sampling.py compute), text.js (what text.py does) and app.js (the page).
"""

import base64
import dataclasses
import hashlib
import html
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrnn.config import SampleConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.cells import CELLS, built_in_name
from jaxrnn.network.loss import bits_per_character
from jaxrnn.network.model import Params
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.metrics import Columns
from jaxrnn.sampling.generate import write
from jaxrnn.text import encode_separator

_SCRIPTS = ("network.js", "text.js", "app.js")
_MOST_POINTS = 400  # of the loss curve
_FIRST_TEXT = SampleConfig(length=400, temperature=0.8)


def page(checkpoint: Checkpoint, metrics: Columns | None = None, *, text: str | None = None, half: bool = False) -> str:
    """Return a trained network as an HTML page that needs nothing else.

    The page computes in single precision what JAX computes; a float64 model loses the rest.

    Args:
        checkpoint: from `jaxrnn.load_checkpoint`.
        metrics: the loss curve, from `jaxrnn.runs.read_metrics`; None shows none.
        text: what stands in the page when it opens; None lets the network write it.
        half: keep the weights as float16, half as large and no longer exact.

    Raises:
        JaxrnnError: the cell is one of the user's own, which a page can't compute.
    """
    params, config, vocabulary = checkpoint.state.params, checkpoint.config, checkpoint.vocabulary
    model = config.model
    if built_in_name(model.cell) is None:
        raise JaxrnnError(f"a page computes the cells {', '.join(CELLS)}, and this network's is one of your own")
    if text is None:
        text = "".join(write(params, vocabulary, model, _FIRST_TEXT, reset_on=config.reset_on)).strip("\n")
    data = {
        "model": {
            "cell": built_in_name(model.cell),
            "hiddenSize": model.hidden_size,
            "numLayers": model.num_layers,
            "vocabSize": model.vocab_size,
            "bfloat16": model.products == "bfloat16",
        },
        "vocabulary": dataclasses.asdict(vocabulary),
        "separator": encode_separator(vocabulary, config.reset_on).tolist() if config.reset_on else [],
        "weights": _packed(params, "float16" if half else "float32"),
        "loss": _loss_curve(metrics or {}),
        "text": text.replace("\ufffd", ""),
    }
    return _fill(checkpoint, data)


def _packed(params: Params, dtype: str) -> dict[str, Any]:
    """Return the parameters as base64 of little-endian numbers, and the name and size of each, in order."""
    named = {f"layers.{number}.{name}": W for number, layer in enumerate(params.layers) for name, W in _parts(layer)}
    arrays = {name: np.asarray(W, np.dtype(dtype).newbyteorder("<")) for name, W in {**named, **_rest(params)}.items()}
    packed = base64.b64encode(b"".join(array.tobytes() for array in arrays.values())).decode()
    return {"tensors": [[name, array.size] for name, array in arrays.items()], "type": dtype, "base64": packed}


def _parts(layer: Any) -> list[tuple[str, jax.Array]]:
    return [(name, value) for name, value in layer._asdict().items() if value is not None]


def _rest(params: Params) -> dict[str, jax.Array]:
    return {"Why": params.Why, "by": params.by}


def _loss_curve(metrics: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Return some `_MOST_POINTS` points of the curves in bits per character; None where nothing was measured."""
    if not metrics:
        return {"steps": [], "train": [], "validation": []}
    nothing = np.full(len(metrics["step"]), np.nan)
    validation = metrics.get("validation_loss", nothing) / np.log(2)
    measured = np.flatnonzero(np.isfinite(validation))
    # What is measured seldom must not fall through the net.
    chosen = np.linspace(0, len(nothing) - 1, _MOST_POINTS).round().astype(int)
    kept = np.unique(np.concatenate([chosen, measured[:: -(-len(measured) // _MOST_POINTS) or 1]]))

    def rounded(values: np.ndarray[Any, Any]) -> list[float | None]:
        return [round(float(value), 4) if np.isfinite(value) else None for value in values[kept]]

    return {
        "steps": metrics["step"][kept].astype(int).tolist(),
        "train": rounded(metrics["bits_per_character"]),
        "validation": rounded(validation),
    }


def _fill(checkpoint: Checkpoint, data: dict[str, Any]) -> str:
    """Return the template with everything in its place; what comes from a run is escaped."""
    style, script = _file("style.css"), "\n".join(map(_file, _SCRIPTS))
    parts = {
        "title": _text(_corpus_name(checkpoint)),
        "summary": _text(_summary(checkpoint)),
        "facts": "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in _facts(checkpoint)),
        "version": importlib.metadata.version("jaxrnn"),
        "style": style,
        "style_hash": _csp_hash(style),
        "data": _json(data),
        "script": script,
        "script_hash": _csp_hash(script),
    }
    # In one pass: what is filled in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("template.html"))


def _file(name: str) -> str:
    return (importlib.resources.files("jaxrnn.page") / name).read_text("utf-8")


def _csp_hash(content: str) -> str:
    """Return what names this very script or style in a Content-Security-Policy, so that no other one runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return ASCII JSON that can stand in a script element: without "<" nothing in it can end the element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _text(value: str) -> str:
    return html.escape(value.encode("utf-8", "replace").decode())  # a path may have bytes that are not UTF-8


def _corpus_name(checkpoint: Checkpoint) -> str:
    return Path(checkpoint.corpus["source"]).stem  # not where it lies: the page may travel


def _summary(checkpoint: Checkpoint) -> str:
    model, state = checkpoint.config.model, checkpoint.state
    cell = {"gru": "GRU", "lstm": "LSTM"}.get(name := str(built_in_name(model.cell)), name)
    layers = "one layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    bits = bits_per_character(float(state.smooth_loss), checkpoint.config.sequence_length)
    return (
        f"A recurrent network, {layers} of {model.hidden_size:,} {cell} units. It reads one "
        f"{'byte' if checkpoint.vocabulary.kind == 'bytes' else 'character'} at a time and guesses the next: after "
        f"{int(state.step):,} steps of training, at a cost of {bits:.2f} bits each."
    )


def _facts(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    config, corpus, computed_by = checkpoint.config, checkpoint.corpus, checkpoint.computed_by
    model, optimizer = config.model, config.optimizer
    parameters = sum(leaf.size for leaf in jax.tree.leaves(checkpoint.state.params))
    rates = []
    if optimizer.name != "custom":
        clip = optimizer.clip if optimizer.clip == "none" else f"{optimizer.clip} {optimizer.clip_value:g}"
        rate = f"{optimizer.peak_learning_rate:g}, {optimizer.schedule}"
        rates = [("Learning rate", rate), ("Gradient clip", clip)]
    return [
        ("Corpus", _corpus_name(checkpoint)),
        ("Length", f"{corpus['length']:,} {config.vocabulary}"),
        ("SHA-256", f"{corpus['sha256'][:16]}\N{HORIZONTAL ELLIPSIS}"),
        ("Vocabulary", f"{model.vocab_size:,} {config.vocabulary}"),
        ("Cell", f"{built_in_name(model.cell)}, {model.num_layers} \N{MULTIPLICATION SIGN} {model.hidden_size:,}"),
        ("Parameters", f"{parameters:,}"),
        ("Steps", f"{int(checkpoint.state.step):,} of {config.steps:,}"),
        ("Sequence length", f"{config.sequence_length:,}"),
        ("Batch size", f"{config.batch_size:,}"),
        ("Optimizer", optimizer.name),
        *rates,
        ("Seed", str(config.seed)),
        ("Computed by", f"jax {computed_by['jax']} on {computed_by['device']}"),
    ]

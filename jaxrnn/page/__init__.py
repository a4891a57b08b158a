"""A trained network as one HTML file: its weights, its forward pass in JavaScript, and a page that shows it at work.

The parts are files beside this module: template.html, style.css, and the scripts network.js (the network and its
draws), text.js (the vocabulary) and app.js (the page).
"""

import base64
import codecs
import dataclasses
import hashlib
import html
import importlib.metadata
import importlib.resources
import json
import math
import re
from typing import Any

import jax
import numpy as np

from jaxrnn.config import SampleConfig, corpus_name
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.network import CELLS, Params
from jaxrnn.network.cells import built_in_name
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.metrics import Columns
from jaxrnn.sampling import write
from jaxrnn.text import encode_separator

_SCRIPTS = ("network.js", "text.js", "app.js")
_CURVE_POINTS = 400  # of the loss curve
_FIRST_TEXT = SampleConfig(length=400, temperature=0.8)


def page(checkpoint: Checkpoint, metrics: Columns | None = None, *, text: str | None = None, half: bool = False) -> str:
    """Return a trained network as an HTML page that needs nothing else.

    The page computes in single precision what JAX computes; a float64 model is rounded, and with `half` the weights are
    stored as float16, half the size and no longer exact. The metrics, from `jaxrnn.runs.read_metrics`, are drawn as a
    curve. The page opens with `text`, by default one that the network writes. Raises JaxrnnError for a user-defined
    cell, which it can't compute, and for bytes that are not UTF-8, which it can't show.
    """
    check_arguments(page, locals())
    params, config, vocabulary = checkpoint.state.eval_params, checkpoint.config, checkpoint.vocabulary
    model = config.model
    cell = built_in_name(model.cell)
    if cell is None:
        raise JaxrnnError(f"a page computes the cells {', '.join(CELLS)}, and this network's cell is user-defined")
    if vocabulary.kind == "bytes" and codecs.lookup(vocabulary.encoding).name != "utf-8":
        raise JaxrnnError(f"a page reads bytes as UTF-8, and those of this network are {vocabulary.encoding.upper()}")
    if text is None:
        text = "".join(write(params, vocabulary, model, _FIRST_TEXT, reset_on=config.reset_on)).strip("\n")
    data = {
        "model": {
            "cell": cell,
            "hiddenSize": model.hidden_size,
            "numLayers": model.num_layers,
            "vocabSize": model.vocab_size,
            "bfloat16": model.products == "bfloat16",
        },
        "vocabulary": dataclasses.asdict(vocabulary),
        "separator": encode_separator(vocabulary, config.reset_on).tolist(),
        "weights": _pack(params, "float16" if half else "float32"),
        "loss": {"unit": config.loss_unit, **_loss_curve(metrics or {})},
        "text": text.replace("\ufffd", ""),
    }
    return _fill(checkpoint, cell, data)


def _pack(params: Params, dtype: str) -> dict[str, Any]:
    """Return the parameters as base64 of little-endian numbers, and the name and size of each, in order."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    with np.errstate(over="ignore"):
        arrays = [np.asarray(leaf, np.dtype(dtype).newbyteorder("<")) for _, leaf in leaves]
    if not all(np.isfinite(array).all() for array in arrays):
        raise JaxrnnError(f"weights of this network are too large for {dtype}, in which a page computes them")
    data = b"".join(array.tobytes() for array in arrays)
    sizes = [[jax.tree_util.keystr(path, simple=True, separator="."), leaf.size] for path, leaf in leaves]
    return {"tensors": sizes, "type": dtype, "base64": base64.b64encode(data).decode()}


def _loss_curve(metrics: Columns) -> dict[str, Any]:
    """Return about `_CURVE_POINTS` points of the curves in bits per character; None where nothing was measured."""
    if not metrics:
        return {"steps": [], "train": [], "validation": []}
    count = len(metrics["step"])
    validation = metrics["validation_bits_per_character"]
    # Validations are rare, so they are thinned out separately.
    measured = np.flatnonzero(np.isfinite(validation))
    measured = measured[:: -(-len(measured) // _CURVE_POINTS) or 1]
    points = np.union1d(np.linspace(0, count - 1, _CURVE_POINTS).round().astype(int), measured)

    def rounded(values: np.ndarray[Any, Any]) -> list[float | None]:
        return [round(float(value), 4) if np.isfinite(value) else None for value in values[points]]

    return {
        "steps": metrics["step"][points].astype(int).tolist(),
        "train": rounded(metrics["train_bits_per_character"]),
        "validation": rounded(validation),
    }


def _fill(checkpoint: Checkpoint, cell: str, data: dict[str, Any]) -> str:
    """Return the template with everything in its place; what comes from a run is escaped."""
    style, script, facts = _read("style.css"), "\n".join(map(_read, _SCRIPTS)), _facts(checkpoint, cell)
    parts = {
        "title": _escape(facts["Corpus"]),
        "summary": _escape(_summary(checkpoint, cell)),
        "facts": "".join(f"<dt>{name}</dt><dd>{_escape(fact)}</dd>" for name, fact in facts.items()),
        "version": importlib.metadata.version("jaxrnn"),
        "style": style,
        "style_hash": _csp_hash(style),
        # ASCII without "<" can't end the script element that holds it.
        "data": json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script,
        "script_hash": _csp_hash(script),
    }
    # In one pass, so that braces in the parts are left alone.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("template.html"))


def _read(name: str) -> str:
    return (importlib.resources.files("jaxrnn.page") / name).read_text("utf-8")


def _csp_hash(content: str) -> str:
    """Return the hash by which a Content-Security-Policy admits this script or style and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _escape(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())  # a path may have bytes that are not UTF-8


def _summary(checkpoint: Checkpoint, cell: str) -> str:
    model, state = checkpoint.config.model, checkpoint.state
    units = {"gru": "GRU", "lstm": "LSTM"}.get(cell, cell)
    layers = "one layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    counters = checkpoint.counters
    cost = f"{checkpoint.bits_per_character:.2f} bits each on the text that it learned from"
    if counters.get("best_step") == counters["step"]:
        cost = f"{counters['best_loss'] / math.log(2):.2f} bits each on a text that it did not learn from"
    return (
        f"A recurrent network, {layers} of {counted(model.hidden_size, f'{units} units')}. It reads one "
        f"{'byte' if checkpoint.vocabulary.kind == 'bytes' else 'character'} at a time and guesses the next: after "
        f"{counted(int(state.step), 'steps')} of training, at a cost of {cost}."
    )


def _facts(checkpoint: Checkpoint, cell: str) -> dict[str, str]:
    config, corpus, computed_by = checkpoint.config, checkpoint.corpus, checkpoint.computed_by
    model, optimizer = config.model, config.optimizer
    rule = {"Optimizer": "user-defined"}
    if optimizer.name != "custom":
        rule = {
            "Optimizer": optimizer.name,
            "Learning rate": f"{optimizer.peak_learning_rate:g}, {optimizer.schedule}",
            "Gradient clip": "none" if optimizer.clip == "none" else f"{optimizer.clip} {optimizer.clip_value:g}",
        }
    return {
        "Corpus": corpus_name(corpus["source"]),  # without its directory: the page may travel
        "Length": f"{corpus['length']:,} {config.vocabulary}",
        "SHA-256": f"{corpus['sha256'][:16]}\N{HORIZONTAL ELLIPSIS}",
        "Vocabulary": f"{model.vocab_size:,} {config.vocabulary}",
        "Cell": f"{cell}, {model.num_layers} \N{MULTIPLICATION SIGN} {model.hidden_size:,}",
        "Parameters": f"{checkpoint.state.params.num_parameters:,}",
        "Steps": f"{int(checkpoint.state.step):,} of {config.steps:,}",
        "Sequence length": f"{config.sequence_length:,}",
        "Batch size": f"{config.batch_size:,}",
        **rule,
        "Seed": str(config.seed),
        "Computed by": f"jax {computed_by['jax']} on {computed_by['device']}",
    }

"""Weights for PyTorch and from it: the state dict of a torch.nn module in a safetensors file.

The names are those of a module with an `rnn` (nn.RNN, nn.GRU or nn.LSTM) and a `readout` (nn.Linear): rnn.weight_ih_l0
[G*H, V], rnn.weight_hh_l0 [G*H, H], rnn.bias_ih_l0 and rnn.bias_hh_l0 [G*H], the same for _l1 [G*H, H] and so on,
readout.weight [V, H], readout.bias [V]. The metadata, strings, are the cell and the vocabulary (JSON).
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxrnn.config import Cell, ModelConfig
from jaxrnn.config.atomic import commit
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError, listed
from jaxrnn.network.cells import CELLS, get_cell
from jaxrnn.network.model import Layer, Params, check_params
from jaxrnn.runs.checkpoint_files import has_checkpoint_name
from jaxrnn.text import Vocabulary

Array = Any  # NumPy's, where Params are declared to have JAX's

_CELLS = {3: "gru", 4: "lstm"}  # by G
_TYPES = {"F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64}


class Weights(NamedTuple):
    """The contents of a file of weights.

    Attributes:
        params: the parameters, NumPy arrays.
        model: their network; settings that the file does not state have their defaults.
        vocabulary: the symbols; None: the file does not state them.
    """

    params: Params
    model: ModelConfig
    vocabulary: Vocabulary | None


def save_weights(
    path: str | Path, params: Params, model: ModelConfig, vocabulary: Vocabulary, *, overwrite: bool = False
) -> None:
    """Write the parameters for PyTorch; the file is replaced whole or not at all.

    A module with the two parts loads it by `module.load_state_dict(safetensors.torch.load_file(path))`.

    Raises:
        JaxrnnError: `path` exists and `overwrite` is false, or is named as a checkpoint; or the parameters are not
            those of this model.
        StorageError: it can't be written.
    """
    check_arguments(save_weights, locals())
    path = Path(path)
    if has_checkpoint_name(path):
        raise JaxrnnError(f"{path} is named as a checkpoint, which it could replace; choose another name")
    if path.exists() and not overwrite:
        raise JaxrnnError(f"{path} exists already; choose another file, or replace it with --overwrite")
    check_params(params, dataclasses.replace(model, vocab_size=len(vocabulary)))
    tensors: dict[str, Array] = {"readout.weight": params.Why.T, "readout.bias": params.by}
    for index, layer in enumerate(params.layers):
        tensors[f"rnn.weight_ih_l{index}"] = layer.Wxh.T
        tensors[f"rnn.weight_hh_l{index}"] = layer.Whh.T
        tensors[f"rnn.bias_ih_l{index}"] = layer.bh
        tensors[f"rnn.bias_hh_l{index}"] = np.zeros_like(layer.bh) if layer.bhh is None else layer.bhh
    cell = model.cell if isinstance(model.cell, str) else "custom"
    metadata = {"cell": cell, "vocabulary": json.dumps(dataclasses.asdict(vocabulary))}
    commit(path, safetensors.numpy.save({name: np.asarray(t, order="C") for name, t in tensors.items()}, metadata))


def load_weights(path: str | Path, cell: str | Cell | None = None) -> Weights:
    """Read the parameters of a PyTorch model: recurrent layers with one linear layer on top.

    The two may have any names, and biases may be missing. An nn.Embedding below them is multiplied into the first Wxh.
    Where a cell has one bias, it is the sum of torch's two. Sums and products are computed in double precision. If the
    metadata list the symbols in an order that is not sorted, symbols and weights are sorted.

    Args:
        path: the file, which `safetensors.torch.save_file(module.state_dict(), path, metadata)` makes of a torch model.
            The metadata may have "cell" and "vocabulary", the JSON of {"symbols": "abc..."}; neither is needed.
        cell: the name of a cell, or a user-defined cell; None: the one in the metadata, or gru or lstm by the shape of
            the weights. Those of an nn.RNN do not tell "tanh" from "relu", its nonlinearity.

    Raises:
        JaxrnnError: there is no such file, it is not a safetensors file, or it does not hold such a model; the message
            names the tensor that is missing, unknown, or of the wrong shape.
    """
    check_arguments(load_weights, locals())
    path = Path(path)
    tensors, dtype, metadata = _read(path)
    for part, argument in {"_reverse": "bidirectional=True", ".weight_hr_l": "proj_size"}.items():
        if any(part in f".{name}" for name in tensors):
            raise JaxrnnError(f"{path} is of a module with {argument}, which no network here has; train one without")
    layers = sorted(match.groups() for name in tensors if (match := re.fullmatch(r"(.*)weight_hh_l(\d+)", name)))
    prefixes = sorted({prefix for prefix, _ in layers})
    if len(prefixes) != 1:
        got = f"{len(prefixes)}: {', '.join(map(repr, prefixes))}" if prefixes else _none_in(tensors)
        raise JaxrnnError(f"{path} must hold one recurrent part (a weight_hh_l0 [G*H, H] and so on), found {got}")
    rnn = f"{prefixes[0]}{{}}_l{{}}".format
    first = rnn("weight_hh", layers[0][1])
    rows, hidden_size = (*tensors[first].shape, 0, 0)[:2]
    gates = rows // max(1, hidden_size)
    kind: Any = cell or metadata.get("cell") or metadata.get("nonlinearity") or _CELLS.get(gates, "unknown")
    if kind == "unknown" and gates == 1:
        raise JaxrnnError(
            f"{path} does not say the nonlinearity of its torch.nn.RNN, tanh (torch's default) or relu; pass it as the "
            "cell, on the command line --nonlinearity tanh"
        )
    if not isinstance(kind, Cell) and kind not in (*CELLS, "custom"):
        raise JaxrnnError(
            f"{path}: {first} is {list(tensors[first].shape)}, of the cell {kind}; pass its cell, on the command line "
            "--cell FILE.py:NAME"
        )
    the_cell, (linear, embedding) = get_cell(kind), _linear_and_embedding(path, tensors, hidden_size)
    width, vocab_size = the_cell.gates * hidden_size, len(tensors[linear])
    inputs = tensors[embedding].shape[1] if embedding else vocab_size

    shapes = {linear: (vocab_size, hidden_size)} | ({embedding: (vocab_size, inputs)} if embedding else {})
    if _bias_of(linear) in tensors:
        shapes[_bias_of(linear)] = (vocab_size,)
    for index in range(len(layers)):
        shapes[rnn("weight_hh", index)] = width, hidden_size
        shapes[rnn("weight_ih", index)] = width, hidden_size if index else inputs
        if any(name.startswith(f"{prefixes[0]}bias_") for name in tensors):
            shapes |= {rnn("bias_ih", index): (width,), rnn("bias_hh", index): (width,)}
    _check_shapes(path, tensors, shapes)

    def layer(index: int) -> Layer:
        weight_ih, weight_hh = tensors[rnn("weight_ih", index)], tensors[rnn("weight_hh", index)]
        if embedding and index == 0:
            weight_ih = weight_ih @ tensors[embedding].T
        ih, hh = (tensors.get(rnn(name, index), np.zeros(width)) for name in ("bias_ih", "bias_hh"))
        return Layer(weight_ih.T, weight_hh.T, *((ih, hh) if the_cell.recurrent_bias else (ih + hh, None)))

    by = tensors.get(_bias_of(linear), np.zeros(vocab_size))
    params = Params(tuple(map(layer, range(len(layers)))), tensors[linear].T, by)
    vocabulary = None
    if named := _vocabulary(path, metadata, vocab_size):
        symbols, vocabulary = named
        order = sorted(range(vocab_size), key=symbols.__getitem__)
        bottom, *above = params.layers
        params = Params((bottom._replace(Wxh=bottom.Wxh[order]), *above), params.Why[:, order], by[order])
    model = ModelConfig(kind, hidden_size, len(layers), dtype=dtype, vocab_size=vocab_size)
    with np.errstate(over="ignore"):
        params = jax.tree.map(lambda array: np.ascontiguousarray(array, dtype), params)
    if not all(np.isfinite(array).all() for array in jax.tree.leaves(params)):
        raise JaxrnnError(f"{path}: sums or products of its weights are too large for {dtype}; save them as float64")
    return Weights(params, model, vocabulary)


def _read(path: Path) -> tuple[dict[str, Array], Any, dict[str, str]]:
    """Return the tensors in float64, the type for the parameters (float64 if any tensor is), and the metadata."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        stored = dict(safetensors.deserialize(path.read_bytes()))
    except FileNotFoundError:
        raise JaxrnnError(
            f"no such file: {path}; give one of `jaxrnn export`, or of safetensors.torch.save_file"
        ) from None
    except (OSError, safetensors.SafetensorError) as error:
        raise JaxrnnError(
            f"{path} is not a safetensors file ({error}); a torch model becomes one by "
            "safetensors.torch.save_file(module.state_dict(), FILE)"
        ) from None
    tensors = {}
    for name, tensor in stored.items():
        if tensor["dtype"] not in _TYPES:
            raise JaxrnnError(f"{path}: {name} is of type {tensor['dtype']}; expected one of {', '.join(_TYPES)}")
        tensors[name] = np.frombuffer(tensor["data"], _TYPES[tensor["dtype"]]).reshape(tensor["shape"]).astype(float)
    is_double = any(tensor["dtype"] == "F64" for tensor in stored.values())
    return tensors, "float64" if is_double else "float32", metadata


def _linear_and_embedding(path: Path, tensors: Mapping[str, Array], hidden_size: int) -> tuple[str, str | None]:
    """Return the names of the linear layer's weight [V, H], and of the embedding's [V, inputs] if there is one."""
    matrices = [name for name, tensor in tensors.items() if tensor.ndim == 2 and name.endswith("weight")]
    linear = [name for name in matrices if _bias_of(name) in tensors] or matrices
    if len(linear) > 1:  # without biases, the shapes tell it from an embedding
        linear = [name for name in linear if tensors[name].shape[1] == hidden_size] or linear
    if len(linear) != 1:
        raise JaxrnnError(
            f"{path} must hold one linear layer [V, {hidden_size}] beside the recurrent ones, "
            f"found {listed(sorted(linear)) or _none_in(tensors)}"
        )
    return linear[0], next((name for name in matrices if name != linear[0]), None)


def _none_in(tensors: Iterable[str]) -> str:
    return f"none in {listed(sorted(tensors)) or 'nothing'}"


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _check_shapes(path: Path, tensors: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if name not in tensors:
            raise JaxrnnError(f"{path} lacks {name}, which must be {list(shape)}")
        if tensors[name].shape != shape:
            raise JaxrnnError(f"{path}: {name} must be {list(shape)}, got {list(tensors[name].shape)}")
        if not np.isfinite(tensors[name]).all():
            raise JaxrnnError(f"{path}: {name} has numbers that are not finite")
    if rest := tensors.keys() - shapes.keys():
        raise JaxrnnError(f"{path} has tensors that the model lacks: {listed(sorted(rest))}")


def _vocabulary(path: Path, metadata: Mapping[str, str], vocab_size: int) -> tuple[str, Vocabulary] | None:
    """Return the symbols that the metadata name, in the order of the weights, and their vocabulary."""
    if "vocabulary" not in metadata:
        return None
    try:
        values = json.loads(metadata["vocabulary"])
        symbols = values["symbols"]
        vocabulary = Vocabulary(**{**values, "symbols": "".join(sorted(set(symbols)))})
    except (ValueError, TypeError, KeyError) as error:
        raise JaxrnnError(
            f'{path}: vocabulary in the metadata must be JSON such as {{"symbols": "abc"}} ({error})'
        ) from None
    if not len(symbols) == len(vocabulary) == vocab_size:
        raise JaxrnnError(
            f"{path} has weights for {vocab_size} symbols, but its metadata name {len(vocabulary)} distinct ones"
        )
    return symbols, vocabulary

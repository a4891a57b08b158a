"""Weights for PyTorch and from it: the state dict of a torch.nn module in a safetensors file.

The names are those of a module with an `rnn` (nn.RNN, nn.GRU or nn.LSTM) and a `readout` (nn.Linear): rnn.weight_ih_l0
[G*H, V], rnn.weight_hh_l0 [G*H, H], rnn.bias_ih_l0 and rnn.bias_hh_l0 [G*H], the same for _l1 [G*H, H] and so on,
readout.weight [V, H], readout.bias [V]. The metadata, strings, are the cell and the vocabulary (JSON).
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from jaxrnn.atomic import commit
from jaxrnn.config import Cell, ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.cells import get_cell
from jaxrnn.network.model import Layer, Params
from jaxrnn.text import Vocabulary

Array = Any  # NumPy's, where Params are declared to have JAX's

_TORCH_CELLS = {1: "tanh", 3: "gru", 4: "lstm"}  # by G
_LAYER = re.compile(r"(.*)weight_hh_l(\d+)")


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
        JaxrnnError: `path` exists and `overwrite` is false.
        StorageError: it can't be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise JaxrnnError(f"{path} exists already; choose another file, or replace it with --overwrite")
    tensors = {"readout.weight": np.asarray(params.Why).T, "readout.bias": np.asarray(params.by)}
    for index, layer in enumerate(params.layers):
        tensors[f"rnn.weight_ih_l{index}"] = np.asarray(layer.Wxh).T
        tensors[f"rnn.weight_hh_l{index}"] = np.asarray(layer.Whh).T
        tensors[f"rnn.bias_ih_l{index}"] = np.asarray(layer.bh)
        tensors[f"rnn.bias_hh_l{index}"] = np.asarray(np.zeros_like(layer.bh) if layer.bhh is None else layer.bhh)
    cell = model.cell if isinstance(model.cell, str) else "custom"
    metadata = {"cell": cell, "vocabulary": json.dumps(dataclasses.asdict(vocabulary))}
    commit(path, safetensors.numpy.save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata))


def load_weights(path: str | Path, cell: str | Cell | None = None) -> Weights:
    """Read the parameters of a PyTorch model: recurrent layers with one linear layer on top.

    The two may have any names, and biases may be missing. An nn.Embedding below them is multiplied into the first Wxh.
    Where a cell has one bias, it is the sum of torch's two. If the metadata list the symbols in an order that is not
    sorted, symbols and weights are sorted.

    Args:
        path: the file, which `safetensors.torch.save_file(module.state_dict(), path, metadata)` makes of a torch model.
            The metadata may have "cell" and "vocabulary", the JSON of {"symbols": "abc..."}; neither is needed.
        cell: the name of a cell, or a user-defined cell; None: the one in the metadata, or by the shape of the weights
            tanh, gru or lstm.

    Raises:
        JaxrnnError: there is no such file, it is not a safetensors file, or it does not hold such a model; the message
            names the tensor that is missing, unknown, or of the wrong shape.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    layers = [match for name in tensors if (match := _LAYER.fullmatch(name))]
    prefixes = sorted({match[1] for match in layers})
    if len(prefixes) != 1:
        got = f"{len(prefixes)}: {', '.join(map(repr, prefixes))}" if prefixes else f"none in {_list(tensors)}"
        raise JaxrnnError(f"{path} must hold one recurrent part (a weight_hh_l0 [G*H, H] and so on), found {got}")
    rnn = f"{prefixes[0]}{{}}_l{{}}".format
    rows, hidden_size = _matrix(path, tensors, rnn("weight_hh", 0))
    if cell is None:
        cell = metadata.get("cell") or _TORCH_CELLS.get(rows // hidden_size, "")
    if cell not in (*_TORCH_CELLS.values(), "custom") and not isinstance(cell, Cell):
        raise JaxrnnError(
            f"{path}: {rnn('weight_hh', 0)} is [{rows}, {hidden_size}], which is no tanh, gru or lstm "
            f"but {cell or 'unknown'}; pass its cell, on the command line --cell FILE.py:NAME"
        )
    the_cell, rest = get_cell(cell), _Tensors(path, dict(tensors))
    width, num_layers = the_cell.gates * hidden_size, 1 + max(int(match[2]) for match in layers)
    biased = any(name.startswith(f"{prefixes[0]}bias_") for name in tensors)

    recurrent = [rest.take(rnn("weight_hh", index), width, hidden_size) for index in range(num_layers)]
    biases = [_biases(rest, the_cell, rnn, index, width, biased) for index in range(num_layers)]
    above = [rest.take(rnn("weight_ih", index), width, hidden_size) for index in range(1, num_layers)]
    below = rest.take(rnn("weight_ih", 0), width, None)
    Why, by, embedding = _readout(rest, hidden_size, below.shape[1])
    inputs = [(below if embedding is None else below @ embedding.T), *above]
    rest.check_empty()

    double = any(tensor.dtype == np.float64 for tensor in tensors.values())
    parts = zip(inputs, recurrent, biases, strict=True)
    params = Params(tuple(Layer(weight_ih.T, weight_hh.T, *pair) for weight_ih, weight_hh, pair in parts), Why.T, by)
    vocabulary = _vocabulary(path, metadata, len(by))
    if vocabulary:
        params, vocabulary = _sorted(params, vocabulary)
    model: Any = {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers, "vocab_size": len(by)}
    model = ModelConfig(**model, dtype="float64" if double else "float32")
    return Weights(_cast(params, model.dtype), model, vocabulary)


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                kind = file.get_slice(name).get_dtype()
                if kind not in ("F16", "F32", "F64"):
                    raise JaxrnnError(f"{path}: {name} is of type {kind}; expected F32, F64 or F16: convert it to F32")
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise JaxrnnError(
            f"{path} is not a safetensors file ({error}); a torch model becomes one by "
            "safetensors.torch.save_file(module.state_dict(), FILE)"
        ) from None


def _matrix(path: Path, tensors: dict[str, Array], name: str) -> tuple[int, int]:
    if name not in tensors:
        raise JaxrnnError(f"{path} lacks {name}; it holds {_list(tensors)}")
    if tensors[name].ndim != 2 or tensors[name].size == 0:
        raise JaxrnnError(f"{path}: {name} must be [G*H, H], got {list(tensors[name].shape)}")
    rows, columns = tensors[name].shape
    return rows, columns


class _Tensors:
    """The tensors of a file, which are taken out one by one; each is checked."""

    def __init__(self, path: Path, rest: dict[str, Array]) -> None:
        self.path, self.rest = path, rest

    def take(self, name: str, *shape: int | None) -> Array:
        if name not in self.rest:
            raise JaxrnnError(f"{self.path} lacks {name}, which must be {_shape(shape)}")
        tensor = self.rest.pop(name)
        if len(tensor.shape) != len(shape) or any(a not in (None, b) for a, b in zip(shape, tensor.shape, strict=True)):
            raise JaxrnnError(f"{self.path}: {name} must be {_shape(shape)}, got {_shape(tensor.shape)}")
        if not np.isfinite(tensor).all():
            raise JaxrnnError(f"{self.path}: {name} has numbers that are not finite")
        return tensor

    def check_empty(self) -> None:
        if self.rest:
            raise JaxrnnError(f"{self.path} has tensors that the model lacks: {_list(self.rest)}")


def _biases(
    tensors: _Tensors, cell: Cell, rnn: Any, index: int, width: int, biased: bool
) -> tuple[Array, Array | None]:  # fmt: skip
    if not biased:
        return np.zeros(width), np.zeros(width) if cell.recurrent_bias else None
    ih, hh = (tensors.take(rnn(name, index), width) for name in ("bias_ih", "bias_hh"))
    return (ih, hh) if cell.recurrent_bias else (ih + hh, None)


def _readout(tensors: _Tensors, hidden_size: int, inputs: int) -> tuple[Array, Array, Array | None]:
    """Take the linear layer [V, H], its bias [V], and the embedding [V, inputs] if there is one."""
    matrices = [name for name, tensor in tensors.rest.items() if tensor.ndim == 2 and name.endswith("weight")]
    with_bias = [name for name in matrices if _bias_of(name) in tensors.rest]
    linear = with_bias or matrices
    if len(linear) != 1:
        raise JaxrnnError(
            f"{tensors.path} must hold one linear layer [V, {hidden_size}] beside the recurrent ones, "
            f"found {_list(linear) if linear else f'none in {_list(tensors.rest)}'}"
        )
    embeddings = [name for name in matrices if name != linear[0]]
    Why = tensors.take(linear[0], None if embeddings else inputs, hidden_size)
    by = tensors.take(_bias_of(linear[0]), len(Why)) if with_bias else np.zeros(len(Why))
    return Why, by, tensors.take(embeddings[0], len(Why), inputs) if embeddings else None


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _vocabulary(path: Path, metadata: dict[str, str], vocab_size: int) -> Vocabulary | None:
    if "vocabulary" not in metadata:
        return None
    try:
        vocabulary = Vocabulary(**json.loads(metadata["vocabulary"]))
        size = len(set(vocabulary.symbols))
    except (ValueError, TypeError) as error:
        raise JaxrnnError(
            f'{path}: vocabulary in the metadata must be JSON such as {{"symbols": "abc"}} ({error})'
        ) from None
    if not size == len(vocabulary) == vocab_size:
        raise JaxrnnError(f"{path} has weights for {vocab_size} symbols, but its metadata name {size} distinct ones")
    return vocabulary


def _sorted(params: Params, vocabulary: Vocabulary) -> tuple[Params, Vocabulary]:
    order = sorted(range(len(vocabulary)), key=vocabulary.symbols.__getitem__)
    first, *above = params.layers
    params = Params((first._replace(Wxh=first.Wxh[order]), *above), params.Why[:, order], params.by[order])
    return params, dataclasses.replace(vocabulary, symbols="".join(sorted(vocabulary.symbols)))


def _cast(params: Params, dtype: str) -> Params:
    def cast(layer: Any) -> Any:
        return layer._replace(
            **{name: np.ascontiguousarray(x, dtype) for name, x in layer._asdict().items() if isinstance(x, np.ndarray)}
        )

    return cast(params._replace(layers=tuple(map(cast, params.layers))))


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"


def _list(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"

"""Checkpoints: one verified file each.

A checkpoint is a safetensors file. Its tensors are the leaves of the TrainState, named by their path
(`params.layers.0.Whh`), and the code points of the vocabulary. Its metadata, JSON strings, are the config, the kind of
vocabulary, the corpus, the counters, the implementation of the key, what computed the state, and a SHA-256 over all of
that and every tensor, which is verified on every load.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import safetensors
import safetensors.numpy

from jaxrnn.config import Cell, TrainConfig, to_json
from jaxrnn.config.atomic import commit
from jaxrnn.config.fields import check_arguments, describe, of_fields
from jaxrnn.errors import DamagedError, JaxrnnError, UnusableError, listed
from jaxrnn.runs.checkpoint_files import newest_good
from jaxrnn.runs.header import FORMAT, HEADER_LIMIT, checked, parse_metadata, read_errors, read_metadata
from jaxrnn.runs.provenance import computed_by
from jaxrnn.runs.training_loss import TrainingLoss
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import Optimizer, TrainState, init_train_state, state_shapes

_SYMBOLS = "vocabulary"  # the tensor of its code points
_NO_MEMORY = optax.identity()  # in place of a user-defined optimizer, which no file holds

Array = np.ndarray[Any, np.dtype[Any]]


class Checkpoint(NamedTuple):
    """The contents of a checkpoint.

    Attributes:
        state: the TrainState, on the default device.
        config: the run's configuration, with `model.vocab_size`.
        vocabulary: the symbols that the tokens stand for.
        corpus: what was trained on: "source", "sha256", "length"; the SHA-256 of each of several "files".
        counters: numbers that belong to the state: "step", and what the run adds.
        computed_by: what `computed_by()` returned when the state was saved.
        file: where it was read.
    """

    state: TrainState
    config: TrainConfig
    vocabulary: Vocabulary
    corpus: dict[str, Any]
    counters: dict[str, Any]
    computed_by: dict[str, Any]
    file: Path

    @property
    def bits_per_character(self) -> float:
        """The running mean of the training loss, as `jaxrnn.runs.training_loss` describes."""
        training_loss = TrainingLoss(self.config)
        training_loss.resume(self.counters, float(self.state.smooth_loss))
        return training_loss.mean

    def __repr__(self) -> str:
        """Return the state, the settings that are in use, and the vocabulary."""
        return of_fields(self, state=self.state, config=self.config, vocabulary=self.vocabulary)


def save_checkpoint(
    path: str | Path,
    state: TrainState,
    config: TrainConfig,
    vocabulary: Vocabulary,
    *,
    corpus: Mapping[str, Any],
    counters: Mapping[str, int | float] | None = None,
    device_count: int = 1,
) -> None:
    """Write a checkpoint: wholly, or not at all.

    A checkpoint that is at `path` stays until the new one has been written, forced to the disk, read back and compared.
    `corpus` says what was trained on, by "source", "sha256" and "length"; `counters` are finite numbers to keep
    beside the step; `device_count` devices computed the state.

    Raises:
        JaxrnnError: the state or the vocabulary is not of this configuration, or what describes the run could not be
            read back.
        StorageError: the file can't be written; the message says why.
    """
    check_arguments(save_checkpoint, locals())
    path = Path(path)
    if len(vocabulary) != config.model.vocab_size:
        raise JaxrnnError(f"vocab_size is {config.model.vocab_size}, and the vocabulary has {len(vocabulary)} symbols")
    tensors = {name: np.asarray(leaf, order="C") for name, leaf in _leaves_by_name(_with_key_data(state)).items()}
    optimizer = _NO_MEMORY if config.optimizer.name == "custom" else None
    own = {name: array for name, array in tensors.items() if not (optimizer and name.startswith("opt_state."))}
    if problems := _problems(own, _template(config, optimizer, jax.random.key_impl(state.key))):
        advice = 'that of a user-defined optimizer has OptimizerConfig(name="custom")'
        raise JaxrnnError(f"the state is of another configuration: {problems[0]}; {advice}")
    tensors[_SYMBOLS] = np.frombuffer(vocabulary.symbols.encode("utf-32-le", "surrogatepass"), "<u4")
    fields = {
        "vocabulary": {name: getattr(vocabulary, name) for name in ("kind", "unknown", "encoding")},
        "corpus": dict(corpus),
        "counters": {**(counters or {}), "step": int(tensors["step"])},
        "computed_by": computed_by(device_count),
    }
    metadata = {"format": FORMAT, "config": to_json(config), "key": str(jax.random.key_impl(state.key))}
    try:
        metadata |= {name: _dump(values) for name, values in fields.items()}
    except TypeError as error:
        raise JaxrnnError(f"corpus and counters must be plain numbers and strings ({error}); convert them") from None
    metadata["sha256"] = _digest(tensors, metadata)
    data = safetensors.numpy.save(tensors, metadata)
    try:  # no reader would take it otherwise
        parse_metadata(metadata, path)
        if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
            raise JaxrnnError(f"a configuration of more than {HEADER_LIMIT:,} bytes; shorten its prompt")
    except JaxrnnError as error:
        raise JaxrnnError(f"what can't be read back is not saved: {error}") from None
    commit(path, data)


def checkpoint_size(config: TrainConfig, optimizer: Optimizer | None = None) -> int:
    """Return about how many bytes a checkpoint takes; raise JaxrnnError if the prompt is too long to be saved.

    `config` must be a configuration that its corpus has completed.
    """
    state = state_shapes(config, optimizer=optimizer)
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
    header = len(_dump(to_json(config))) + 256 * len(sizes) + 8192
    if header > HEADER_LIMIT:
        raise JaxrnnError(f"a prompt of {len(config.prompt):,} characters is too long to be saved; give a shorter one")
    return sum(sizes) + header + 4 * (config.model.vocab_size or 0)


def load_checkpoint(path: str | Path, cell: Cell | None = None, *, optimizer: Optimizer | None = None) -> Checkpoint:
    """Read a checkpoint and verify it.

    Args:
        path: a checkpoint file, or a run directory: its newest checkpoint that verifies is read, `best.safetensors`
            last of all, and a warning names those that don't verify.
        cell: the cell of a run with a user-defined cell, which no file holds.
        optimizer: the optimizer of a run with a user-defined one; without it, `state.opt_state` is empty.

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is of another cell or optimizer than the given one.
        CheckpointError: there is one, but it can't be used.
    """
    check_arguments(load_checkpoint, locals())
    return newest_good(Path(path), lambda file: read_checkpoint(file, lambda _: (cell, optimizer)))


def read_checkpoint(file: Path, prepare: Callable[[TrainConfig], tuple[Cell | None, Optimizer | None]]) -> Checkpoint:
    """Read one file as `load_checkpoint` does, for a caller that must know the configuration before JAX computes.

    `prepare` is called with the configuration, and returns the user-defined cell and optimizer.
    """
    arrays, fields = _read(file)
    config, (cell, optimizer) = fields["config"], prepare(fields["config"])
    if cell and config.model.cell != "custom":
        raise JaxrnnError(f"{file} was trained with the cell {config.model.cell}; leave yours out")
    if cell:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, cell=cell))
    state = _state(arrays, config, optimizer, file, fields.pop("key"))
    if int(state.step) != fields["counters"]["step"]:
        raise DamagedError(f"{file} is damaged (its step is {fields['counters']['step']}, its state's {state.step})")
    return Checkpoint(**{**fields, "config": config, "state": state}, file=file)


def load_fields(path: str | Path) -> dict[str, Any]:
    """Return all of a checkpoint but its state, verified as by `load_checkpoint`; its cell may be "custom"."""
    return newest_good(Path(path), lambda file: _read(file)[1])


def _read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read and verify a file; return its tensors, and the other fields of the checkpoint.

    The header is checked against the size of the file before memory is taken. Then the file is read once, not mapped:
    the data are of one file even if another takes its name meanwhile, and a bad disk is an error, not a killed process.
    """
    read_metadata(path)
    with read_errors(path):
        data = path.read_bytes()
        arrays = safetensors.numpy.load(data)
        metadata = checked(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"], path)
    if metadata["sha256"] != _digest(arrays, metadata):
        raise DamagedError(f"{path} is damaged (its SHA-256 differs)")
    fields = parse_metadata(metadata, path)
    try:
        if (_SYMBOLS in arrays) == ("symbols" in fields["vocabulary"]):
            raise ValueError("its vocabulary is invalid")
        if _SYMBOLS in arrays:  # version 0.1.0 has them in the metadata
            fields["vocabulary"]["symbols"] = arrays.pop(_SYMBOLS).tobytes().decode("utf-32-le", "surrogatepass")
        vocabulary = Vocabulary(**fields["vocabulary"])
        if len(vocabulary) != fields["config"].model.vocab_size:
            raise ValueError(f"it has {len(vocabulary)} symbols, its model {fields['config'].model.vocab_size}")
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{path} is damaged ({error})") from None
    return arrays, {**fields, "vocabulary": vocabulary, "key": metadata.get("key", "threefry2x32")}


def _state(
    arrays: Mapping[str, Array], config: TrainConfig, optimizer: Optimizer | None, path: Path, key: str
) -> TrainState:
    """Return the state of a run from the tensors of its checkpoint, which must be just those of its model.

    `key` is the implementation of its key, which may differ from JAX's default.
    """
    user_defined = config.optimizer.name == "custom"
    if optimizer and not user_defined:
        raise JaxrnnError(f"{path} was trained with the optimizer {config.optimizer.name}; leave yours out")
    if user_defined and not optimizer:
        optimizer = _NO_MEMORY
        arrays = {name: array for name, array in arrays.items() if not name.startswith("opt_state.")}
    if config.model.num_layers > len(arrays):  # before that many are laid out
        raise UnusableError(f"{path} has too few tensors for {config.model.num_layers} layers; it can't be used")
    try:
        impl = jax.random.key_impl(jax.random.key(0, impl=key))
    except ValueError:
        raise UnusableError(f"{path} has a key of the implementation {key}, which this JAX lacks") from None
    try:
        template = _template(config, optimizer, impl)
    except (TypeError, OverflowError) as error:
        raise UnusableError(f"{path} is of an impossible network ({error}); it can't be used") from None
    if problems := _problems(arrays, template):
        raise UnusableError(f"{path} is of another version, cell or optimizer: {problems[0]}")
    leaves = [jax.numpy.asarray(arrays[name]) for name in _leaves_by_name(template)]
    state = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return state._replace(key=jax.random.wrap_key_data(state.key, impl=impl))


def _template(config: TrainConfig, optimizer: Optimizer | None, impl: Any) -> TrainState:
    """Return the shapes of the state of a run."""
    return jax.eval_shape(
        lambda: _with_key_data(init_train_state(jax.random.key(0, impl=impl), config, optimizer=optimizer))
    )


def _problems(arrays: Mapping[str, Array], template: TrainState) -> list[str]:
    """Return how tensors differ from those that a run has."""
    leaves = _leaves_by_name(template)
    problems = [
        f"{name} must be {describe(leaf)}, got {describe(arrays[name]) if name in arrays else 'nothing'}"
        for name, leaf in leaves.items()
        if name not in arrays or describe(arrays[name]) != describe(leaf)
    ]
    others = sorted(arrays.keys() - leaves.keys())
    return problems + [f"it has tensors that this model lacks: {listed(others)}"] * bool(others)


def _with_key_data(state: TrainState) -> TrainState:
    """Return a state whose key is an ordinary array."""
    return state._replace(key=jax.random.key_data(state.key))


def _leaves_by_name(state: TrainState) -> dict[str, Any]:
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 over every tensor (name, type, shape, bytes) and every other field of the metadata."""
    digest = hashlib.sha256()
    digest.update(_dump({name: value for name, value in metadata.items() if name != "sha256"}).encode())
    for name, array in sorted(arrays.items()):
        digest.update(_dump([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

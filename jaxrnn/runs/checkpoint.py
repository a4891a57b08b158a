"""Checkpoints: one verified file each.

A checkpoint is a safetensors file. Its tensors are the leaves of the TrainState, named by their path
(`params.layers.0.Whh`). Its metadata, JSON strings, are the config, the vocabulary, the corpus, the counters, what
computed the state, and a SHA-256 over all of that and every tensor, which is verified on every load.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
import optax
import safetensors
import safetensors.numpy

from jaxrnn.atomic import commit
from jaxrnn.config import Cell, TrainConfig, VocabularyKind, from_json, to_json
from jaxrnn.config.fields import of_fields
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError
from jaxrnn.runs.checkpoint_files import HEADER_LIMIT, has_checkpoint_name, newest_good, read_header
from jaxrnn.runs.provenance import computed_by
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import Optimizer, TrainState, init_train_state

FORMAT = "jaxrnn-checkpoint-1"
_FIELDS = ("format", "config", "vocabulary", "corpus", "counters", "computed_by")
_CORPUS = {"source": str, "sha256": str, "length": int}

Array = np.ndarray[Any, np.dtype[Any]]


class Checkpoint(NamedTuple):
    """The contents of a checkpoint.

    Attributes:
        state: the TrainState, on the default device.
        config: the run's configuration, with `model.vocab_size`.
        vocabulary: the symbols that the tokens stand for.
        corpus: what was trained on: "source", "sha256", "length".
        counters: numbers that belong to the state: "step", and what the run adds.
        computed_by: what `computed_by()` returned when the state was saved.
    """

    state: TrainState
    config: TrainConfig
    vocabulary: Vocabulary
    corpus: dict[str, Any]
    counters: dict[str, Any]
    computed_by: dict[str, Any]

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

    The bytes are written to a temporary file in the same directory, forced to the disk, read back and compared; then
    the file takes the name `path`. A checkpoint that was there before stays until that moment.

    Args:
        path: the file; its directory must exist.
        state: the state to save; it is copied to the host and otherwise untouched.
        config: the run's configuration.
        vocabulary: the symbols.
        corpus: what was trained on: "source", "sha256", "length".
        counters: numbers to keep beside the step, finite and not negative.
        device_count: how many devices computed the state.

    Raises:
        JaxrnnError: the vocabulary is not of the model's size, or takes more than about a megabyte.
        StorageError: the file can't be written; the message says why.
    """
    path = Path(path)
    if len(vocabulary) != config.model.vocab_size:
        raise JaxrnnError(f"vocab_size is {config.model.vocab_size}, and the vocabulary has {len(vocabulary)} symbols")
    tensors = _named_leaves(state)
    metadata = {
        "format": FORMAT,
        "config": to_json(config),
        "vocabulary": _dump(dataclasses.asdict(vocabulary)),
        "corpus": _dump(dict(corpus)),
        "counters": _dump({**(counters or {}), "step": int(tensors["step"])}),
        "computed_by": _dump(computed_by(device_count)),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    data = safetensors.numpy.save(tensors, metadata)
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:  # no reader would take it
        raise JaxrnnError(f"a vocabulary of {len(vocabulary):,} symbols does not fit into a checkpoint; use min_count")
    commit(path, data)


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
    return read_checkpoint(Path(path), lambda _: cell, optimizer)


def read_checkpoint(
    path: Path, prepare: Callable[[TrainConfig], Cell | None], optimizer: Optimizer | None = None
) -> Checkpoint:
    """Do what `load_checkpoint` does, for a caller that must know the configuration before JAX computes anything.

    Args:
        path: as for `load_checkpoint`.
        prepare: is called with the configuration and returns the cell.
        optimizer: as for `load_checkpoint`.
    """

    def read(path: Path) -> Checkpoint:
        arrays, fields = _read(path)
        config = _with_cell(fields["config"], prepare(fields["config"]), path)
        return Checkpoint(**{**fields, "config": config, "state": _state(arrays, config, optimizer, path)})

    return newest_good(path, read)


def load_config(path: str | Path, cell: Cell | None = None) -> TrainConfig:
    """Return the configuration in a checkpoint after verifying all of it.

    Where the run has a user-defined cell, `cell` is put back into the configuration; without it, it says "custom".

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is of another cell than the given one.
        CheckpointError: there is one, but it can't be used.
    """
    return newest_good(Path(path), lambda path: _with_cell(_read(path)[1]["config"], cell, path))


def _read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read and verify a file; return its tensors, and the other fields of the checkpoint.

    The header is checked against the size of the file before memory is taken. Then the file is read once, not mapped:
    what is read belongs together whatever takes its name meanwhile, and a bad disk is an error, not a killed process.
    """
    try:
        read_header(path)
        data = path.read_bytes()
        arrays = safetensors.numpy.load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if metadata.get("format") != FORMAT or not metadata.keys() >= {*_FIELDS}:
            raise ValueError("a safetensors file, but not one that this version of the program wrote")
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror or error})") from None
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        if has_checkpoint_name(path):
            raise DamagedError(f"{path} is damaged ({error})") from None
        raise JaxrnnError(f"{path} is not a checkpoint ({error}); give a run directory of `jaxrnn train`") from None
    if metadata.get("sha256") != _digest(arrays, metadata):
        raise DamagedError(f"{path} is damaged (its SHA-256 differs)")
    return arrays, _parse(metadata, path)


def _parse(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the fields of a checkpoint that its metadata hold."""
    try:
        config = from_json(TrainConfig, metadata["config"])
        fields = {name: json.loads(metadata[name]) for name in ("vocabulary", "corpus", "counters", "computed_by")}
        _, corpus, counters, computed_by = fields.values()
        vocabulary = Vocabulary(**fields["vocabulary"])
        valid = (
            (isinstance(vocabulary.symbols, str) and type(vocabulary.unknown) is bool)
            and vocabulary.kind in get_args(VocabularyKind)
            and len(vocabulary) == config.model.vocab_size
            and {name: type(value) for name, value in corpus.items()} == _CORPUS
            and all(type(value) in (int, float) and 0 <= value < math.inf for value in counters.values())
            and type(counters["step"]) is int
            and all(isinstance(value, (str, int)) for value in computed_by.values())
        )
    except JaxrnnError as error:
        raise CheckpointError(f"{path} is of another version ({error}); it can't be used") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        valid = False
    if not valid:
        raise CheckpointError(f"{path} can't be used: its metadata are not those of a checkpoint")
    return {**fields, "config": config, "vocabulary": vocabulary}


def _with_cell(config: TrainConfig, cell: Cell | None, path: Path) -> TrainConfig:
    if cell is None:
        return config
    if config.model.cell != "custom":
        raise JaxrnnError(f"{path} was trained with the cell {config.model.cell}; leave yours out")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, cell=cell))


def _state(arrays: Mapping[str, Array], config: TrainConfig, optimizer: Optimizer | None, path: Path) -> TrainState:
    """Return the state of a run from the tensors of its checkpoint, which must be just those of its model."""
    if config.model.cell == "custom":
        raise JaxrnnError(
            f"{path} was trained with a user-defined cell, which no file holds; hand it over again: "
            "load_checkpoint(path, cell=CELL), fit with ModelConfig(cell=CELL), or --cell FILE.py:NAME"
        )
    user_defined = config.optimizer.name == "custom"
    if optimizer and not user_defined:
        raise JaxrnnError(f"{path} was trained with the optimizer {config.optimizer.name}; leave yours out")
    if user_defined and not optimizer:
        optimizer = optax.identity()
        arrays = {name: array for name, array in arrays.items() if not name.startswith("opt_state.")}
    if config.model.num_layers > len(arrays):  # before that many are laid out
        raise CheckpointError(f"{path} has too few tensors for {config.model.num_layers} layers; it can't be used")
    try:
        template = init_train_state.eval_shape(jax.random.key(0), config, optimizer=optimizer)
    except (TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} is of an impossible network ({error}); it can't be used") from None
    names = _names(template)

    def read(expected: jax.ShapeDtypeStruct, name: str) -> jax.Array:
        spec = jax.eval_shape(jax.random.key_data, expected) if _is_key(expected) else expected
        array = arrays.get(name)
        if array is None or array.shape != spec.shape or array.dtype != spec.dtype:
            got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise CheckpointError(f"{path}: {name} must be {spec.dtype}{list(spec.shape)}, got {got}; it can't be used")
        leaf = jax.numpy.asarray(array)
        return jax.random.wrap_key_data(leaf) if _is_key(expected) else leaf

    state = jax.tree.map(read, template, names)
    if extra := sorted(arrays.keys() - set(jax.tree.leaves(names))):
        raise CheckpointError(f"{path} has tensors that this model lacks: {', '.join(extra[:5])}; it can't be used")
    return state


def _is_key(leaf: jax.ShapeDtypeStruct) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _names(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="."), tree
    )


def _named_leaves(state: TrainState) -> dict[str, Array]:
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = (np.asarray(leaf, order="C") for leaf in jax.tree.leaves(state))
    return dict(zip(jax.tree.leaves(_names(state)), leaves, strict=True))


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 over every tensor (name, type, shape, bytes) and every other field of the metadata."""
    digest = hashlib.sha256()
    digest.update(_dump({field: metadata[field] for field in _FIELDS}).encode())
    for name, array in sorted(arrays.items()):
        digest.update(_dump([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

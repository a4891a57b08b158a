"""Checkpoints: one verified file each.

A checkpoint is a safetensors file. Its tensors are the leaves of the TrainState, named by their path
(`params.layers.0.Whh`). Its metadata, JSON strings, are the config, the vocabulary, the corpus, the counters, what
computed the state, and a SHA-256 over all of that and every tensor, which is verified on every load.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
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
from jaxrnn.config.fields import check_arguments, describe, of_fields
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError
from jaxrnn.runs.checkpoint_files import HEADER_LIMIT, has_checkpoint_name, newest_good, read_header
from jaxrnn.runs.training_loss import TrainingLoss
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import Optimizer, TrainState, init_train_state

_VERSION = importlib.metadata.version("jaxrnn")
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
        JaxrnnError: the vocabulary is not of the model's size, or takes more than about a megabyte.
        StorageError: the file can't be written; the message says why.
    """
    check_arguments(save_checkpoint, locals())
    path = Path(path)
    if len(vocabulary) != config.model.vocab_size:
        raise JaxrnnError(f"vocab_size is {config.model.vocab_size}, and the vocabulary has {len(vocabulary)} symbols")
    tensors = {name: np.asarray(leaf, order="C") for name, leaf in _leaves_by_name(_with_key_data(state)).items()}
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
    check_arguments(load_checkpoint, locals())
    return newest_good(Path(path), lambda file: read_checkpoint(file, lambda _: cell, optimizer))


def read_checkpoint(
    file: Path, prepare: Callable[[TrainConfig], Cell | None], optimizer: Optimizer | None = None
) -> Checkpoint:
    """Read one file as `load_checkpoint` does, for a caller that must know the configuration before JAX computes.

    `prepare` is called with the configuration, and returns the cell.
    """
    arrays, fields = _read(file)
    config, cell = fields["config"], prepare(fields["config"])
    if cell and config.model.cell != "custom":
        raise JaxrnnError(f"{file} was trained with the cell {config.model.cell}; leave yours out")
    if cell:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, cell=cell))
    return Checkpoint(**{**fields, "config": config, "state": _state(arrays, config, optimizer, file)}, file=file)


def load_config(path: str | Path) -> TrainConfig:
    """Return the configuration in a checkpoint, verified as by `load_checkpoint`; the cell may be "custom"."""
    return newest_good(Path(path), lambda path: _read(path)[1]["config"])


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
            and all(type(value) in (int, float) and math.isfinite(value) for value in counters.values())
            and type(counters["step"]) is int
            and counters["step"] >= 0
            and all(isinstance(value, (str, int)) for value in computed_by.values())
        )
    except JaxrnnError as error:
        raise CheckpointError(f"{path} is of another version ({error}); it can't be used") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        valid = False
    if not valid:
        raise CheckpointError(f"{path} can't be used: its metadata are not those of a checkpoint")
    return {**fields, "config": config, "vocabulary": vocabulary}


def _state(arrays: Mapping[str, Array], config: TrainConfig, optimizer: Optimizer | None, path: Path) -> TrainState:
    """Return the state of a run from the tensors of its checkpoint, which must be just those of its model."""
    user_defined = config.optimizer.name == "custom"
    if optimizer and not user_defined:
        raise JaxrnnError(f"{path} was trained with the optimizer {config.optimizer.name}; leave yours out")
    if user_defined and not optimizer:
        optimizer = optax.identity()
        arrays = {name: array for name, array in arrays.items() if not name.startswith("opt_state.")}
    if config.model.num_layers > len(arrays):  # before that many are laid out
        raise CheckpointError(f"{path} has too few tensors for {config.model.num_layers} layers; it can't be used")
    try:
        template = jax.eval_shape(
            lambda: _with_key_data(init_train_state(jax.random.key(0), config, optimizer=optimizer))
        )
    except (TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} is of an impossible network ({error}); it can't be used") from None
    leaves = _leaves_by_name(template)
    for name, leaf in leaves.items():
        array = arrays.get(name)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            got = "nothing" if array is None else describe(array)
            raise CheckpointError(f"{path}: {name} must be {describe(leaf)}, got {got}; it can't be used")
    if extra := sorted(arrays.keys() - leaves.keys()):
        raise CheckpointError(f"{path} has tensors that this model lacks: {', '.join(extra[:5])}; it can't be used")
    state = jax.tree.unflatten(jax.tree.structure(template), [jax.numpy.asarray(arrays[name]) for name in leaves])
    return state._replace(key=jax.random.wrap_key_data(state.key))


def _with_key_data(state: TrainState) -> TrainState:
    """Return a state whose key is an ordinary array."""
    return state._replace(key=jax.random.key_data(state.key))


def _leaves_by_name(state: TrainState) -> dict[str, Any]:
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


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


def computed_by(device_count: int = 1) -> dict[str, Any]:
    """Return what computes here: versions, devices, processor, flags.

    A run that is resumed on the same is bit-identical to an uninterrupted one.
    """
    device = jax.devices()[0]
    return {
        "jaxrnn": _VERSION,
        "jax": jax.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "device_count": device_count,
        # XLA compiles for the instructions of this processor, and as the flags say.
        **({"processor": _processor()} if device.platform == "cpu" else {}),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def describe_computer(computed_by: Mapping[str, object]) -> str:
    """Describe what computed a checkpoint; version 0.1.0 left some of it out."""
    processor = f" ({computed_by['processor']})" if "processor" in computed_by else ""
    flags = f", XLA_FLAGS {computed_by['xla_flags'] or 'empty'}" if "xla_flags" in computed_by else ""
    versions = f"jaxrnn {computed_by.get('jaxrnn', '0.1.0')}, jax {computed_by['jax']}"
    return f"{computed_by.get('device_count', 1)} x {computed_by['device']}{processor}, {versions}{flags}"

"""One verified file a checkpoint.

A checkpoint is a safetensors file. Its tensors are the leaves of the TrainState, named by their path
(`params.layers.0.Whh`); its metadata, JSON strings, are the config, the vocabulary, the corpus, the counters, what
computed it, and a SHA-256 over all of that and every tensor, checked on every load.
"""

import dataclasses
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy

from jaxrnn.config import CellLike, TrainConfig, from_json, to_json
from jaxrnn.errors import CheckpointError, JaxrnnError
from jaxrnn.files import commit
from jaxrnn.text import Vocabulary
from jaxrnn.training import TrainState, init_train_state

FORMAT = "jaxrnn-checkpoint-1"
_FIELDS = ("format", "config", "vocabulary", "corpus", "counters", "computed_by")
_NAME = re.compile(r"step-(\d{10})\.safetensors")
_BEST = "best.safetensors"

Array = np.ndarray[Any, np.dtype[Any]]


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        state: the TrainState, on the default device.
        config: the run's configuration, `model.vocab_size` set.
        vocabulary: the symbols that the tokens stand for.
        corpus: what was trained on: "source", "sha256", "length".
        counters: numbers that belong to the step: "step", and what the run adds.
        computed_by: versions and device that computed the state.
    """

    state: TrainState
    config: TrainConfig
    vocabulary: Vocabulary
    corpus: dict[str, Any]
    counters: dict[str, Any]
    computed_by: dict[str, Any]


def checkpoint_path(directory: Path, step: int) -> Path:
    """Return the file in `directory` for the checkpoint after `step` steps."""
    return directory / f"step-{step:010d}.safetensors"


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint files in `directory`, the newest (the one with most steps) first."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def best_checkpoint_path(directory: Path) -> Path:
    """Return the file in `directory` for the checkpoint with the lowest validation loss."""
    return directory / _BEST


def find_checkpoint(run: Path, which: str) -> Path:
    """Return what `load_checkpoint` is to read: of a run directory the "last" checkpoint, the "best", or a step's.

    Raises:
        JaxrnnError: there is no such checkpoint; the message lists what there is.
    """
    if which == "last":
        return run
    if not run.is_dir():
        raise JaxrnnError(f"{run} is no run directory, of which {which!r} could be chosen; leave that out")
    directory = run / "checkpoints"
    if which == "best":
        path = best_checkpoint_path(directory)
    elif which.isascii() and which.isdigit():
        path = checkpoint_path(directory, int(which))
    else:
        raise JaxrnnError(f"a checkpoint is best, last or a step, got {which!r}")
    if not path.is_file():
        steps = [str(int(file.stem.removeprefix("step-"))) for file in reversed(list_checkpoints(directory))]
        best = ["best"] if best_checkpoint_path(directory).is_file() else []
        there = ", ".join([*steps, *best]) or "none"
        raise JaxrnnError(f"{run} has no checkpoint {which!r}; there is {there}")
    return path


def save_checkpoint(
    path: str | Path,
    state: TrainState,
    config: TrainConfig,
    vocabulary: Vocabulary,
    *,
    corpus: Mapping[str, Any],
    counters: Mapping[str, int | float] | None = None,
) -> None:
    """Write a checkpoint: wholly, or not at all.

    The bytes go to a temporary name in the same directory, are forced to the disk, read back and compared, and only
    then take the name `path`; a checkpoint that was there before stays until that moment.

    Args:
        path: the file; its directory must exist.
        state: what to save; it is copied to the host and otherwise untouched.
        config: the run's configuration.
        vocabulary: the symbols.
        corpus: what was trained on, for a person and for `--resume` to compare.
        counters: numbers to keep beside the step.

    Raises:
        StorageError: the file can't be written; the message says why.
    """
    path = Path(path)
    tensors = _named_leaves(state)
    metadata = {
        "format": FORMAT,
        "config": to_json(config),
        "vocabulary": _dump(dataclasses.asdict(vocabulary)),
        "corpus": _dump(dict(corpus)),
        "counters": _dump({**(counters or {}), "step": int(tensors["step"])}),
        "computed_by": _dump(_computed_by()),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    commit(path, safetensors.numpy.save(tensors, metadata))


def load_checkpoint(path: str | Path, cell: CellLike | None = None) -> Checkpoint:
    """Read a checkpoint and verify it.

    Args:
        path: a checkpoint file, or a run directory: of its checkpoints the newest that verifies is taken, and a warning
            names those that did not.
        cell: the cell of a run that had one of the user's own, which no file holds.

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is for another cell than was given.
        CheckpointError: there is one, but it is damaged.
    """
    path, metadata, tensors = _newest_good(Path(path))
    config = _config(path, metadata, cell)
    if config.model.cell == "custom":
        raise JaxrnnError(
            f"{path} was trained with a cell of the user's own, which no file holds; hand it over again: "
            "load_checkpoint(path, cell=MINE), fit with ModelConfig(cell=MINE), or --cell FILE.py:NAME"
        )
    template = jax.eval_shape(lambda: init_train_state(jax.random.key(0), config))
    return Checkpoint(
        _restore(template, tensors, path),
        config,
        Vocabulary(**json.loads(metadata["vocabulary"])),
        json.loads(metadata["corpus"]),
        json.loads(metadata["counters"]),
        json.loads(metadata["computed_by"]),
    )


def load_config(path: str | Path, cell: CellLike | None = None) -> TrainConfig:
    """Return the configuration in a checkpoint: some of it (float64) must be known before JAX computes.

    Where a run had a cell of the user's own, `cell` is put back into it; without one it says "custom".

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is for another cell than was given.
        CheckpointError: there is one, but it is damaged.
    """
    path, metadata, _ = _newest_good(Path(path))
    return _config(path, metadata, cell)


def _config(path: Path, metadata: dict[str, str], cell: CellLike | None) -> TrainConfig:
    config = from_json(TrainConfig, metadata["config"])
    if cell is None:
        return config
    if config.model.cell != "custom":
        raise JaxrnnError(f"{path} was trained with the cell {config.model.cell}, not with one of yours; leave it out")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, cell=cell))


def _newest_good(path: Path) -> tuple[Path, dict[str, str], dict[str, Array]]:
    """Return the file that a path means and what it holds: itself, or the newest in a run directory that verifies."""
    if path.is_file():
        return path, *_read(path)
    if not path.is_dir():
        raise JaxrnnError(f"no such run: {path}; give the run directory that `jaxrnn train` made")
    files = list_checkpoints(path / "checkpoints")
    if not files:
        raise JaxrnnError(f"{path} holds no checkpoint; give the run directory that `jaxrnn train` made")
    errors = []
    for file in files:
        try:
            found = _read(file)
        except CheckpointError as error:
            errors.append(str(error))
            continue
        for reason in errors:
            warnings.warn(f"{reason}; using {file.name} instead", stacklevel=1)
        return file, *found
    raise CheckpointError(f"{errors[0]}; no other checkpoint in {path} can be used")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Return metadata and tensors of a file; one that never was a checkpoint is a mistake in the command, no damage."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or any(field not in metadata for field in _FIELDS):
                raise TypeError("a safetensors file, but not one that this version of the program wrote")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        if _NAME.fullmatch(path.name) or path.name == _BEST:
            raise CheckpointError(f"{path} is damaged ({error})") from None
        raise JaxrnnError(f"{path} is not a checkpoint ({error}); give a run directory of `jaxrnn train`") from None
    if metadata.get("sha256") != _digest(tensors, metadata):
        raise CheckpointError(f"{path} is damaged (its SHA-256 differs)")
    return metadata, tensors


def _restore(template: TrainState, tensors: dict[str, Array], path: Path) -> TrainState:
    """Put tensors into the places of a state, after checking that they are just what belongs there."""

    def leaf(expected: jax.ShapeDtypeStruct, name: str) -> jax.Array:
        is_key = jax.numpy.issubdtype(expected.dtype, jax.dtypes.prng_key)
        spec = jax.eval_shape(jax.random.key_data, expected) if is_key else expected
        found = tensors.pop(name, None)
        if found is None or found.shape != spec.shape or found.dtype != spec.dtype:
            got = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise CheckpointError(f"{path}: {name} must be {spec.dtype}{list(spec.shape)}, got {got}; it can't be used")
        array = jax.numpy.asarray(found)
        return jax.random.wrap_key_data(array) if is_key else array

    tensors = dict(tensors)
    state = jax.tree.map(leaf, template, _names(template))
    if tensors:
        raise CheckpointError(f"{path} holds what this model has no place for: {', '.join(tensors)}; it can't be used")
    return state


def _names(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="."), tree
    )


def _named_leaves(state: TrainState) -> dict[str, Array]:
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = (np.asarray(leaf, order="C") for leaf in jax.tree.leaves(state))
    return dict(zip(jax.tree.leaves(_names(state)), leaves, strict=True))


def _digest(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 over every tensor (name, type, shape, bytes) and every other field of the metadata."""
    digest = hashlib.sha256()
    digest.update(_dump({field: metadata[field] for field in _FIELDS}).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(_dump([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _computed_by() -> dict[str, Any]:
    device = jax.devices()[0]
    return {"jax": jax.__version__, "device": device.device_kind, "platform": device.platform}

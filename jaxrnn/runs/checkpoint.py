"""One verified file a checkpoint.

A checkpoint is a safetensors file. Its tensors are the leaves of the TrainState, named by their path
(`params.layers.0.Whh`); its metadata, JSON strings, are the config, the vocabulary, the corpus, the counters, what
computed it, and a SHA-256 over all of that and every tensor, checked on every load.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
import safetensors.numpy

from jaxrnn.atomic import commit
from jaxrnn.config import CellLike, TrainConfig, VocabularyKind, from_json, to_json
from jaxrnn.config.reprs import of_fields
from jaxrnn.errors import CheckpointError, JaxrnnError
from jaxrnn.runs.checkpoint_files import has_checkpoint_name, newest_good
from jaxrnn.runs.provenance import computed_by
from jaxrnn.runs.tensor_file import HEADER_LIMIT, Array, Tensor, TensorFile
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import TrainState, init_train_state

FORMAT = "jaxrnn-checkpoint-1"
_FIELDS = ("format", "config", "vocabulary", "corpus", "counters", "computed_by")
_CORPUS = {"source": str, "sha256": str, "length": int}


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        state: the TrainState, on the default device.
        config: the run's configuration, `model.vocab_size` set.
        vocabulary: the symbols that the tokens stand for.
        corpus: what was trained on: "source", "sha256", "length".
        counters: numbers that belong to the step: "step", and what the run adds.
        computed_by: what `provenance.computed_by` said when the state was saved.
    """

    state: TrainState
    config: TrainConfig
    vocabulary: Vocabulary
    corpus: dict[str, Any]
    counters: dict[str, Any]
    computed_by: dict[str, Any]

    def __repr__(self) -> str:
        """Give what is in use."""
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

    The bytes go to a temporary name in the same directory, are forced to the disk, read back and compared, and only
    then take the name `path`; a checkpoint that was there before stays until that moment.

    Args:
        path: the file; its directory must exist.
        state: what to save; it is copied to the host and otherwise untouched.
        config: the run's configuration.
        vocabulary: the symbols.
        corpus: what was trained on: "source", "sha256", "length"; for a person and for `--resume` to compare.
        counters: numbers to keep beside the step, finite and not negative.
        device_count: the devices that computed it, for a resumed run to know whether it has the same; nothing else in
            the file depends on it.

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
    metadata["sha256"] = _digest(_contents(tensors), metadata)
    data = safetensors.numpy.save(tensors, metadata)
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:  # what would be refused when it is read
        raise JaxrnnError(f"a vocabulary of {len(vocabulary):,} symbols does not fit into a checkpoint; use min_count")
    commit(path, data)


def load_checkpoint(path: str | Path, cell: CellLike | None = None) -> Checkpoint:
    """Read a checkpoint and verify it.

    Args:
        path: a checkpoint file, or a run directory: of its checkpoints the newest that verifies is taken, the best one
            last of all, and a warning names those that did not.
        cell: the cell of a run that had one of the user's own, which no file holds.

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is for another cell than was given.
        CheckpointError: there is one, but it is damaged.
    """
    return read_checkpoint(Path(path), lambda _: cell)


def read_checkpoint(path: Path, prepare: Callable[[TrainConfig], CellLike | None]) -> Checkpoint:
    """Do what `load_checkpoint` does, for a caller who has to know the configuration before JAX computes anything.

    Args:
        path: as there.
        prepare: is given the configuration, of a file that is not verified yet, and returns the cell.
    """

    def read(file: Path) -> Checkpoint:
        with _opened(file) as opened:
            return _load(opened, prepare)

    return newest_good(path, read)


def load_config(path: str | Path, cell: CellLike | None = None) -> TrainConfig:
    """Return the configuration in a checkpoint, after all of it was verified; memory: a few megabytes.

    Where a run had a cell of the user's own, `cell` is put back into it; without one it says "custom".

    Raises:
        JaxrnnError: there is no checkpoint at `path`, or it is for another cell than was given.
        CheckpointError: there is one, but it is damaged.
    """

    def read(file: Path) -> TrainConfig:
        with _opened(file) as opened:
            _check_file(opened)
            return _with_cell(_described(opened)[0], cell, file)

    return newest_good(Path(path), read)


def _load(file: TensorFile, prepare: Callable[[TrainConfig], CellLike | None]) -> Checkpoint:
    path, (config, vocabulary, corpus, counters, computed_by) = file.path, _described(file)
    config = _with_cell(config, prepare(config), path)
    if config.model.cell == "custom":
        raise JaxrnnError(
            f"{path} was trained with a cell of the user's own, which no file holds; hand it over again: "
            "load_checkpoint(path, cell=MINE), fit with ModelConfig(cell=MINE), or --cell FILE.py:NAME"
        )
    if config.model.num_layers > len(file.tensors):  # before so many are laid out
        raise CheckpointError(f"{path} has too few tensors for {config.model.num_layers} layers; it can't be used")
    try:
        template = init_train_state.eval_shape(jax.random.key(0), config)
    except (TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} is for a network that can't be ({error})") from None
    _check_places(template, file)
    try:
        tensors = {name: file.read(tensor) for name, tensor in file.tensors.items()}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read ({error})") from None
    _check_digest(file, _digest(_contents(tensors), file.metadata))

    def leaf(expected: jax.ShapeDtypeStruct, name: str) -> jax.Array:
        array = jax.numpy.asarray(tensors[name])
        return jax.random.wrap_key_data(array) if _is_key(expected) else array

    state = jax.tree.map(leaf, template, _names(template))
    return Checkpoint(state, config, vocabulary, corpus, counters, computed_by)


def _with_cell(config: TrainConfig, cell: CellLike | None, path: Path) -> TrainConfig:
    if cell is None:
        return config
    if config.model.cell != "custom":
        raise JaxrnnError(f"{path} was trained with the cell {config.model.cell}, not with one of yours; leave it out")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, cell=cell))


def _opened(path: Path) -> TensorFile:
    """Open a checkpoint's file; one that never was a checkpoint is a mistake in the command, no damage."""
    try:
        file = TensorFile(path)
        if file.metadata.get("format") != FORMAT or any(field not in file.metadata for field in _FIELDS):
            file.close()
            raise ValueError("a safetensors file, but not one that this version of the program wrote")
    except (OSError, ValueError) as error:
        if has_checkpoint_name(path):
            raise CheckpointError(f"{path} is damaged ({error})") from None
        raise JaxrnnError(f"{path} is not a checkpoint ({error}); give a run directory of `jaxrnn train`") from None
    return file


def _described(file: TensorFile) -> tuple[TrainConfig, Vocabulary, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parse the metadata, in the order of Checkpoint; they are what they should be, or an error."""
    try:
        config = from_json(TrainConfig, file.metadata["config"])
        fields = ("vocabulary", "corpus", "counters", "computed_by")
        values = [json.loads(file.metadata[field]) for field in fields]
        vocabulary = Vocabulary(**values[0])
        _, corpus, counters, computed_by = values
        wrong = not (
            (isinstance(vocabulary.symbols, str) and type(vocabulary.unknown) is bool)
            and vocabulary.kind in get_args(VocabularyKind)
            and len(vocabulary) == config.model.vocab_size
            and {name: type(value) for name, value in corpus.items()} == _CORPUS
            and all(type(value) in (int, float) and 0 <= value < math.inf for value in counters.values())
            and type(counters["step"]) is int
            and all(isinstance(value, (str, int)) for value in computed_by.values())
        )
    except JaxrnnError as error:
        _check_file(file)  # says what is behind it, if it is mere damage
        raise CheckpointError(f"{file.path} is damaged, or of another version ({error})") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        wrong = True
    if wrong:
        _check_file(file)
        raise CheckpointError(f"{file.path} is damaged (its metadata are not what they should be)")
    return config, vocabulary, corpus, counters, computed_by


def _check_file(file: TensorFile) -> None:
    """Verify the SHA-256 of a file, of whose tensors no more than a megabyte is in memory at a time."""
    try:
        tensors = ((name, tensor, file.blocks(tensor)) for name, tensor in file.tensors.items())
        _check_digest(file, _digest(tensors, file.metadata))
    except OSError as error:
        raise CheckpointError(f"{file.path} can't be read ({error.strerror or error})") from None


def _check_digest(file: TensorFile, digest: str) -> None:
    if file.metadata.get("sha256") != digest:
        raise CheckpointError(f"{file.path} is damaged (its SHA-256 differs)")


def _check_places(template: TrainState, file: TensorFile) -> None:
    """Check that the tensors in a file are just what belongs into a state."""
    path, left = file.path, dict(file.tensors)
    for expected, name in zip(jax.tree.leaves(template), jax.tree.leaves(_names(template)), strict=True):
        spec = jax.eval_shape(jax.random.key_data, expected) if _is_key(expected) else expected
        found = left.pop(name, None)
        if found is None or found.shape != spec.shape or found.dtype != spec.dtype:
            got = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise CheckpointError(f"{path}: {name} must be {spec.dtype}{list(spec.shape)}, got {got}; it can't be used")
    if left:
        some = ", ".join(list(left)[:5])
        raise CheckpointError(f"{path} holds what this model has no place for: {some}; it can't be used")


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


def _contents(tensors: Mapping[str, Array]) -> Iterator[tuple[str, Array, list[Array]]]:
    for name, array in tensors.items():
        yield name, array, [np.ascontiguousarray(array).reshape(-1).view(np.uint8)]


def _digest(tensors: Iterable[tuple[str, Array | Tensor, Iterable[Any]]], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 over every tensor (name, type, shape, bytes) and every other field of the metadata."""
    digest = hashlib.sha256()
    digest.update(_dump({field: metadata[field] for field in _FIELDS}).encode())
    for name, tensor, blocks in sorted(tensors, key=lambda entry: entry[0]):
        digest.update(_dump([name, str(tensor.dtype), list(tensor.shape)]).encode())
        for block in blocks:
            digest.update(block)
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

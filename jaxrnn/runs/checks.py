"""What is checked before a run begins or resumes, so that nothing is changed if it can't."""

import contextlib
import dataclasses
import operator
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.config import TEXT_RULES, Cell, ModelConfig, TrainConfig, with_settings
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError, StorageError, counted
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.runs.checkpoint import checkpoint_size
from jaxrnn.runs.checkpoint_files import all_checkpoints
from jaxrnn.runs.header import best_is_newest, parse_metadata, read_metadata
from jaxrnn.runs.lock import write_errors
from jaxrnn.runs.run import Run
from jaxrnn.training.step import state_shapes, train_step

_SAME = (  # settings that a run keeps
    *(*TEXT_RULES, "split", "reset_on"),
    *(f"model.{field.name}" for field in dataclasses.fields(ModelConfig)),
    *("sequence_length", "batch_size", "seed", "average_decay", "parent"),
    *("optimizer.name", "optimizer.schedule", "optimizer.warmup_steps"),  # they shape its state
)


def check_resume(run_dir: object, resume: bool, overwrite: bool) -> None:
    """Raise JaxrnnError if a run is to be resumed without a directory, or resumed and overwritten at once."""
    if resume and run_dir is None:
        raise JaxrnnError("resume needs run_dir, the directory to resume from")
    if resume and overwrite:
        raise JaxrnnError("resume continues what is in run_dir, and overwrite replaces it; give one of them")


def check_step(run: Run) -> None:
    """Raise JaxrnnError if a training step with a user-defined loss or optimizer fails on shapes."""
    if run.loss is cross_entropy and run.optimizer is None:
        return
    step = partial(train_step, config=run.config, loss=run.loss, optimizer=run.optimizer)
    batch = jax.tree.map(operator.itemgetter(0), run.batches(0, 1))
    state = state_shapes(run.config, optimizer=run.optimizer)
    try:
        after, _ = jax.eval_shape(step, state, batch)
    except JaxrnnError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise JaxrnnError(f"a training step with this loss and optimizer fails with {reason}") from error
    if jax.tree.map(jnp.shape, after) != jax.tree.map(jnp.shape, state):
        raise JaxrnnError(f"with this loss and optimizer a training step makes {after} of {state}; keep all shapes")


def check_room(path: Path, runs: Sequence[Run], replaced: Iterable[Path] = ()) -> None:
    """Raise StorageError if the disk lacks room for a checkpoint of each run, and one more while it is written.

    The space that the checkpoints of the run directories in `replaced` take counts as free.
    """
    sizes = [checkpoint_size(run.config, run.optimizer) for run in runs]
    with write_errors(path):
        place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
        needed, (total, _, free) = sum(sizes) + max(sizes), shutil.disk_usage(place)
    free += sum(file.lstat().st_size for run_dir in replaced for file in all_checkpoints(run_dir))
    if free < needed and total:  # some file systems don't say what they have
        raise StorageError(
            f"{path} needs {needed:,} bytes for checkpoints, and its disk has {free:,} left; make room there, or "
            "choose another --run-dir"
        )


def check_resumable(path: Path, run: Run, config: TrainConfig, corpus: Mapping[str, object]) -> None:
    """Raise JaxrnnError if a run can't continue a checkpoint of this configuration and corpus."""
    if corpus["sha256"] != run.corpus.sha256:
        raise JaxrnnError(
            f"{path} was trained on a text with SHA-256 {corpus['sha256']}, and that of {run.corpus.name} is "
            f"{run.corpus.sha256}; resume it on the same text, or begin another run"
        )
    for name in _SAME:
        old, new = map(operator.attrgetter(name), (config, run.config))
        if old != new:
            raise JaxrnnError(
                f"{path} was trained with {name} {old!r}, not {new!r}; "
                "resume it with the same setting, or begin another run"
            )


def check_steps(path: Path, steps: int, advice: str = "") -> None:
    """Raise JaxrnnError if a run has done more than `steps` steps; call it before making a schedule of so few."""
    with contextlib.suppress(CheckpointError):  # said in full when the run directory is opened
        fields = _newest_fields(path)
        if fields and steps < (done := fields["counters"]["step"]):
            raise JaxrnnError(
                f"{path} has done {counted(done, 'steps')}, more than {steps:,}; "
                f"{advice or f'resume it with --steps {done} or more'}"
            )


def check_member(path: Path, run: Run) -> None:
    """Raise JaxrnnError if the run of a sweep can't continue its newest checkpoint."""
    if fields := _newest_fields(path):
        config, cell = fields["config"], run.config.model.cell
        if config.model.cell == "custom" and isinstance(cell, Cell):
            config = with_settings(config, {"cell": cell})
        check_resumable(path, run, config, fields["corpus"])


def _newest_fields(path: Path) -> dict[str, Any] | None:
    """Return the header fields of a run's newest checkpoint that is not damaged; None if there is none."""
    files = all_checkpoints(path)
    for file in files[::-1] if best_is_newest(path) else files:
        with contextlib.suppress(DamagedError):
            return parse_metadata(read_metadata(file)[0], file)
    return None

"""What is checked before a run begins or resumes, so that nothing is changed if it can't."""

import dataclasses
import operator
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxrnn.config import TEXT_RULES, Cell, ModelConfig, TrainConfig, with_settings
from jaxrnn.errors import DamagedError, JaxrnnError, StorageError
from jaxrnn.runs.checkpoint import checkpoint_size
from jaxrnn.runs.checkpoint_files import all_checkpoints
from jaxrnn.runs.header import parse, read_metadata
from jaxrnn.runs.lock import write_errors
from jaxrnn.runs.run import Run

_SAME = (  # settings that a run keeps
    *(*TEXT_RULES, "split", "reset_on"),
    *(f"model.{field.name}" for field in dataclasses.fields(ModelConfig)),
    *("sequence_length", "batch_size", "seed", "average_decay"),
    *("optimizer.name", "optimizer.schedule", "optimizer.warmup_steps"),  # they shape its state
)


def check_room(path: Path, runs: Sequence[Run], *, overwrite: bool = False) -> None:
    """Raise StorageError if the disk lacks room for a checkpoint of each run, and one more while it is written."""
    sizes = [checkpoint_size(run.config, run.optimizer) for run in runs]
    with write_errors(path):
        place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
        needed, (total, _, free) = sum(sizes) + max(sizes), shutil.disk_usage(place)
    if overwrite:
        free += sum(file.lstat().st_size for file in all_checkpoints(path))
    if free < needed and total:  # some file systems don't say what they have
        raise StorageError(
            f"{path} needs {needed:,} bytes for checkpoints, and its disk has {free:,} left; make room there, or "
            "choose another --run-dir"
        )


def check_resumable(path: Path, run: Run, config: TrainConfig, corpus: Mapping[str, object], step: int) -> None:
    """Raise JaxrnnError if a run can't continue a checkpoint of this configuration, corpus and step."""
    if corpus["sha256"] != run.corpus.sha256:
        raise JaxrnnError(
            f"{path} was trained on a text with SHA-256 {corpus['sha256']}, and that of {run.corpus.name} is "
            f"{run.corpus.sha256}; resume it on the same text, or begin another run"
        )
    for name in _SAME:
        old, new = map(operator.attrgetter(name), (config, run.config))
        if old != new:
            raise JaxrnnError(
                f"{path} was trained with {name} {old}, not {new}; "
                "resume it with the same setting, or begin another run"
            )
    if run.config.steps < step:
        raise JaxrnnError(
            f"{path} has done {step:,} steps, more than {run.config.steps:,}; resume it with --steps {step} or more"
        )


def check_member(path: Path, run: Run) -> None:
    """Raise JaxrnnError if the run of a sweep can't continue its newest checkpoint; only its header is read."""
    for file in all_checkpoints(path):
        try:
            fields = parse(read_metadata(file)[0], file)
        except DamagedError:
            continue
        config, cell = fields["config"], run.config.model.cell
        if config.model.cell == "custom" and isinstance(cell, Cell):
            config = with_settings(config, {"cell": cell})
        check_resumable(path, run, config, fields["corpus"], fields["counters"]["step"])
        return

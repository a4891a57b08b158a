"""The directory of a sweep.

| file | what it holds |
|---|---|
| `sweep.json` | the configuration that all members share, and the values that are swept |
| `learning_rate=0.1,seed=0/` and so on | the run directory of each member |
| `.lock` | nothing; the process that trains holds a lock on it |
"""

import contextlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxrnn.config import SWEEPABLE, TrainConfig, from_json, read_text, to_json, with_settings
from jaxrnn.config.atomic import commit, make_directory
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint_files import all_checkpoints, other_run
from jaxrnn.runs.lock import LOCK, WriterLock, write_errors

SWEEP = "sweep.json"


def read_sweep(path: str | Path) -> tuple[TrainConfig, dict[str, list[Any]]]:
    """Return the configuration of a sweep and its values, by setting; raise JaxrnnError if the directory holds none."""
    path = Path(path)
    try:
        return sweep_of(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        advice = "give a directory of `jaxrnn sweep`"
        advice = advice if path.exists() else other_run(path, advice)
        raise JaxrnnError(f"{path} is no sweep ({reason}); {advice}") from None


def sweep_of(path: Path) -> tuple[TrainConfig, dict[str, list[Any]]]:
    """Return what `read_sweep` returns; raise OSError, JaxrnnError for another version, or any other ValueError."""
    text = read_text(path / SWEEP)
    try:
        values = json.loads(text)
        config, axes = json.dumps(values["config"]), values["axes"]
        if not all(isinstance(several, list) and name in SWEEPABLE for name, several in axes.items()):
            raise TypeError
    except (TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("it lacks a configuration or lists of values") from None
    return from_json(TrainConfig, config), axes


def open_sweep(
    path: Path, config: TrainConfig, axes: dict[str, list[Any]], names: Iterable[str], *, resume: bool, overwrite: bool
) -> WriterLock:
    """Prepare the directory of a sweep with members of these names, and become its only writer.

    Raises JaxrnnError if another process trains there, if the directory holds another sweep or something else, or if it
    can't be written.
    """
    with write_errors(path), contextlib.ExitStack() as stack:
        if resume:
            read_sweep(path)  # raises if there is nothing to resume
        else:
            _check_ours(path)
            make_directory(path)
        lock = WriterLock(path)
        stack.callback(lock.close)
        if (path / SWEEP).exists():
            _, written = read_sweep(path)
            if list(written.items()) != list(axes.items()):  # names of members have the values in this order
                others = " ".join(f"{name} {','.join(map(str, several))}" for name, several in written.items())
                advice = f"{'resume it with these' if resume else 'remove it by hand'}, or choose another --run-dir"
                raise JaxrnnError(f"{path} holds a sweep of other values: {others}; {advice}")
            if not resume and not overwrite:
                raise JaxrnnError(
                    f"{path} holds a sweep already; continue it with --resume, or replace it with --overwrite"
                )
        if not resume:  # remove old checkpoints before sweep.json says that there is a new sweep
            for file in itertools.chain(*(all_checkpoints(path / name) for name in names)):
                file.unlink(missing_ok=True)
        values = {"config": json.loads(to_json(with_settings(config, {"vocab_size": None}))), "axes": axes}
        commit(path / SWEEP, (json.dumps(values, indent=2) + "\n").encode())
        stack.pop_all()
        return lock


def _check_ours(path: Path) -> None:
    """Refuse a directory that holds anything but a sweep."""
    if not path.exists() or (path / SWEEP).exists():
        return
    if not path.is_dir() or any(file.name != LOCK and not file.name.endswith(".tmp") for file in path.iterdir()):
        raise JaxrnnError(f"{path} is not a sweep's directory and not empty; choose another --run-dir")

"""The directory of a sweep.

| file | what it holds |
|---|---|
| `sweep.json` | the configuration that all members share, and the values that are swept |
| `learning_rate=0.1,seed=0/` and so on | the run directory of each member |
| `.lock` | nothing; the process that trains holds a lock on it |
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxrnn.atomic import commit
from jaxrnn.config import TrainConfig, from_json, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint_files import all_checkpoints
from jaxrnn.runs.lock import LOCK, WriterLock, close_on_error

SWEEP = "sweep.json"


def read_sweep(path: str | Path) -> tuple[TrainConfig, dict[str, list[Any]]]:
    """Return the configuration of a sweep and its values, by the name of the setting.

    Raises:
        JaxrnnError: the directory holds no sweep.
    """
    path = Path(path)
    try:
        values = json.loads((path / SWEEP).read_text("utf-8"))
        config, axes = from_json(TrainConfig, json.dumps(values["config"])), values["axes"]
        if not isinstance(axes, dict) or not all(isinstance(several, list) for several in axes.values()):
            raise ValueError("its axes are no lists")
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise JaxrnnError(f"{path} is no sweep ({reason}); give a directory of `jaxrnn sweep`") from None
    return config, axes


class SweepDirectory:
    """A directory of a sweep that a process writes to."""

    def __init__(self, path: Path, config: TrainConfig, axes: dict[str, list[Any]], names: Iterable[str]) -> None:
        """Remember where the sweep is kept and what it is; `open` does the rest."""
        self._path, self._config, self._axes, self._names = path, config, axes, list(names)
        self._lock: WriterLock | None = None

    def open(self, resume: bool, overwrite: bool) -> None:
        """Prepare the directory, and become its only writer.

        Raises:
            JaxrnnError: another process trains there, the directory holds another sweep or something else, or it can't
                be written.
        """
        with close_on_error(self._path, self.close):
            if resume:
                read_sweep(self._path)  # raises if there is nothing to resume
            else:
                self._check_ours()
                self._path.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self._path)
            if (self._path / SWEEP).exists():
                if not resume and not overwrite:
                    raise JaxrnnError(
                        f"{self._path} holds a sweep already; continue it with --resume, or replace it with --overwrite"
                    )
                self._check_same(resume)
            if not resume:
                self._clean()
            model = dataclasses.replace(self._config.model, vocab_size=None)
            config = json.loads(to_json(dataclasses.replace(self._config, model=model)))
            commit(self._path / SWEEP, (json.dumps({"config": config, "axes": self._axes}, indent=2) + "\n").encode())

    def close(self) -> None:
        """Release the lock."""
        if self._lock:
            self._lock.release()

    def member(self, name: str) -> Path:
        """Return the run directory of a member."""
        return self._path / name

    def begun(self, name: str) -> bool:
        """Return whether a member has a checkpoint to resume from."""
        return bool(all_checkpoints(self.member(name)))

    def _check_ours(self) -> None:
        """Refuse a directory that holds anything but a sweep."""
        path = self._path
        if not path.exists() or (path / SWEEP).exists():
            return
        if not path.is_dir() or any(file.name != LOCK and not file.name.endswith(".tmp") for file in path.iterdir()):
            raise JaxrnnError(f"{path} is not a sweep's directory and not empty; choose another --run-dir")

    def _check_same(self, resume: bool) -> None:
        _, axes = read_sweep(self._path)
        if axes != self._axes:
            values = " ".join(f"{name} {','.join(map(str, several))}" for name, several in axes.items())
            advice = "resume it with these" if resume else "remove it by hand"
            raise JaxrnnError(
                f"{self._path} holds a sweep of other values: {values}; {advice}, or choose another --run-dir"
            )

    def _clean(self) -> None:
        """Remove the checkpoints of an earlier sweep, before sweep.json says that there is a new one."""
        for name in self._names:
            for file in all_checkpoints(self.member(name)):
                file.unlink(missing_ok=True)

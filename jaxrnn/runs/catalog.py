"""What lies in run directories, told without JAX and without reading all of it."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxrnn.config import TrainConfig, from_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint_files import all_checkpoints, read_header
from jaxrnn.runs.lock import is_locked
from jaxrnn.runs.metrics import Columns, read_columns

_DEPTH = 3  # folders of folders in which runs are looked for

State = Literal["running", "finished", "stopped", "damaged"]


class Losses(NamedTuple):
    """A loss over a run, in nats per character.

    Attributes:
        last: the last one.
        best: the lowest one.
        best_step: after how many steps it was found.
    """

    last: float
    best: float
    best_step: int


class RunSummary(NamedTuple):
    """A run, in short.

    Attributes:
        path: its directory.
        state: running: a process trains there now. finished: all its steps are done, or its patience has run out.
            stopped: it can go on. damaged: something of it can't be read.
        problem: what can't be read, and why; None: nothing.
        changed: when it last wrote, seconds since 1970.
        config: its configuration; None: it can't be read.
        step: training steps done.
        seconds: what they took.
        train: the smooth loss; None: there is none yet.
        validation: the loss on the validation slice; None: there is none.
        parameters: how many the network has; None: no checkpoint says.
        corpus: what it trains on: "source", "sha256", "length"; None: no checkpoint says.
    """

    path: Path
    state: State
    problem: str | None
    changed: float
    config: TrainConfig | None
    step: int
    seconds: float
    train: Losses | None
    validation: Losses | None
    parameters: int | None
    corpus: dict[str, Any] | None


def is_run(path: Path) -> bool:
    """Return whether a directory is one that training made."""
    names = ("config.json", "metrics.jsonl", "checkpoints")  # of a damaged one some are missing
    return sum((path / name).exists() for name in names) >= 2


def find_runs(directory: Path) -> list[Path]:
    """Return the run directories below a directory, or itself if it is one.

    Raises:
        JaxrnnError: there is no such directory, or it can't be read.
    """
    if not directory.is_dir():
        raise JaxrnnError(f"no such directory: {directory}; give one that holds runs, such as runs")
    try:
        return _found(directory, _DEPTH)
    except OSError as error:
        raise JaxrnnError(f"can't read {directory} ({error.strerror or error}); give another directory") from None


def _found(directory: Path, depth: int) -> list[Path]:
    if is_run(directory):
        return [directory]
    found = []
    for path in sorted(directory.iterdir()) if depth else ():
        with contextlib.suppress(PermissionError):  # somebody else's
            found += _found(path, depth - 1) if path.is_dir() and not path.name.startswith(".") else []
    return found


def summarize_run(run: Path) -> RunSummary:
    """Return a run in short, whatever state it is in; of checkpoints the headers are read, not verified.

    Raises:
        JaxrnnError: it is no run directory.
    """
    if not is_run(run):
        raise JaxrnnError(f"{run} is no run directory; give one that `jaxrnn train` made")
    problems: list[str] = []
    config, columns = _config(run, problems), _metrics(run, problems)
    # The best one last: its step may be an earlier one.
    headers = [_described(path, problems) for path in all_checkpoints(run)]
    described = next(filter(None, headers), {})
    count = len(columns["step"])
    step = int(columns["step"][-1]) if count else int(described.get("step", 0))
    length = config.sequence_length if config else math.nan
    train = _losses(columns, "smooth_loss", length)
    validation = _losses(columns, "validation_loss", 1.0)
    state: State = "stopped"
    if is_locked(run):
        state = "running"
    elif problems:
        state = "damaged"
    elif config and _is_finished(config, columns, step):
        state = "finished"
    return RunSummary(
        run,
        state,
        "; ".join(problems) or None,
        max(path.stat().st_mtime for path in (run, run / "metrics.jsonl") if path.exists()),
        config,
        step,
        float(columns["seconds"][-1]) if count else 0.0,
        train,
        validation,
        described.get("parameters"),
        described.get("corpus"),
    )


def _config(run: Path, problems: list[str]) -> TrainConfig | None:
    try:
        return from_json(TrainConfig, (run / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"config.json can't be read ({reason})")
        return None


def _metrics(run: Path, problems: list[str]) -> Columns:
    try:
        return read_columns(run)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"metrics.jsonl can't be read ({reason})")
        return {"step": np.zeros(0)}


def _described(path: Path, problems: list[str]) -> dict[str, Any]:
    """Return what the header of a checkpoint says: its step, its corpus, and how many parameters it holds."""
    try:
        metadata, shapes = read_header(path)
        corpus, counters = (json.loads(metadata[field]) for field in ("corpus", "counters"))
        parameters = (shape for name, shape in shapes.items() if name.startswith("params."))
        return {
            "step": int(counters["step"]),
            "corpus": {"source": str(corpus["source"]), "sha256": str(corpus["sha256"]), "length": corpus["length"]},
            "parameters": sum(map(math.prod, parameters)),
        }
    except FileNotFoundError:  # there is none, or not any more: its run goes on
        return {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None) or error
        problems.append(f"checkpoints/{path.name} can't be used ({reason}); `jaxrnn info --repair` removes such")
        return {}


def _losses(columns: Columns, name: str, length: float) -> Losses | None:
    """Return a column of the metrics in short, each entry divided by `length`."""
    column = columns.get(name, np.zeros(0)) / length
    there = np.flatnonzero(np.isfinite(column))
    if not len(there):
        return None
    best = there[column[there].argmin()]
    return Losses(float(column[there[-1]]), float(column[best]), int(columns["step"][best]))


def _is_finished(config: TrainConfig, columns: Columns, step: int) -> bool:
    if step >= config.steps:
        return True
    validations = columns.get("validation_loss", np.zeros(0))
    validations = validations[np.isfinite(validations)]
    return bool(config.patience and len(validations) and len(validations) - 1 - validations.argmin() >= config.patience)

"""Summaries of run directories, without JAX and without reading all of their files."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxrnn.config import TrainConfig, from_json, read_text
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError
from jaxrnn.runs.checkpoint_files import all_checkpoints, has_lost_all, is_run, other_run
from jaxrnn.runs.header import parse_metadata, read_metadata
from jaxrnn.runs.lock import is_locked
from jaxrnn.runs.metrics import METRICS, Columns, read_columns
from jaxrnn.runs.sweep_directory import SWEEP, sweep_of

_DEPTH = 3  # levels of folders that are searched for runs

State = Literal["running", "finished", "stopped", "damaged", "unusable", "unreadable"]


class Losses(NamedTuple):
    """The last and the lowest loss of a run, in bits per character, and the steps after which it was lowest."""

    last: float
    best: float
    best_step: int


class RunSummary(NamedTuple):
    """A summary of a run.

    Attributes:
        path: its directory.
        state: running: a process trains there now. finished: all its steps are done, or its patience has run out.
            stopped: it can be resumed. damaged, unusable, unreadable: one of its files is, as `jaxrnn.runs.header`
            describes.
        problem: what can't be used, and why; None: nothing.
        changed: when it last wrote, seconds since 1970.
        config: its configuration; None: it can't be read.
        step: training steps done, by the metrics or the newest checkpoint.
        seconds: the time that they took.
        train_bits_per_character: the running mean of the training loss; None: there is none yet.
        validation_bits_per_character: the loss on the validation slice; None: there is none.
        parameters: how many the network has; None: there is no checkpoint.
        corpus: what it trains on: "source", "sha256", "length"; None: there is no checkpoint.
    """

    path: Path
    state: State
    problem: str | None
    changed: float
    config: TrainConfig | None
    step: int
    seconds: float
    train_bits_per_character: Losses | None
    validation_bits_per_character: Losses | None
    parameters: int | None
    corpus: dict[str, Any] | None

    @property
    def best_loss(self) -> float:
        """The lowest loss, of validation where there is one; infinite where there is none."""
        losses = self.validation_bits_per_character or self.train_bits_per_character
        return losses.best if losses else math.inf


class SweepSummary(NamedTuple):
    """A summary of a sweep.

    Attributes:
        path: its directory.
        state: running: a process trains there now. finished: all its members are. damaged, unusable, unreadable: one of
            them, or sweep.json, is. stopped: it can be resumed.
        problem: why sweep.json can't be used; None: it can.
        changed: when one of its members last wrote, seconds since 1970.
        size: how many members it has when it is finished.
        members: summaries of those that have begun.
    """

    path: Path
    state: State
    problem: str | None
    changed: float
    size: int
    members: tuple[RunSummary, ...]

    @property
    def best(self) -> RunSummary:
        """The member with the lowest loss."""
        return min(self.members, key=lambda member: member.best_loss)

    @property
    def best_loss(self) -> float:
        """The lowest loss of all members."""
        return self.best.best_loss


def group_sweeps(runs: Iterable[RunSummary]) -> list[RunSummary | SweepSummary]:
    """Return summaries of runs with one summary in place of all members of a sweep."""
    groups: dict[Path, list[RunSummary]] = {}
    for run in runs:
        is_member = (run.path.parent / SWEEP).exists()
        groups.setdefault(run.path.parent if is_member else run.path, []).append(run)
    return [_sweep(path, group) if path != group[0].path else group[0] for path, group in groups.items()]


def _sweep(path: Path, members: list[RunSummary]) -> SweepSummary:
    problems: dict[str, State] = {}
    size, states = len(members), [member.state for member in members]
    with _noting(problems, SWEEP):
        size = math.prod(map(len, sweep_of(path)[1].values()))
    state: State = "finished" if states == ["finished"] * size else "stopped"
    state = _worst([*problems.values(), *states]) or state
    if is_locked(path):
        state = "running"
    changed = max(member.changed for member in members)
    return SweepSummary(path, state, "; ".join(problems) or None, changed, size, tuple(members))


def _worst(states: Iterable[State]) -> State | None:
    """Return the first of the states in which a file can't be used; None: there is none."""
    return next((state for state in states if state in ("damaged", "unusable", "unreadable")), None)


def find_runs(directory: str | Path) -> list[Path]:
    """Return the run directories below a directory, or itself if it is one; raise JaxrnnError if it can't be read."""
    directory = Path(directory)
    if not directory.is_dir():
        advice = other_run(directory, "give one that holds runs, such as runs")
        raise JaxrnnError(f"no such directory: {directory}; {advice}")
    try:
        return _search(directory, _DEPTH, set())
    except OSError as error:
        raise JaxrnnError(f"can't read {directory} ({error.strerror or error}); give another directory") from None


def _search(directory: Path, depth: int, seen: set[str]) -> list[Path]:
    real_path = os.path.realpath(directory)  # links may lead to a directory again
    if real_path in seen:
        return []
    seen.add(real_path)
    if is_run(directory):
        return [directory]
    runs = []
    for path in sorted(directory.iterdir()) if depth else ():
        with contextlib.suppress(OSError):  # a directory of another user, a disk that fails
            runs += _search(path, depth - 1, seen) if path.is_dir() and not path.name.startswith(".") else []
    return runs


def summarize_run(run: str | Path) -> RunSummary:
    """Return the summary of a run in any state; raise JaxrnnError if it is not a run directory.

    The headers of checkpoints are read, but not verified.
    """
    run = Path(run)
    if not is_run(run):
        raise JaxrnnError(f"{run} is not a run directory; {other_run(run)}")
    problems: dict[str, State] = {}
    columns: Columns = dict.fromkeys(METRICS, np.zeros(0))
    config, files, headers = None, list[Path](), []
    with _noting(problems, "config.json"):
        text = read_text(run / "config.json")
        json.loads(text)  # if this fails, the file is damaged; if only the next line fails, it is of another version
        config = from_json(TrainConfig, text)
    with _noting(problems, "metrics.jsonl"):
        columns = read_columns(run)
    with _noting(problems, "checkpoints"):
        files = all_checkpoints(run)
        if has_lost_all(run):
            problems["its checkpoints were damaged; they are in checkpoints/damaged"] = "damaged"
    for path in files:  # all, to find every problem
        problem: dict[str, State] = {}
        with _noting(problem, path.name):
            metadata, shapes = read_metadata(path)
            parameters = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith("params."))
            headers.append({**parse_metadata(metadata, path), "parameters": parameters})
        if path in all_checkpoints(run):  # else the run has removed it meanwhile
            problems |= problem
    newest = next(iter(headers), {})
    counters = newest.get("counters", {"step": 0})
    step = int(max([*columns["step"], counters["step"]]))
    state: State = "stopped"
    since = counters.get("best_since", 0)
    if config and headers and (counters["step"] >= config.steps or 0 < config.patience <= since):
        state = "finished"
    state = _worst(problems.values()) or state
    if is_locked(run):
        state = "running"
    return RunSummary(
        run,
        state,
        "; ".join(problems) or None,
        max((path.stat().st_mtime for path in (run, run / "metrics.jsonl") if path.exists()), default=0.0),
        config,
        step,
        float(np.nanmax([0.0, *columns["seconds"]])),
        _losses(columns, "train_bits_per_character"),
        _losses(columns, "validation_bits_per_character"),
        newest.get("parameters"),
        newest.get("corpus"),
    )


@contextlib.contextmanager
def _noting(problems: dict[str, State], file: str) -> Iterator[None]:
    """Note an error in reading a file, with the state that it means, instead of raising it."""
    try:
        yield
    except CheckpointError as error:
        advice = "; `jaxrnn info RUN --repair` moves it aside" if isinstance(error, DamagedError) else ""
        problems[f"{error}{advice}"] = error.word
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        state: State = "damaged"
        if isinstance(error, JaxrnnError):
            state = "unusable"  # a configuration of another version
        elif isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            state = "unreadable"
        problems[f"{file} can't be read ({getattr(error, 'strerror', None) or error})"] = state


def _losses(columns: Columns, name: str) -> Losses | None:
    """Return the last and the best entry of a column of the metrics."""
    column = columns[name]
    rows = np.flatnonzero(np.isfinite(column))
    if not len(rows):
        return None
    best = rows[column[rows].argmin()]
    return Losses(float(column[rows[-1]]), float(column[best]), int(columns["step"][best]))

"""The metrics of a run: metrics.jsonl read as columns, and written for TensorBoard; without JAX."""

import importlib.util
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.config import TrainConfig, from_json
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.report import Report

METRICS = ("step", "loss", "smooth_loss", "bits_per_character", "validation_loss", "seconds")  # of a line

Columns = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


def read_metrics(run: str | Path) -> Columns:
    """Return a run's metrics.jsonl as columns, float [N], NaN where a line has no such value.

    The columns are "step", "loss" and "smooth_loss" (nats per T characters), "bits_per_character", "validation_loss"
    (nats per character), "seconds", and "train_loss", the loss of a batch in nats per character.

    Raises:
        JaxrnnError: `run` is not a run directory, or its files can't be read.
    """
    run = Path(run)
    try:
        columns = read_columns(run)
        length = from_json(TrainConfig, (run / "config.json").read_text("utf-8")).sequence_length
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise JaxrnnError(f"{run} has no metrics to read ({reason}); give a run directory") from None
    if not len(columns["step"]):
        raise JaxrnnError(f"{run} has no metrics yet; let it train for a while")
    return {**columns, "train_loss": columns["loss"] / length}


def read_columns(run: Path) -> Columns:
    """Return the columns of a run's metrics.jsonl, which may have no line yet.

    Raises:
        OSError: the file can't be read.
        ValueError: it is damaged.
    """
    text = (run / "metrics.jsonl").read_text("utf-8")
    try:
        # What follows the last newline is a line that is being written.
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        columns = {name: np.array([line.get(name) for line in lines], float) for name in METRICS}  # None becomes NaN
    except (TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("a line of it is not a JSON object of numbers") from None
    if not np.isfinite(columns["step"]).all():
        raise ValueError("a line of it has no step")
    return columns


def check_tensorboard() -> None:
    """Raise JaxrnnError if tensorboardX, which the extra "tensorboard" installs, is missing."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise JaxrnnError("--tensorboard needs tensorboardX, which is not installed; pip install tensorboardX")


def event_files(run_dir: Path) -> list[Path]:
    """Return the files for TensorBoard in a run directory."""
    return sorted(run_dir.glob("events.out.tfevents.*"))


class EventLog:
    """Writes a file for TensorBoard: first the metrics that a run has logged, then each report, once.

    The file is rebuilt from metrics.jsonl, which a resumed run has cut to its checkpoint: no step is there twice, and
    none is missing that was logged before TensorBoard was asked for. Losses are in nats per character.
    """

    def __init__(self, run_dir: Path, length: int) -> None:
        """Begin the file of a run with T = `length`, whose only writer the caller is."""
        from tensorboardX import SummaryWriter

        columns = read_columns(run_dir)
        for old in event_files(run_dir):
            old.unlink()
        self._writer: Any = SummaryWriter(logdir=str(run_dir), flush_secs=10)
        self._length, self._step = length, -1
        self._began = time.time() - columns["seconds"].max(initial=0.0)
        for values in zip(*columns.values(), strict=True):
            self._add(dict(zip(columns, values, strict=True)))

    def add(self, report: "Report") -> None:
        """Write a report, unless its step has been written."""
        self._add({name: getattr(report, name) for name in METRICS})

    def _add(self, metrics: Mapping[str, float | None]) -> None:
        step, seconds = int(metrics["step"] or 0), metrics["seconds"] or 0.0
        if step <= self._step:
            return
        self._step = step
        for tag, name, scale in (
            ("loss/batch", "loss", self._length),
            ("loss/smooth", "smooth_loss", self._length),
            ("loss/validation", "validation_loss", 1),
            ("bits_per_character", "bits_per_character", 1),
        ):
            value = metrics[name]
            if value is not None and not math.isnan(value):
                self._writer.add_scalar(tag, value / scale, step, self._began + seconds)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

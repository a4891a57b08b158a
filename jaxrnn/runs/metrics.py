"""The metrics of a run, read back as columns."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.config import TrainConfig, from_json
from jaxrnn.errors import JaxrnnError

Columns = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


def read_metrics(run: str | Path) -> Columns:
    """Return what a run's metrics.jsonl holds, each column float [N], NaN where a line has no such value.

    Beside the columns of the file ("step", "loss" and "smooth_loss" in nats per T characters, "bits_per_character",
    "seconds", and "validation_loss" in nats per character where the run has one) stands "train_loss", the loss of a
    batch in nats per character.

    Raises:
        JaxrnnError: `run` is no run directory, or its files can't be read.
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
    """Return the columns of a run's metrics.jsonl, "step" among them, of which there may be none yet.

    Raises:
        OSError: the file can't be read.
        ValueError: it is damaged.
    """
    text = (run / "metrics.jsonl").read_text("utf-8")
    # A line that is being written has no end yet.
    try:
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        names = dict.fromkeys(name for line in lines for name in line)
        columns = {
            name: np.array([np.nan if line.get(name) is None else line[name] for line in lines], float)
            for name in names
        }
    except (TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("a line of it is not what it should be") from None
    if lines and not np.isfinite(columns.get("step", np.nan)).all():
        raise ValueError("a line of it has no step")
    return {"step": np.zeros(0), **columns}

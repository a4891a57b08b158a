"""The metrics of a run as TensorBoard shows them; tensorboardX (the extra "tensorboard") is imported when used."""

import importlib.util
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.metrics import read_columns
from jaxrnn.runs.report import Report


def check_tensorboard() -> None:
    """Raise JaxrnnError if tensorboardX is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise JaxrnnError("--tensorboard needs tensorboardX, which is not installed; pip install tensorboardX")


def event_files(run_dir: Path) -> list[Path]:
    """Return the files for TensorBoard in a run directory."""
    return sorted(run_dir.glob("events.out.tfevents.*"))


class EventLog:
    """What a run logs, in a file for TensorBoard: first what its metrics hold already, then each report, once.

    The file is made anew from metrics.jsonl, which a resumed run has cut to its checkpoint: no step stands there twice,
    and none is missing that was logged before anybody asked for TensorBoard. Losses are in nats per character.
    """

    def __init__(self, run_dir: Path, length: int) -> None:
        """Begin the file of a run with T = `length`, whose only writer the caller is.

        Raises:
            JaxrnnError: tensorboardX is not installed.
        """
        check_tensorboard()
        from tensorboardX import SummaryWriter

        columns = read_columns(run_dir)
        for old in event_files(run_dir):
            old.unlink()
        self._writer: Any = SummaryWriter(logdir=str(run_dir), flush_secs=10)
        self._length, self._step = length, -1
        self._began = time.time() - (columns["seconds"][-1] if len(columns["step"]) else 0.0)
        for place in range(len(columns["step"])):
            self._add({name: float(column[place]) for name, column in columns.items()})

    def add(self, report: Report) -> None:
        """Write a report, unless its step is there already."""
        names = ("step", "seconds", "loss", "smooth_loss", "validation_loss", "bits_per_character")
        self._add({name: getattr(report, name) for name in names})

    def _add(self, line: Mapping[str, float | None]) -> None:
        def value(name: str) -> float:
            found = line.get(name)
            return math.nan if found is None else found

        if value("step") <= self._step:
            return
        self._step = int(value("step"))
        shown = {
            "loss/batch": value("loss") / self._length,
            "loss/smooth": value("smooth_loss") / self._length,
            "loss/validation": value("validation_loss"),
            "bits_per_character": value("bits_per_character"),
        }
        for tag, number in shown.items():
            if not math.isnan(number):
                self._writer.add_scalar(tag, number, self._step, self._began + value("seconds"))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

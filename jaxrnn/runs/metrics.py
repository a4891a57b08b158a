"""The metrics of a run: metrics.jsonl read as columns, and written for TensorBoard; without JAX.

A line of metrics.jsonl is a JSON object; null stands for what was not measured.

| field | what it is |
|---|---|
| `step` | training steps done |
| `train_bits_per_character` | the running mean of the training loss that training shows |
| `interval_bits_per_character` | the mean of the training loss over the steps since the line before |
| `smooth_loss_nats` | min-char-rnn's smooth loss, nats per T characters |
| `validation_bits_per_character` | the loss on the validation slice |
| `seconds` | since training began |

Where the vocabulary is of bytes, a character is a byte.
"""

import contextlib
import json
import math
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.config import read_text
from jaxrnn.config.atomic import storage_error
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint_files import other_run

if TYPE_CHECKING:
    from jaxrnn.runs.report import Report

METRICS = (
    "step",
    "train_bits_per_character",
    "interval_bits_per_character",
    "smooth_loss_nats",
    "validation_bits_per_character",
    "seconds",
)

Columns = Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]


def metrics_of(report: "Report") -> dict[str, float | None]:
    """Return the line of metrics.jsonl for a report."""
    validation = None if report.validation_loss is None else report.validation_loss / math.log(2)
    train = report.bits_per_character, report.interval_bits_per_character, report.smooth_loss
    return dict(zip(METRICS, (report.step, *train, validation, report.seconds), strict=True))


def read_metrics(run: str | Path) -> Columns:
    """Return a run's metrics.jsonl as columns, float [N], NaN where a line has no such value.

    The columns are the fields of a line. A line of version 0.1.0 is converted: the running mean is computed from its
    smooth loss, and the loss of its last batch stands for the mean over the interval. Raises JaxrnnError if `run` is
    not a run directory, or if its files can't be read.
    """
    columns = _read_or_refuse(Path(run))
    if not len(columns["step"]):
        raise JaxrnnError(f"{run} has no metrics yet; let it train for a while")
    return columns


def has_metrics(run: Path) -> bool:
    """Return whether a run has a line of metrics; an imported one has none before it is trained."""
    file = run / "metrics.jsonl"
    return file.is_file() and b"\n" in file.read_bytes().lstrip()


def _read_or_refuse(run: Path) -> Columns:
    try:
        return read_columns(run)
    except OSError as error:
        raise JaxrnnError(f"{run} has no metrics to read ({error.strerror}); {other_run(run)}") from None
    except ValueError as error:
        raise JaxrnnError(f"{run / 'metrics.jsonl'} is damaged ({error}); correct it, or move it elsewhere") from None


def read_columns(run: Path) -> Columns:
    """Return the columns of a run's metrics.jsonl, maybe of no line; raise OSError, or ValueError if it is damaged."""
    text = read_text(run / "metrics.jsonl")
    try:
        # What follows the last newline is a line that is being written.
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]
        lines = [_converted(line, lines[0]) if "smooth_loss" in line else line for line in lines]
        columns = {name: np.array([line.get(name) for line in lines], float) for name in METRICS}  # None becomes NaN
    except (TypeError, AttributeError, KeyError, ZeroDivisionError, OverflowError, RecursionError):
        raise ValueError("a line is not a JSON object of numbers") from None
    if not ((columns["step"] >= 0) & (columns["step"] < 2**31)).all():
        raise ValueError("a line has no step")
    if (columns["seconds"] < 0).any() or (columns["seconds"] > 1e12).any():
        raise ValueError("a line has impossible seconds")
    return columns


def _converted(line: dict[str, Any], first: dict[str, Any]) -> dict[str, float | None]:
    """Return a line of version 0.1.0, whose losses are in nats, as a line of this one."""
    per_nat = line["bits_per_character"] / line["smooth_loss"]  # bits per character in one nat per T characters
    loss, validation = line["loss"], line["validation_loss"]
    return {
        "step": line["step"],
        "train_bits_per_character": without_start(line["smooth_loss"], first["smooth_loss"], line["step"]) * per_nat,
        "interval_bits_per_character": loss if loss is None else loss * per_nat,
        "smooth_loss_nats": line["smooth_loss"],
        "validation_bits_per_character": validation if validation is None else validation / math.log(2),
        "seconds": line["seconds"],
    }


def without_start(smooth_loss: float, start: float, step: int) -> float:
    """Return a smooth loss without its starting value: the running mean of the losses alone."""
    rest = 0.999**step  # the weight that the start still has
    return (smooth_loss - rest * start) / (1 - rest) if step else smooth_loss


def event_files(run_dir: Path) -> list[Path]:
    """Return the files for TensorBoard in a run directory."""
    return sorted(run_dir.glob("events.out.tfevents.*"))


def log_events(reports: "Generator[Report]", run_dir: Path) -> "Generator[Report]":
    """Pass on the reports of a run, and write a file for TensorBoard: what the run has logged, then each report, once.

    The file is rebuilt from metrics.jsonl, which a resumed run has cut to its checkpoint: no step occurs twice, and no
    step logged before TensorBoard was asked for is missing. The tags are the fields of a line.
    """
    from tensorboardX.event_file_writer import EventsWriter  # SummaryWriter waits forever for its thread on a full disk
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import scalar

    columns = _read_or_refuse(run_dir)
    for old in event_files(run_dir):
        old.unlink()
    writer: Any = EventsWriter(str(run_dir / "events"))
    began, last = time.time() - float(np.nanmax([0.0, *columns["seconds"]])), -1

    def add(metrics: Mapping[str, float | None]) -> None:
        nonlocal last
        step, seconds = int(metrics["step"] or 0), metrics["seconds"] or 0.0
        try:
            for tag, value in metrics.items() if step > last else ():
                if tag not in ("step", "seconds") and value is not None and not math.isnan(value):
                    writer.write_event(Event(wall_time=began + seconds, step=step, summary=scalar(tag, value)))
            writer.flush()
        except OSError as error:
            raise storage_error(run_dir / "events.out.tfevents", error) from None
        last = max(last, step)

    try:
        with contextlib.closing(reports):
            for values in zip(*columns.values(), strict=True):
                add(dict(zip(columns, values, strict=True)))
            for report in reports:
                add(metrics_of(report))
                yield report
    finally:
        with contextlib.suppress(OSError):  # what could not be written still can't
            writer.close()

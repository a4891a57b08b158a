"""Compare two measurements of the same work: a saved one, and a new one as a multiple of its times."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.bench.references import YARDSTICKS
from jaxrnn.bench.timing import Timing
from jaxrnn.cli.bench_output import machine_line, number
from jaxrnn.config import SETTINGS, TrainConfig, from_json, read_text
from jaxrnn.config.grid import value_of
from jaxrnn.errors import JaxrnnError


def read_baseline(file: Path, values: Mapping[str, Any]) -> tuple[dict[str, Timing], list[str]]:
    """Return the timings in a file that --save wrote, and a line if the machine was another one.

    Raises JaxrnnError unless it measured the "suite" and "config" in `values`, which also holds the "machine".
    """
    timings, theirs, machine = read_measurement(file)
    ours = _settings(values)
    differences = [
        f"{name} is {theirs[name]} there and {value} here" for name, value in ours.items() if theirs[name] != value
    ]
    if differences:
        raise JaxrnnError(f"{file} measured something else: {'; '.join(differences[:3])}; compare equal workloads")
    is_same = machine == machine_line(values["machine"])
    return timings, [] if is_same else [f"{file.name} was measured on another machine: {machine}"]


def read_measurement(file: Path) -> tuple[dict[str, Timing], dict[str, Any], str]:
    """Return the timings in a file that --save wrote, what it measured, and on which machine."""
    try:
        saved = json.loads(read_text(file, may_wait=True))
        seconds, machine = saved["result"]["seconds"], machine_line(saved["machine"])
        timings = {name: Timing.of(map(float, timing["rounds"])) for name, timing in seconds.items()}
        return timings, _settings(saved), machine
    except OSError as error:
        raise JaxrnnError(f"can't read {file} ({error.strerror}); give a file that --save wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise JaxrnnError(f"{file} is no measurement; give a file that --save wrote") from None


def _settings(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured; a setting that an earlier version had not yet is at its default."""
    config = measurement["config"]
    training = from_json(TrainConfig, json.dumps(config["training"]))
    settings = {name: value_of(training, name) for name in SETTINGS}
    return {"suite": measurement["suite"], "devices": config["devices"], **settings}


def ratios(seconds: Mapping[str, Timing], baseline: Mapping[str, Timing]) -> dict[str, Timing]:
    """Return each contender's time relative to its baseline: the ratio of every round to every baseline round."""
    return {
        name: Timing.of(np.divide.outer(timing.rounds, baseline[name].rounds).ravel())
        for name, timing in seconds.items()
        if name in baseline
    }


def ratio_rows(ratios: Mapping[str, Timing], file: Path) -> list[list[str]]:
    """Return the rows of a table of ratios with their quartiles, the header first."""
    return [["", f"x {file.name}", "quartiles"]] + [
        [name, f"{ratio.median:.3f}", f"{number(ratio.lower)}-{number(ratio.upper)}"] for name, ratio in ratios.items()
    ]


def slower(ratios: Mapping[str, Timing], limit: float) -> list[str]:
    """Return words for each program of ours whose ratio is above the limit."""
    return [
        f"{name} {ratio.median:.3f} times the time"
        for name, ratio in ratios.items()
        if name not in YARDSTICKS and ratio.median > limit
    ]

"""The suite `startup`: whole processes, from their start to the first training steps and to their end."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from jaxrnn.bench.config import BenchConfig, BenchError
from jaxrnn.bench.references import Say
from jaxrnn.bench.timing import Timing, race
from jaxrnn.bench.workload import make_workload

_IMPORTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import jax": "import jax",
    "import training": "import jaxrnn.runs",
    "help": "from jaxrnn.cli import main; main(['--help'])",
}


class StartupResult(NamedTuple):
    """What the suite measures, in seconds from the start of a process.

    Attributes:
        imports: to the end of a process that only imports, by what it imports; "python" imports nothing.
        first_steps: `jaxrnn train`, until its first chunk of steps is in its log: "first start" with an empty cache of
            compiled programs, "second start" with what the first left there.
        end: the same processes, to their end: checkpoint and sample included.
        ratio: of first_steps, the second start over the first.
    """

    imports: dict[str, Timing]
    first_steps: dict[str, Timing]
    end: dict[str, Timing]
    ratio: Timing


def measure_startup(config: BenchConfig, say: Say = lambda message: None) -> StartupResult:
    """Measure starts of `jaxrnn train` on a text of the workload's size, and of what it imports.

    Raises:
        BenchError: a process failed.
    """
    rounds = config.repeats or 5
    ends: dict[str, list[float]] = {"first start": [], "second start": []}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _write_text(directory / "text.txt", config)

        def start(which: str) -> float:
            # Every other round begins with the second start, so that has a cache of its own, already full.
            cache = f"cache-{len(ends[which])}" if which == "first start" else "cache"
            first_steps, end = _train(directory, directory / cache, config)
            ends[which].append(end)
            return first_steps

        say("filling a cache")
        _train(directory, directory / "cache", config)
        contenders = {which: lambda which=which: start(which) for which in ends}
        imports = {name: lambda code=code: _seconds([sys.executable, "-c", code]) for name, code in _IMPORTS.items()}
        say(f"{rounds} rounds")
        timings = race({**contenders, **imports}, rounds)
    first_steps = {which: timings[which] for which in ends}
    return StartupResult(
        {name: timings[name] for name in imports},
        first_steps,
        {which: Timing.of(values) for which, values in ends.items()},
        first_steps["second start"].over(first_steps["first start"]),
    )


def _write_text(path: Path, config: BenchConfig) -> None:
    """Write a text of the workload's characters, long enough for its batches, every one of its V symbols in it."""
    inputs = make_workload(config.train_config()).batches.inputs
    places = [*range(config.vocab_size), *inputs.reshape(-1).tolist(), 0, 0]
    text = "".join(chr(0x10000 + place) for place in places * 2)  # where a million code points lie together
    path.write_text(text, "utf-8")


def _train(directory: Path, cache: Path, config: BenchConfig) -> tuple[float, float]:
    """Run `jaxrnn train` for one chunk; return the seconds until its log has these steps, and until it has ended."""
    run = Path(tempfile.mkdtemp(dir=directory))
    train = config.train_config()
    flags = {
        "run-dir": run,
        "steps": train.chunk_length,
        "cell": train.model.cell,
        "hidden-size": train.model.hidden_size,
        "dtype": train.model.dtype,
        "optimizer": train.optimizer.name,
        "learning-rate": train.optimizer.peak_learning_rate,
        "sequence-length": train.sequence_length,
        "batch-size": train.batch_size,
        "chunk-length": train.chunk_length,
        "log-every": train.chunk_length,
    }
    command = [sys.executable, "-m", "jaxrnn", "train", str(directory / "text.txt"), "--quiet"]
    command += [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = str(cache)
    first_steps = None
    begin = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while process.poll() is None:
                if first_steps is None and _logged(run / "metrics.jsonl", train.chunk_length):
                    first_steps = time.perf_counter() - begin
                time.sleep(0.002)
        finally:
            process.kill()
        end = time.perf_counter() - begin
        complaint = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise BenchError(f"`jaxrnn train` ended with exit code {process.returncode}: {complaint.strip()[-200:]}")
    return first_steps or end, end


def _logged(metrics: Path, step: int) -> bool:
    try:
        lines = metrics.read_text().splitlines()
        return bool(lines) and json.loads(lines[-1])["step"] >= step
    except (OSError, ValueError):  # not yet there, or half a line
        return False


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-200:]}")
    return time.perf_counter() - begin

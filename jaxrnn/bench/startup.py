"""The suite `startup`: whole processes, from their start to the first training steps and to their end.

Two cores of an AMD EPYC (Zen 5), Python 3.11, jax 0.10.2, min-char-rnn's workload: 1.27 s from the start of the process
to its hundredth step, and 0.62 s once compiled programs are in the cache, 0.49 of the time; Python and the import of
JAX are 0.4 s of it. The whole job, 40,000 steps on tinyshakespeare with 401 samples, takes 2.5 s, and 3.1 s at the very
first start; the NumPy program in tests/oracle.py takes 28.3 s: 11.3 and 9.1 times as long. With Python 3.13 and jax
0.12 it is 2.4 s and 3.0 s, 11.6 and 9.3 times. Over seeds 0, 1, 2 the smooth loss ends at 51.2 on average, that
program's at 50.9. Over 1,000,000 steps the process stays at the 222 MB that it has after 1,000.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from jaxrnn.bench.config import BenchConfig, BenchError
from jaxrnn.bench.result import Result, Say
from jaxrnn.bench.timing import Contender, Timing, race
from jaxrnn.bench.workload import make_workload

_IMPORTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import jax": "import jax",
    "import jaxrnn.runs": "import jaxrnn.runs",
    "jaxrnn --help": "from jaxrnn.cli import main; main(['--help'])",
}


def measure_startup(config: BenchConfig, say: Say) -> Result:
    """Measure starts of `jaxrnn train` on a text of the workload's size, and of what it imports.

    Contenders, in seconds from the start of the process: "first start" and "second start", until the first chunk of
    steps is in the log, without compiled programs and with those of an earlier start; "first end" and "second end",
    the ends of the same processes, checkpoint and sample included; processes that only import.

    Raises:
        BenchError: a process failed.
    """
    ends: dict[str, list[float]] = {"first": [], "second": []}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _write_text(directory / "text.txt", config)

        def start(which: str) -> float:
            # A first start has a new cache each time; a second start has the one that was filled before the race.
            cache = f"cache-{len(ends[which])}" if which == "first" else "cache"
            first_steps, end = _train(directory, directory / cache, config)
            ends[which].append(end)
            return first_steps

        def end(code: str) -> float:
            return _run(["-c", code], os.environ)[1]

        say("filling a cache")
        _train(directory, directory / "cache", config)
        contenders = {f"{which} start": Contender(partial(start, which)) for which in ends}
        contenders |= {name: Contender(partial(end, code)) for name, code in _IMPORTS.items()}
        say("measuring")
        seconds = race(contenders, config.repeats or 5)
    seconds |= {f"{which} end": Timing.of(values) for which, values in ends.items()}
    lines = [
        f"start: from the start of `jaxrnn train` until {config.chunk_length} steps are done; end: until it has ended; "
        "first: with nothing compiled, second: with compiled programs in the cache; x: of the time of the first",
    ]
    ratios = {f"second {part}": seconds[f"second {part}"].over(seconds[f"first {part}"]) for part in ("start", "end")}
    order = ["first start", "first end", "second start", "second end", *_IMPORTS]
    return Result(config, {name: seconds[name] for name in order}, lines, {"x first": ratios})


def _write_text(path: Path, config: BenchConfig) -> None:
    """Write a text of the workload's characters, long enough for its batches and with all of its V symbols."""
    inputs = make_workload(config.train_config()).batches.inputs
    tokens = [*range(config.vocab_size), *inputs.reshape(-1).tolist(), 0, 0]
    text = "".join(chr(0x10000 + token) for token in tokens * 2)  # a million code points without a gap
    path.write_text(text, "utf-8")


def _train(directory: Path, cache: Path, config: BenchConfig) -> tuple[float, float]:
    """Run `jaxrnn train` for one chunk; return the seconds until its log has these steps, and until it has ended."""
    run = Path(tempfile.mkdtemp(dir=directory))
    same = ("cell", "hidden_size", "dtype", "optimizer", "sequence_length", "batch_size")
    flags = {name: getattr(config, name) for name in same} | {"run_dir": run}
    flags |= dict.fromkeys(("steps", "chunk_length", "log_every"), config.chunk_length)
    texts = [text for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = ["-m", "jaxrnn", "train", str(directory / "text.txt"), "--quiet", *texts]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return _run(command, {**environment, "XDG_CACHE_HOME": str(cache)}, run / "metrics.jsonl")


def _run(command: list[str], environment: Mapping[str, str], log: Path | None = None) -> tuple[float, float]:
    """Run Python; return the seconds until the log has a line, and until the process has ended."""
    begin, logged = time.perf_counter(), None
    with subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while process.poll() is None:
                if log and logged is None and log.is_file() and log.read_text().endswith("\n"):
                    logged = time.perf_counter() - begin
                time.sleep(0.001)
        finally:
            process.kill()
        end = time.perf_counter() - begin
        complaint = process.stderr.read() if process.stderr else ""
    if process.returncode:
        command_line = " ".join(["python", *command])
        raise BenchError(f"`{command_line}` ended with exit code {process.returncode}: {complaint.strip()[-200:]}")
    return logged or end, end

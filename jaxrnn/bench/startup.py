"""The suite `startup`: whole processes, from their start to the first training steps.

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
from jaxrnn.bench.timing import Contender, race
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
    steps is in the log, without compiled programs and with those of an earlier start; processes that only import.

    Raises:
        BenchError: a process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _write_text(directory / "text.txt", config)

        def first_start() -> float:
            return _train(directory, Path(tempfile.mkdtemp(dir=directory)), config)

        def second_start() -> float:
            return _train(directory, directory / "cache", config)

        say("filling a cache")
        second_start()
        contenders = {"first start": Contender(first_start), "second start": Contender(second_start)}
        for name, code in _IMPORTS.items():
            contenders[name] = Contender(partial(_run, ["-c", code], os.environ))
        say("measuring")
        seconds = race(contenders, config.repeats or 5)
    lines = [
        f"start: from the start of `jaxrnn train` until {config.chunk_length} steps are done; first: with nothing "
        "compiled, second: with compiled programs in the cache; x: of the time of the first"
    ]
    columns = {"x first": {"second start": seconds["second start"].over(seconds["first start"])}}
    return Result(config, seconds, lines, columns)


def _write_text(path: Path, config: BenchConfig) -> None:
    """Write a text of the workload's characters, long enough for its batches and with all of its V symbols."""
    inputs = make_workload(config.train_config()).batches.inputs
    tokens = [*range(config.vocab_size), *inputs.reshape(-1).tolist(), 0, 0]
    text = "".join(chr(0x10000 + token) for token in tokens * 2)  # a million code points without a gap
    path.write_text(text, "utf-8")


def _train(directory: Path, cache: Path, config: BenchConfig) -> float:
    """Run `jaxrnn train` for one chunk; return the seconds until its log has these steps."""
    run = Path(tempfile.mkdtemp(dir=directory))
    same = ("cell", "hidden_size", "dtype", "optimizer", "sequence_length", "batch_size")
    flags = {name: getattr(config, name) for name in same} | {"run_dir": run}
    flags |= dict.fromkeys(("steps", "chunk_length", "log_every"), config.chunk_length)
    texts = [text for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = ["-m", "jaxrnn", "train", str(directory / "text.txt"), "--quiet", *texts]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return _run(command, {**environment, "XDG_CACHE_HOME": str(cache)}, run / "metrics.jsonl")


def _run(command: list[str], environment: Mapping[str, str], log: Path | None = None) -> float:
    """Run Python; return the seconds until the log has a line, or until the process has ended."""
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
    return logged or end

"""The suite `startup`: whole processes, from their start to the first training steps."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from jaxrnn.bench.config import BenchConfig, BenchError
from jaxrnn.bench.timing import Contender, Result, Start, compete
from jaxrnn.config import to_json, with_settings
from jaxrnn.config.presets import adapted

_IMPORTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import jax": "import jax",
    "import jaxrnn.runs": "from jaxrnn.runs import fit",
    "jaxrnn --help": "from jaxrnn.cli import main; main(['--help'])",
}


def measure_startup(config: BenchConfig) -> Result:
    """Measure starts of `jaxrnn train` on a text of the workload's size, until a chunk of steps is in the log.

    Without compiled programs, and with those of an earlier start; and processes that only import.
    """
    steps = config.training.chunk_length
    changes = {"steps": steps, "log_every": steps, "split": (1.0,)}
    training = with_settings(adapted(config.training, changes), changes)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        vocab_size, lane_length = training.model.vocab_size or 1, steps * training.sequence_length + 2
        length = vocab_size + 2 * training.batch_size * lane_length
        text = "".join(chr(0x10000 + index % vocab_size) for index in range(length))  # from there without a gap
        (directory / "text.txt").write_text(text, "utf-8")
        (directory / "config.json").write_text(to_json(training), "utf-8")
        second = Contender(lambda: _train(directory, str(directory / "cache")))
        second.run()  # fills the cache
        starts: dict[str, Start] = {
            "first start": lambda: Contender(lambda: _train(directory, tempfile.mkdtemp(dir=directory))),
            "second start": lambda: second,
            **{name: partial(Contender, partial(_run, ["-c", code], os.environ)) for name, code in _IMPORTS.items()},
        }
        seconds = compete(starts, config.repeats or 5)[0]
    columns = {"x first": {"second start": seconds["second start"].over(seconds["first start"])}}
    return Result(seconds, columns)


def _train(directory: Path, cache: str) -> float:
    """Run `jaxrnn train` for one chunk; return the seconds until its log has these steps."""
    run = Path(tempfile.mkdtemp(dir=directory))
    files = ["--config", str(directory / "config.json"), "--run-dir", str(run)]
    command = ["-m", "jaxrnn", "train", str(directory / "text.txt"), "--quiet", *files]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return _run(command, environment | {"XDG_CACHE_HOME": cache}, run / "metrics.jsonl")


def _run(command: list[str], environment: Mapping[str, str], log: Path | None = None) -> float:
    """Run Python; return the seconds until the log was written, or until the process has ended."""
    begin = time.time()
    process = subprocess.run([sys.executable, *command], check=False, env=environment, capture_output=True, text=True)
    end = time.time()
    if process.returncode:
        line, complaint = " ".join(["python", *command]), process.stderr.strip()[-200:]
        raise BenchError(f"`{line}` ended with exit code {process.returncode}: {complaint}")
    return (log.stat().st_mtime if log else end) - begin

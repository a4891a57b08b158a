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
from jaxrnn.bench.result import Result, say
from jaxrnn.bench.timing import Contender, race

_IMPORTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import jax": "import jax",
    "import jaxrnn.runs": "from jaxrnn.runs import fit",
    "jaxrnn --help": "from jaxrnn.cli import main; main(['--help'])",
}


def measure_startup(config: BenchConfig) -> Result:
    """Measure starts of `jaxrnn train` on a text of the workload's size, and of what it imports.

    Contenders, in seconds from the start of the process: "first start" and "second start", until the first chunk of
    steps is in the log, without compiled programs and with those of an earlier start; processes that only import.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        length = config.vocab_size + 2 * config.batch_size * (config.chunk_length * config.sequence_length + 2)
        text = "".join(chr(0x10000 + index % config.vocab_size) for index in range(length))  # from there without a gap
        (directory / "text.txt").write_text(text, "utf-8")
        contenders = {
            "first start": Contender(lambda: _train(directory, tempfile.mkdtemp(dir=directory), config)),
            "second start": Contender(lambda: _train(directory, str(directory / "cache"), config)),
            **{name: Contender(partial(_run, ["-c", code], os.environ)) for name, code in _IMPORTS.items()},
        }
        say("filling a cache")
        contenders["second start"].run()
        say("measuring")
        seconds = race(contenders, config.repeats or 5)
    lines = [
        f"start: from the start of `jaxrnn train` until {config.chunk_length} steps are done; first: with nothing "
        "compiled, second: with compiled programs in the cache; x: of the time of the first"
    ]
    columns = {"x first": {"second start": seconds["second start"].over(seconds["first start"])}}
    return Result(seconds, lines, columns)


def _train(directory: Path, cache: str, config: BenchConfig) -> float:
    """Run `jaxrnn train` for one chunk; return the seconds until its log has these steps."""
    run = Path(tempfile.mkdtemp(dir=directory))
    same = ("cell", "hidden_size", "dtype", "optimizer", "sequence_length", "batch_size")
    flags = {name: getattr(config, name) for name in same} | {"run_dir": run}
    flags |= dict.fromkeys(("steps", "chunk_length", "log_every"), config.chunk_length)
    texts = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    command = ["-m", "jaxrnn", "train", str(directory / "text.txt"), "--quiet", *texts]
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

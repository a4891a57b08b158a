"""The suite `kernels`: what each kernel of `jaxrnn.kernels` earns here, as time without it / time with it."""

import contextlib
from functools import partial
from typing import Any

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import tolerance
from jaxrnn.bench.timing import Contender, Cost, LeftOut, Result, Start, Timing, compete
from jaxrnn.bench.workload import make_workload, sampling_program, training_program
from jaxrnn.kernels import KERNELS, plain

_SAMPLE_LENGTH = 2000  # characters of each stream per call
_GRU: dict[str, Any] = {"cell": "gru", "optimizer": "adam"}
_LSTM: dict[str, Any] = {"cell": "lstm", "optimizer": "adam"}
WORKLOADS: dict[str, dict[str, Any]] = {  # by name, where they differ from min-char-rnn's
    "seed": {},
    "seed-call": {},
    "gru": _GRU | {"batch_size": 16, "sequence_length": 48, "hidden_size": 128, "chunk_length": 10},
    "lstm": _LSTM | {"batch_size": 50, "sequence_length": 50, "hidden_size": 128, "chunk_length": 4},
    "lstm-512": _LSTM | {"batch_size": 64, "sequence_length": 64, "hidden_size": 512, "chunk_length": 2},
    "sample-1": {},
    "sample-64": {},
    "vocab-5000": {"vocab_size": 5000},
}


def measure_kernels(config: BenchConfig) -> Result:
    """Measure the programs of `WORKLOADS` with all kernels, without each of them, and without all.

    Contenders: the workloads, in seconds per training step, or per character of all streams together.
    """
    bound = tolerance(config.training)
    races = {name: compete(_starts(name), config.repeats or 7, bound)[0] for name in WORKLOADS}
    seconds = {name: timings["none"]._replace(cost=Cost()) for name, timings in races.items()}
    columns: dict[str, dict[str, Timing]] = {
        kernel: {name: timings[kernel].over(seconds[name]) for name, timings in races.items() if kernel in timings}
        for kernel in (*KERNELS, "all")
    }
    return Result(seconds, columns)


def _starts(name: str) -> dict[str, Start]:
    """Return a program with all kernels ("none" taken out), without each, and without all."""
    workload = make_workload(BenchConfig().changed(**WORKLOADS[name]))
    texts: set[str] = set()  # of the lowered programs

    def start(kernel: str) -> Contender:
        with _without(kernel):
            if name.startswith("sample-"):
                program = sampling_program(workload, int(name.removeprefix("sample-")), _SAMPLE_LENGTH)
            else:
                program = training_program(workload, chunked=name != "seed-call")
            text = jax.jit(program.function).lower(program.state, program.feeds[0]).as_text()
            if text in texts:
                raise LeftOut("it is not in this program")
            texts.add(text)
            contender = program.contender()
        return contender._replace(run=partial(_run_without, kernel, contender))

    return {kernel: partial(start, kernel) for kernel in ("none", *KERNELS, "all")}


def _without(kernel: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if kernel == "none" else plain(*(KERNELS if kernel == "all" else [kernel]))


def _run_without(kernel: str, contender: Contender) -> float:
    with _without(kernel):  # outside, JAX would trace the program again, with the kernel
        return contender.run()

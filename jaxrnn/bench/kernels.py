"""The suite `kernels`: what each kernel of `jaxrnn.kernels` earns here, as time without it / time with it."""

import contextlib
from functools import partial
from typing import Any

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import tolerance
from jaxrnn.bench.timing import Contender, Cost, Program, Result, Start, Timing, compete
from jaxrnn.bench.workload import make_workload, sampling_program, training_program
from jaxrnn.kernels import KERNELS, plain

_GRU, _LSTM = (dict[str, Any](cell=cell, optimizer="adam") for cell in ("gru", "lstm"))
WORKLOADS: dict[str, dict[str, Any]] = {  # by name, where they differ from min-char-rnn's
    "tanh": {},
    "tanh-call": {},
    "gru": _GRU | {"batch_size": 16, "sequence_length": 48, "hidden_size": 128, "chunk_length": 10},
    "lstm": _LSTM | {"batch_size": 50, "sequence_length": 50, "hidden_size": 128, "chunk_length": 4},
    "lstm-512": _LSTM | {"batch_size": 64, "sequence_length": 64, "hidden_size": 512, "chunk_length": 2},
    "dropout": _GRU | {"batch_size": 32, "sequence_length": 64, "hidden_size": 384, "chunk_length": 4, "dropout": 0.1},
    "sample-1": {},
    "sample-64": {},
    "vocab-5000": {"vocab_size": 5000},
}


def measure_kernels(config: BenchConfig) -> Result:
    """Measure the programs of `WORKLOADS`, per step or character, with all kernels, without each, without all."""
    seconds: dict[str, Timing] = {}
    columns: dict[str, dict[str, Timing]] = {kernel: {} for kernel in (*KERNELS, "all")}
    for name in WORKLOADS:
        starts, same = _starts(name)
        timings, _ = compete(starts, config.repeats or 7, tolerance(config.training))
        seconds[name] = timings["none"]._replace(cost=Cost())
        for kernel, ratios in columns.items():
            if same[kernel] != "none":  # it is in this program
                ratios[name] = timings[same[kernel]].over(seconds[name])
    return Result(seconds, columns)


def _starts(name: str) -> tuple[dict[str, Start], dict[str, str]]:
    """Return a program with all kernels ("none" taken out), without each, and without all; and which are equal."""
    workload = make_workload(BenchConfig().changed(**WORKLOADS[name]))
    starts: dict[str, Start] = {}
    first, same = dict[str, str](), dict[str, str]()  # the first kernel by lowered text, and by kernel
    for kernel in ("none", *KERNELS, "all"):
        with _without(kernel):
            if name.startswith("sample-"):
                program = sampling_program(workload, int(name.removeprefix("sample-")), length=2000)
            else:
                program = training_program(workload, chunked=name != "tanh-call")
            text = jax.jit(program.function).lower(program.state, program.feeds[0]).as_text()
        same[kernel] = first.setdefault(text, kernel)
        if same[kernel] == kernel:
            starts[kernel] = partial(_start, kernel, program)
    return starts, same


def _start(kernel: str, program: Program) -> Contender:
    def run() -> float:
        with _without(kernel):  # outside, JAX would trace the program again, with the kernel
            return contender.run()

    with _without(kernel):
        contender = program.contender()
    return contender._replace(run=run)


def _without(kernel: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if kernel == "none" else plain(*(KERNELS if kernel == "all" else [kernel]))

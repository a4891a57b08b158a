"""The suite `sweep`: many models in one program, beside the same runs one after another."""

import dataclasses
import time
from typing import NamedTuple

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import Say
from jaxrnn.bench.timing import Contender, Timing, race, repeated
from jaxrnn.bench.workload import Workload, make_workload
from jaxrnn.training.step import make_train_chunk
from jaxrnn.training.sweep import init_members, make_sweep_chunk


class SweepResult(NamedTuple):
    """What the suite measures.

    Attributes:
        compile_seconds: for each number of models: trace, compile, first run of the sweep's chunk.
        together: seconds a training step of one model, all models side by side, by their number.
        alone: the same, one run after another, each by its own chunk.
        ratios: how many times as fast together is as alone, round by round.
        characters: T*B in a step of one model.
    """

    compile_seconds: dict[str, float]
    together: dict[str, Timing]
    alone: dict[str, Timing]
    ratios: dict[str, Timing]
    characters: int


def measure_sweep(config: BenchConfig, say: Say = lambda message: None) -> SweepResult:
    """Measure the training of so many models at once, and the same runs one after another."""
    workload = make_workload(config.train_config())
    compile_seconds, contenders = {}, {}
    for count in config.models:
        say(f"compiling for {count} models")
        compile_seconds[str(count)], contenders[f"together {count}"] = _together(workload, count)
        contenders[f"alone {count}"] = _alone(workload, count)
    timings = race(contenders, config.repeats or 9)
    together = {name: timings[f"together {name}"] for name in compile_seconds}
    alone = {name: timings[f"alone {name}"] for name in compile_seconds}
    ratios = {name: alone[name].over(together[name]) for name in compile_seconds}
    return SweepResult(compile_seconds, together, alone, ratios, config.sequence_length * config.batch_size)


def _together(workload: Workload, count: int) -> tuple[float, Contender]:
    """Return the seconds until the first call is done, and the contender; every model has its own rate and seed."""
    optimizer = workload.config.optimizer
    configs = [
        dataclasses.replace(
            workload.config,
            seed=seed,
            optimizer=dataclasses.replace(optimizer, learning_rate=optimizer.peak_learning_rate / (1 + seed)),
        )
        for seed in range(count)
    ]
    states = jax.block_until_ready(init_members(configs))
    begin = time.perf_counter()
    chunk = make_sweep_chunk(configs)

    def call() -> None:
        nonlocal states
        states, _ = chunk(states, workload.batches)

    call()
    return time.perf_counter() - begin, repeated(call, count * workload.config.chunk_length, 0.2)


def _alone(workload: Workload, count: int) -> Contender:
    chunk = make_train_chunk(workload.config)
    states = init_members([dataclasses.replace(workload.config, seed=seed) for seed in range(count)])

    def call() -> None:
        for place in range(count):
            states[place], metrics = chunk(states[place], workload.batches)
            metrics.loss.block_until_ready()

    return repeated(call, count * workload.config.chunk_length, 0.2)

"""The suite `step`: what a training step costs, by single calls and by chunks, beside references and the floor."""

import dataclasses
import time
from typing import Any, NamedTuple

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import LimitRace, Limits
from jaxrnn.bench.machine import peak_memory
from jaxrnn.bench.references import References, Say
from jaxrnn.bench.timing import Contender, Timing, race, repeated
from jaxrnn.bench.workload import Workload, make_workload, training_flop
from jaxrnn.distributed.mesh import make_mesh
from jaxrnn.training.step import TrainStep, make_train_chunk, make_train_step


class StepResult(NamedTuple):
    """What the suite measures.

    Attributes:
        compile_seconds: of the programs "jit" (a step a call) and "chunk" (K steps a call): trace, compile, first run;
            where the factors of products are rounded, "full" is the chunk in which they are not.
        step_seconds: by contender: those of `compile_seconds`, and the references that are there.
        notes: of the references: threads, or why one is not there.
        characters: T*B in a step.
        flop: floating-point operations in the matrix products of a step.
        limits: of the machine, and the floor.
        ratios: "numpy/chunk" is how many times the chunk's time a step of NumPy takes, and so on; "chunk/floor" too.
        share_of_peak: of each contender and of the "floor", their rate over that of a large product.
        peak_memory: bytes, of the process and of the device, after training and before the limits.
    """

    compile_seconds: dict[str, float]
    step_seconds: dict[str, Timing]
    notes: dict[str, str]
    characters: int
    flop: int
    limits: Limits
    ratios: dict[str, Timing]
    share_of_peak: dict[str, Timing]
    peak_memory: dict[str, int | None]


def measure_step(config: BenchConfig, say: Say = lambda message: None) -> StepResult:
    """Measure the training step.

    Raises:
        BenchError: a reference computes something else than ours.
    """
    workload = make_workload(config.train_config())
    say("compiling")
    compile_seconds, ours = {}, {}
    for name in ("jit", "chunk"):
        compile_seconds[name], ours[name] = jax_contender(workload, chunked=name == "chunk", devices=config.devices)
    if config.products != "full":
        full = make_workload(dataclasses.replace(config, products="full").train_config())
        compile_seconds["full"], ours["full"] = jax_contender(full, chunked=True, devices=config.devices)
    memory = peak_memory()
    with References(workload, say) as references:
        say("measuring the machine's limits")
        limit_race = LimitRace(workload)
        rounds = config.repeats or 15
        say(f"{rounds} rounds")
        timings = race({**ours, **references.contenders, **limit_race.contenders}, rounds)
        notes = references.notes
    limits = limit_race.limits(timings)
    steps = {name: timings[name] for name in (*ours, *references.contenders)}
    ratios = {f"{name}/{our}": steps[name].over(steps[our]) for our in ours for name in steps if name != our}
    flop = training_flop(workload.config)
    rates = {
        name: Timing.of([flop / seconds for seconds in timing.rounds])
        for name, timing in {**steps, "floor": limits.floor}.items()
    }
    return StepResult(
        compile_seconds=compile_seconds,
        step_seconds=steps,
        notes=notes,
        characters=config.sequence_length * config.batch_size,
        flop=flop,
        limits=limits,
        ratios={**ratios, **{f"{name}/floor": steps[name].over(limits.floor) for name in steps}},
        share_of_peak={name: rate.over(limits.peak) for name, rate in rates.items()},
        peak_memory=memory,
    )


def jax_contender(
    workload: Workload, *, chunked: bool, devices: int = 1, seconds: float = 0.1
) -> tuple[float, Contender]:  # fmt: skip
    """Return the seconds until our first call is done, and the contender, in seconds a training step.

    By single calls the caller waits for the loss of each step; by chunks for the losses of each chunk.
    """
    program: TrainStep
    feeds: list[Any]
    config, mesh = workload.config, make_mesh(devices)
    if chunked:
        program, feeds, steps = make_train_chunk(config, mesh=mesh), [workload.batches], config.chunk_length
    else:
        program, feeds, steps = make_train_step(config, mesh=mesh), workload.single_batches(), 1
    state, place = jax.block_until_ready(workload.initial_state()), 0

    def call() -> None:
        nonlocal state, place
        state, metrics = program(state, feeds[place])
        metrics.loss.block_until_ready()
        place = (place + 1) % len(feeds)

    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin, repeated(call, steps, seconds)

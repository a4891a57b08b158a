"""The suites `step`, `sample`, `scaling`, `devices` and `sweep`: what a training step and a character cost."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import LimitRace
from jaxrnn.bench.references import reference_arguments, reference_starts, tolerance
from jaxrnn.bench.timing import Contender, LeftOut, Program, Result, Start, Timing, check, compete, repeated
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Workload, make_workload, sampling_program, training_program
from jaxrnn.config import with_settings
from jaxrnn.distributed.cores import available_cores
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation import surprisals
from jaxrnn.network.cells import built_in_name
from jaxrnn.text import Batch
from jaxrnn.training import Metrics, TrainState, make_train_chunk
from jaxrnn.training.sweep import init_members, make_sweep_chunk

LETTERS = {"hidden_size": "H", "sequence_length": "T", "batch_size": "B", "vocab_size": "V"}
AXES: dict[str, tuple[int, ...]] = {  # of the suite `scaling`
    "hidden_size": (64, 128, 256, 512, 1024),
    "sequence_length": (25, 50, 100, 200, 400),
    "batch_size": (1, 4, 16, 64, 256),
    "vocab_size": (65, 250, 1000, 4000, 8000),
}
MODELS = (1, 2, 4, 8, 16, 32, 64)  # of the suite `sweep`
STREAMS = (1, 16, 64, 256)  # of the suite `sample`: texts written side by side
LENGTH = 1000  # characters per stream and call
_SCALING_CHUNK = 10  # largest chunk length there: the largest sizes take tens of milliseconds per step


def _start(workload: Workload, *, chunked: bool = True, seconds: float | None = None) -> Contender:
    return training_program(workload, chunked=chunked).contender(seconds)


def measure_step(config: BenchConfig) -> Result:
    """Measure the training step, by single calls and by chunks, beside other libraries and the floor.

    Contenders, in seconds per training step: "jit", a step per call; "chunk", K steps per call; where the factors of
    products are rounded, "full products", the chunk in which they are not; the references; and the floor.
    """
    training, workload = config.training, make_workload(config)
    starts: dict[str, Start] = {"jit": partial(_start, workload, chunked=False), "chunk": partial(_start, workload)}
    if training.model.products != "full":
        starts["full products"] = partial(_start, make_workload(config.changed(products="full")))
    with ExitStack() as stack:
        starts |= reference_starts(stack, workload)
        # The floor counts the products of one layer, and the optimizers whose memory it knows.
        has_floor = training.model.num_layers == 1 and training.optimizer.name in ("adagrad", "adam")
        limit_race = LimitRace(workload) if has_floor and built_in_name(training.model.cell) else None
        bounds = limit_race.contenders if limit_race else {}
        starts |= {name: partial(Contender, contender.run) for name, contender in bounds.items()}
        timings, notes = compete(starts, config.repeats or 15, tolerance(training))
    seconds = {name: timing for name, timing in timings.items() if name not in bounds}
    details: dict[str, Any] = {"notes": notes}
    if limit_race:
        details["limits"] = limit_race.limits(timings)
        seconds["floor"] = details["limits"].floor
    columns = {
        f"x {other}": {name: timing.over(seconds[other]) for name, timing in seconds.items()}
        for other in ("jit", "chunk", "floor")
        if other in seconds
    }
    return Result(seconds, columns, config.characters, details)


def measure_sample(config: BenchConfig) -> Result:
    """Measure sampling: "streams 1", "streams 16" and so on, "NumPy 1", in seconds per character of all streams."""
    workload = make_workload(config)
    starts: dict[str, Start] = {
        f"streams {streams}": sampling_program(workload, streams, LENGTH).contender for streams in STREAMS
    }
    ours = list(starts)
    with ExitStack() as stack:
        starts["NumPy 1"] = partial(_start_numpy_sampler, stack, workload)
        seconds, notes = compete(starts, config.repeats or 15)
    bases = [base for base in ("NumPy 1", ours[0]) if base in seconds]
    columns = {f"x {base}": {name: seconds[base].over(seconds[name]) for name in ours} for base in bases}
    return Result(seconds, columns, characters=1, details={"notes": notes, "length": LENGTH})


def _start_numpy_sampler(stack: ExitStack, workload: Workload) -> Contender:
    model = workload.config.model
    if model.cell not in ("tanh", "gru", "lstm") or model.num_layers > 1:
        raise LeftOut("it has the cells tanh, gru and lstm, in a single layer")
    worker = stack.enter_context(Worker("numpy_reference", threads=1))
    worker.call("Reference", **reference_arguments(workload))
    tokens, nats = worker.call("sample", 100)
    probable = surprisals(workload.initial_state().params, np.array([0, *tokens]), model)
    check("NumPy 1", [nats], [float(probable.sum())], tolerance(workload.config))
    return repeated(partial(worker.call, "sample"))._replace(note="float64, 1 thread")


def measure_scaling(config: BenchConfig) -> Result:
    """Measure the training step at the sizes of each axis, one axis at a time; contenders: "H 64" and so on."""
    config = config.changed(chunk_length=min(config.training.chunk_length, _SCALING_CHUNK))
    seconds: dict[str, Timing] = {}
    exponents = {}
    for axis, sizes in AXES.items():
        letter, sized = LETTERS[axis], {size: make_workload(config.changed(**{axis: size})) for size in sizes}
        starts = {f"{letter} {size}": partial(_start, workload, seconds=0.05) for size, workload in sized.items()}
        # Other sizes have other losses: there is nothing to check them against.
        timings, _ = compete(starts, config.repeats or 5, tolerance=float("inf"))
        costs = [timing.median for timing in timings.values()]
        overall, last = exponent(sizes, costs), exponent(sizes[-2:], costs[-2:])
        exponents[axis] = {"overall": overall, "last": last}
        seconds |= timings
    return Result(seconds, details={"exponents": exponents})


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return p of the power law cost ~ size^p that is nearest by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measure_devices(config: BenchConfig) -> Result:
    """Measure the step of the same batch with its lanes split over 1, 2, 4, ... up to `config.devices` devices.

    Beyond the number of cores this shows what splitting costs, not what it gains.
    """
    workload, training = make_workload(config), config.training

    def start(count: int) -> Contender:
        try:
            return _start(workload._replace(devices=count))
        except JaxrnnError as error:
            raise LeftOut(str(error).partition(";")[0]) from None

    counts = sorted({2**power for power in range(config.devices.bit_length())} | {config.devices})
    starts = {f"devices {count}": partial(start, count) for count in counts}
    seconds, notes = compete(starts, config.repeats or 9, tolerance(training))
    cores = available_cores() if jax.default_backend() == "cpu" else None
    columns = {"x 1 device": {name: timing.over(seconds["devices 1"]) for name, timing in seconds.items()}}
    return Result(seconds, columns, config.characters, {"cores": cores, "notes": notes})


def measure_sweep(config: BenchConfig) -> Result:
    """Measure the training of many models in one program, and of the same runs one after another.

    Contenders, in seconds per step of one model: "together 8", a sweep of 8 models, and "alone 8", 8 runs.
    """
    workload, training = make_workload(config), config.training
    chunk, rate = make_train_chunk(training), training.optimizer.peak_learning_rate

    def one_by_one(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        results = [jax.block_until_ready(chunk(state, batches)) for state in states]
        return [state for state, _ in results], [metrics for _, metrics in results]

    def start(name: str, count: int) -> Contender:
        settings = [{"seed": seed, "learning_rate": rate / (1 + seed)} for seed in range(count)]
        configs = [with_settings(training, values) for values in settings]
        function = make_sweep_chunk(configs) if name == "together" else one_by_one
        program = Program(function, init_members(configs), [workload.batches], count * training.chunk_length)
        return program.contender(0.2)

    starts = {f"{name} {count}": partial(start, name, count) for count in MODELS for name in ("together", "alone")}
    seconds, _ = compete(starts, config.repeats or 9)
    pairs = {f"together {count}": f"alone {count}" for count in MODELS}
    columns = {"x alone": {together: seconds[alone].over(seconds[together]) for together, alone in pairs.items()}}
    return Result(seconds, columns, config.characters)

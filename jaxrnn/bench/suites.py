"""The suites `step`, `sample`, `scaling`, `devices` and `sweep`: what a training step and a character cost."""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import LimitRace
from jaxrnn.bench.references import check, reference_arguments, start_references, tolerance
from jaxrnn.bench.result import LETTERS, Result, number, say
from jaxrnn.bench.timing import Program, Timing, Workload, counted, make_workload, race
from jaxrnn.bench.worker import Worker
from jaxrnn.config import with_settings
from jaxrnn.distributed.mesh import available_cores, by_lanes, check_divides, make_mesh, replicate
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation import surprisals
from jaxrnn.network import initial_carry
from jaxrnn.sampling import sample
from jaxrnn.text import Batch
from jaxrnn.training import Metrics, TrainState, make_train_chunk, make_train_step
from jaxrnn.training.sweep import init_members, make_sweep_chunk

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


def measure_step(config: BenchConfig) -> Result:
    """Measure the training step, by single calls and by chunks, beside references and the floor.

    Contenders, in seconds per training step: "jit", a step per call; "chunk", K steps per call; where the factors of
    products are rounded, "full products", the chunk in which they are not; the references; and the floor.
    """
    workload = make_workload(config.train_config())
    programs = {
        "jit": training_program(workload, chunked=False, devices=config.devices),
        "chunk": training_program(workload, chunked=True, devices=config.devices),
    }
    if config.products != "full":
        full = make_workload(dataclasses.replace(config, products="full").train_config())
        programs["full products"] = training_program(full, chunked=True, devices=config.devices)
    say("compiling")
    ours = {name: program.contender() for name, program in programs.items()}
    with ExitStack() as stack:
        references, notes = start_references(stack, workload)
        say("measuring")
        limit_race = LimitRace(workload)
        timings = race({**ours, **references, **limit_race.contenders}, config.repeats or 15)
    limits = limit_race.limits(timings)
    seconds = {**{name: timings[name] for name in (*ours, *references)}, "floor": limits.floor}
    columns = {
        f"x {other}": {name: timing.over(seconds[other]) for name, timing in seconds.items()}
        for other in ("jit", "chunk", "floor")
    }
    B, T, H, V = config.batch_size, config.sequence_length, config.hidden_size, config.vocab_size
    parts = limits.recurrent.median, limits.products.median, limits.update.median, limits.floor.median
    recurrent, products, update, floor = (number(1e6 * seconds) for seconds in parts)
    chain, megabytes = number(2e6 * T * limits.recurrent.median), number(limits.update_bytes / 1e6)
    lines = [
        f"jit: jaxrnn, one training step per call; chunk: {config.chunk_length} steps per call; x: how many times its "
        "time, a median of ratios round by round",
        *(f"{name}: {note}" for name, note in notes.items()),
        "",
        f"floor = 2T x recurrent product + other products + update = {floor} us"
        + (", with full products" if config.products != "full" else ""),
        f"  2T x {f'{recurrent} us':<15}{chain:>9} us   [{B}, {H}] x [{H}, {limit_race.width}], one after the other",
        f"  other products      {products:>9} us   [{T * B}, {H}] x [{H}, {V}] and all gradients",
        f"  {f'{megabytes} MB':<20}{update:>9} us   what {config.optimizer} reads and writes",
    ]
    return Result(seconds, lines, columns, config.characters, {"limits": limits, "notes": notes})


def training_program(workload: Workload, *, chunked: bool, devices: int = 1) -> Program:
    """Return our training step, one per call or as a chunk of K per call; every call waits for its losses."""
    config, mesh = workload.config, make_mesh(devices)
    if chunked:
        program, feeds, steps = make_train_chunk(config, mesh=mesh), [workload.batches], config.chunk_length
    else:
        program, feeds, steps = make_train_step(config, mesh=mesh), workload.single_batches(), 1
    return Program(program, workload.initial_state(), feeds, steps, lambda metrics: metrics.loss.block_until_ready())


def measure_sample(config: BenchConfig) -> Result:
    """Measure sampling: "streams 1", "streams 16" and so on, "NumPy 1", in seconds per character of all streams."""
    workload, contenders = make_workload(config.train_config()), {}
    for streams in STREAMS:
        say(f"compiling for {streams} streams")
        devices = config.devices if streams % config.devices == 0 else 1
        contenders[f"streams {streams}"] = sampling_program(workload, streams, LENGTH, devices).contender()
    ours = list(contenders)
    with Worker("numpy_reference", threads=1) as worker:
        say("checking the NumPy reference")
        worker.call("Reference", **reference_arguments(workload))
        tokens, nats = worker.call("sample", 100)
        probable = surprisals(workload.initial_state().params, np.array([0, *tokens]), workload.config.model)
        check("NumPy reference", [nats], [float(probable.sum())], tolerance(workload))
        contenders["NumPy 1"] = counted(partial(worker.call, "sample"))
        say("measuring")
        seconds = race(contenders, config.repeats or 15)
    columns = {f"x {base}": {name: seconds[base].over(seconds[name]) for name in ours} for base in ("NumPy 1", ours[0])}
    lines = [
        f"{LENGTH:,} characters of each stream per call; x: how many times as many characters per "
        "second, all streams together, medians of ratios round by round; NumPy: float64, 1 thread"
    ]
    if config.devices > 1:
        lines.append(f"streams that {config.devices} devices divide are split over them, others are written by one")
    return Result(seconds, lines, columns, characters=1, chart="curves")


def sampling_program(workload: Workload, streams: int, length: int, devices: int = 1) -> Program:
    """Return our sampler, which writes `length` characters of each stream per call, from a zero carry."""
    model, mesh = workload.config.model, make_mesh(devices)
    params = workload.initial_state().params
    key, carry, prime = jax.random.key(0), initial_carry(streams, model), jnp.zeros((1, streams), jnp.int32)
    if mesh:  # as `jaxrnn sample` does: a key for each lane, and every computation follows its inputs
        keys, lanes = jax.random.split(key, streams), by_lanes(mesh, 0)
        key, carry, prime = jax.device_put((keys, carry, prime), (lanes, lanes, by_lanes(mesh, 1)))
        params = replicate(params, mesh)

    def write(carry: Any, prime: jax.Array) -> tuple[Any, jax.Array]:
        return carry, sample(key, params, carry, prime, model, length=length)[0]

    return Program(write, carry, [prime], length * streams, np.asarray)  # the text is needed on the host


def measure_scaling(config: BenchConfig) -> Result:
    """Measure the training step at the sizes of each axis, one axis at a time; contenders: "H 64" and so on."""
    config = dataclasses.replace(config, chunk_length=min(config.chunk_length, _SCALING_CHUNK))
    seconds: dict[str, Timing] = {}
    exponents, lines = {}, []
    for axis, sizes in AXES.items():
        contenders, letter = {}, LETTERS[axis]
        for size in sizes:
            say(f"compiling for {axis} {size}")
            sized = dataclasses.replace(config, **{axis: size})  # type: ignore[arg-type]
            program = training_program(make_workload(sized.train_config()), chunked=True)
            contenders[f"{letter} {size}"] = program.contender(seconds=0.05)
        timings = race(contenders, config.repeats or 5)
        costs = [timing.median for timing in timings.values()]
        overall, last = exponent(sizes, costs), exponent(sizes[-2:], costs[-2:])
        lines.append(f"{axis}: cost ~ {letter}^{overall:.2f} over all sizes; ~ {letter}^{last:.2f} at the end")
        exponents[axis] = {"overall": overall, "last": last}
        seconds |= timings
    lines += ["time per training step, the other sizes as in the first line; exponents by least squares on logarithms"]
    return Result(seconds, lines, details={"exponents": exponents}, chart="curves")


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return p of the power law cost ~ size^p that is nearest by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measure_devices(config: BenchConfig) -> Result:
    """Measure the step of the same batch with its lanes split over 1, 2, 4, ... up to `config.devices` devices.

    Beyond the number of cores this shows what splitting costs, not what it gains.
    """
    workload, contenders, notes = make_workload(config.train_config()), {}, {}
    for count in sorted({2**power for power in range(config.devices.bit_length())} | {config.devices}):
        name = f"devices {count}"
        try:
            check_divides(make_mesh(count), "batch_size", config.batch_size)
        except JaxrnnError as error:
            notes[name] = str(error).partition(";")[0]
            continue
        say(f"compiling for {count} devices")
        contenders[name], largest = training_program(workload, chunked=True, devices=count).contender(), count
    seconds = race(contenders, config.repeats or 9)
    cores = available_cores() if jax.default_backend() == "cpu" else None
    lines = [
        *(f"{name} left out: {note}" for name, note in notes.items()),
        f"{config.chunk_length} steps per call, the same {config.batch_size} lanes in all; x: how many times the time "
        "of one device, a median of ratios round by round",
    ]
    if cores and largest > cores:
        lines.append(f"more devices than the {cores} cores show what splitting costs, not what they would gain")
    columns = {"x 1 device": {name: timing.over(seconds["devices 1"]) for name, timing in seconds.items()}}
    return Result(seconds, lines, columns, config.characters, {"cores": cores, "notes": notes}, chart="curves")


def measure_sweep(config: BenchConfig) -> Result:
    """Measure the training of many models in one program, and of the same runs one after another.

    Contenders, in seconds per step of one model: "together 8", a sweep of 8 models, and "alone 8", 8 runs.
    """
    workload, contenders = make_workload(config.train_config()), {}
    chunk, rate = make_train_chunk(workload.config), workload.config.optimizer.peak_learning_rate

    def one_by_one(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        results = [jax.block_until_ready(chunk(state, batches)) for state in states]
        return [state for state, _ in results], [metrics for _, metrics in results]

    for count in MODELS:
        say(f"compiling for {count} models")
        settings = [{"seed": seed, "learning_rate": rate / (1 + seed)} for seed in range(count)]
        configs = [with_settings(workload.config, values) for values in settings]
        for name, function in (("together", make_sweep_chunk(configs)), ("alone", one_by_one)):
            program = Program(function, init_members(configs), [workload.batches], count * config.chunk_length)
            contenders[f"{name} {count}"] = program.contender(0.2)
    seconds = race(contenders, config.repeats or 9)
    pairs = {f"together {count}": f"alone {count}" for count in MODELS}
    columns = {"x alone": {together: seconds[alone].over(seconds[together]) for together, alone in pairs.items()}}
    lines = [
        f"time per step of one model, {config.chunk_length} steps per call; char/s: of all models; alone: the same "
        "runs, each by its own chunk, one after another; x: how many times as fast, a median of ratios round by round"
    ]
    return Result(seconds, lines, columns, config.characters, chart="curves")

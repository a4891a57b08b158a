"""The suites `step`, `scaling`, `devices` and `sweep`: what a training step costs.

The figures below were measured on two cores of an AMD EPYC (Zen 5), Python 3.11, jax 0.10.2, NumPy 2.4.6 and PyTorch
2.13.0, where nothing else is said with min-char-rnn's workload: tanh, B 1, T 25, H 100, V 65, Adagrad.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack

import jax
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import LimitRace, Limits
from jaxrnn.bench.references import start_references
from jaxrnn.bench.result import LETTERS, Result, Say, number
from jaxrnn.bench.timing import Timing, race
from jaxrnn.bench.workload import Program, Workload, make_workload
from jaxrnn.distributed.mesh import available_cores, check_divides, make_mesh
from jaxrnn.errors import JaxrnnError
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
_SCALING_CHUNK = 10  # largest chunk length there: the largest sizes take tens of milliseconds per step


def measure_step(config: BenchConfig, say: Say) -> Result:
    """Measure the training step, by single calls and by chunks, beside references and the floor.

                                  us a step   times NumPy's speed   times PyTorch's   times the floor's cost
        100 steps a call               38.6                  17.2              19.9                     1.58
        one call a step                75.8                   8.9              10.3                     3.04
        NumPy, float64, one thread      662                     1               1.2                     26.9
        V 5,000, 100 steps a call       465                    37

    Larger models with `--batch-size 64 --optimizer adam`, on one device and on two (XLA runs small products on one
    core; two devices give each core half of the lanes):

                                        ms a step     times PyTorch's speed
        tanh, T 50, H 256, K 10         8.1,  5.4     1.98, 2.8
        GRU, T 64, H 512, K 16          67,   62      2.16, 2.40
        LSTM, the same                  89,   83      1.35, 1.46
        GRU, `--products bfloat16`      48            3.14; 1.48 times its own float32
        LSTM, the same                  63            1.95; 1.43 times its own float32

    Without the XLA flags that the command line sets (`jaxrnn.cli.jax_setup`), that is with XLA's own values, XLA_FLAGS=
    "--xla_cpu_prefer_vector_width=256 --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1024",
    jaxrnn's rows of the first table take 48.1, 81.1 and 499 us (13.4, 7.7 and 35 times NumPy's speed); tanh, GRU and
    LSTM on two devices 5.8, 63 and 81 ms; bfloat16 products 56 and 74 ms. On a Zen 4 processor, without the flags, the
    first row was 11.2 times NumPy's speed.

    Contenders, in seconds per training step: "jit", a step per call; "chunk", K steps per call; where the factors of
    products are rounded, "full products", the chunk in which they are not; the references; and the floor.

    Raises:
        BenchError: a reference computes something else.
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
        references, notes = start_references(stack, workload, say)
        say("measuring")
        limit_race = LimitRace(workload)
        timings = race({**ours, **references, **limit_race.contenders}, config.repeats or 15)
    limits = limit_race.limits(timings)
    seconds = {**{name: timings[name] for name in (*ours, *references)}, "floor": limits.floor}
    columns = {
        f"x {other}": {name: timing.over(seconds[other]) for name, timing in seconds.items()}
        for other in ("jit", "chunk", "floor")
    }
    lines = [
        f"jit: jaxrnn, one training step per call; chunk: {config.chunk_length} steps per call; x: how many times its "
        "time, a median of ratios round by round",
        *(f"{name}: {note}" for name, note in notes.items()),
        "",
        *_floor_lines(limits, workload),
    ]
    return Result(config, seconds, lines, columns, config.characters, {"limits": limits._asdict(), "notes": notes})


def _floor_lines(limits: Limits, workload: Workload) -> list[str]:
    config, V, width = workload.config, workload.vocab_size, workload.width
    T, B, H = config.sequence_length, config.batch_size, config.model.hidden_size
    recurrent, products, update = (t.median * 1e6 for t in (limits.recurrent, limits.products, limits.update))
    parts = [
        (f"2T x {number(recurrent)} us", 2 * T * recurrent, f"[{B}, {H}] x [{H}, {width}], one after the other"),
        ("other products", products, f"[{T * B}, {H}] x [{H}, {V}] and all gradients"),
        (f"{number(limits.update_bytes / 1e6)} MB", update, f"what {config.optimizer.name} reads and writes"),
    ]
    return [
        f"floor = 2T x recurrent product + other products + update = {number(limits.floor.median * 1e6)} us"
        + (", with full products" if config.model.products != "full" else ""),
        *(f"  {formula:<20}{number(us):>9} us   {what}" for formula, us, what in parts),
    ]


def training_program(workload: Workload, *, chunked: bool, devices: int = 1) -> Program:
    """Return our training step, one per call or as a chunk of K per call; every call waits for its losses."""
    config, mesh = workload.config, make_mesh(devices)
    if chunked:
        program, feeds, steps = make_train_chunk(config, mesh=mesh), [workload.batches], config.chunk_length
    else:
        program, feeds, steps = make_train_step(config, mesh=mesh), workload.single_batches(), 1
    return Program(program, workload.initial_state(), feeds, steps, lambda metrics: metrics.loss.block_until_ready())


def measure_scaling(config: BenchConfig, say: Say) -> Result:
    """Measure the training step at the sizes of each axis, one axis at a time; contenders: "H 64" and so on.

    Microseconds per step; the exponents are of power laws:

        H      64: 24    128: 58      256: 181     512: 684    1,024: 2,086     1.65
        T      25: 42     50: 65      100: 106     200: 198      400: 407       0.81
        B       1: 45      4: 107      16: 356      64: 1,034    256: 3,691     0.80
        V      65: 43    250: 64    1,000: 177   4,000: 501    8,000: 682       0.61
    """
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
    lines.append(
        "time per training step, the other sizes as in the first line; exponents by least squares on logarithms"
    )
    return Result(config, seconds, lines, details={"exponents": exponents}, chart="curves")


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return p of the power law cost ~ size^p that is nearest by least squares on logarithms.

    Example:
        >>> round(exponent([1, 10, 100], [3.0, 300.0, 30000.0]), 9)
        2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measure_devices(config: BenchConfig, say: Say) -> Result:
    """Measure the step of the same batch with its lanes split over 1, 2, 4, ... up to `config.devices` devices.

    tanh, B 64 in all, T 25, H 256. Beyond two devices this shows what splitting costs, not what four or eight gain:

        devices                       1         2         4         8
        characters per second   367,000   407,000   466,000   359,000
        ms per step                4.36      3.93      3.43      4.46
        times the time of one         1      0.90      0.80      1.05
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
        contenders[name] = training_program(workload, chunked=True, devices=count).contender()
    seconds = race(contenders, config.repeats or 9)
    cores = available_cores() if jax.default_backend() == "cpu" else None
    lines = [
        *(f"{name} left out: {note}" for name, note in notes.items()),
        f"{config.chunk_length} steps per call, the same {config.batch_size} lanes in all; x: how many times the time "
        "of one device, a median of ratios round by round",
        *overhead_lines(max(int(name.split()[1]) for name in seconds), cores),
    ]
    columns = {"x 1 device": {name: timing.over(seconds["devices 1"]) for name, timing in seconds.items()}}
    details = {"cores": cores, "notes": notes}
    return Result(config, seconds, lines, columns, config.characters, details, chart="curves")


def overhead_lines(devices: int, cores: int | None) -> list[str]:
    """Return what there is to say where the devices are those of a CPU with fewer cores."""
    if cores is None or devices <= cores:
        return []
    return [f"more devices than the {cores} cores show what splitting costs, not what they would gain"]


def measure_sweep(config: BenchConfig, say: Say) -> Result:
    """Measure the training of many models in one program, and of the same runs one after another.

    Contenders, in seconds per step of one model: "together 8", a sweep of 8 models, and "alone 8", 8 runs. Thousands of
    characters per second, all models together:

        models                1       2       4       8      16      32      64
        in one sweep        595   1,033     911   1,046   1,106   1,145   1,169
        one after another   644     646     636     636     634     635     638
        times as many      0.92    1.60    1.44    1.68    1.75    1.81    1.84
    """
    workload, contenders = make_workload(config.train_config()), {}
    for count in MODELS:
        say(f"compiling for {count} models")
        contenders[f"together {count}"] = _together(workload, count).contender(0.2)
        contenders[f"alone {count}"] = _alone(workload, count).contender(0.2)
    seconds = race(contenders, config.repeats or 9)
    pairs = {f"together {count}": f"alone {count}" for count in MODELS}
    columns = {"x alone": {together: seconds[alone].over(seconds[together]) for together, alone in pairs.items()}}
    lines = [
        f"time per step of one model, {config.chunk_length} steps per call; char/s: of all models; alone: the same "
        "runs, each by its own chunk, one after another; x: how many times as fast, a median of ratios round by round"
    ]
    return Result(config, seconds, lines, columns, config.characters, chart="curves")


def _together(workload: Workload, count: int) -> Program:
    """Return one program for all models, each with its own learning rate and seed."""
    config, optimizer = workload.config, workload.config.optimizer
    optimizers = [
        dataclasses.replace(optimizer, learning_rate=optimizer.peak_learning_rate / (1 + seed)) for seed in range(count)
    ]
    configs = [dataclasses.replace(config, seed=seed, optimizer=member) for seed, member in enumerate(optimizers)]
    return Program(make_sweep_chunk(configs), init_members(configs), [workload.batches], count * config.chunk_length)


def _alone(workload: Workload, count: int) -> Program:
    chunk = make_train_chunk(workload.config)

    def one_by_one(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        results = [jax.block_until_ready(chunk(state, batches)) for state in states]
        return [state for state, _ in results], [metrics for _, metrics in results]

    states = init_members([dataclasses.replace(workload.config, seed=seed) for seed in range(count)])
    return Program(one_by_one, states, [workload.batches], count * workload.config.chunk_length)

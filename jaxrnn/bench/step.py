"""The suite `step`: what a training step costs, by single calls and by chunks, beside references and the floor.

Two cores of an AMD EPYC (Zen 5), Python 3.11, jax 0.10.2, NumPy 2.4.6, PyTorch 2.13.0; tanh, B 1, T 25, H 100, V 65,
Adagrad:

                              us a step   times NumPy's speed   times PyTorch's   times the floor's cost
    100 steps a call               38.6                  17.2              19.9                     1.58
    one call a step                75.8                   8.9              10.3                     3.04
    NumPy, float64, one thread      662                     1               1.2                     26.9
    V 5,000, 100 steps a call       465                    37

Larger models with `--batch-size 64 --optimizer adam`, on one device and on two (XLA runs small products on one core;
two devices give each core half of the lanes):

                                    ms a step     times PyTorch's speed
    tanh, T 50, H 256, K 10         8.1,  5.4     1.98, 2.8
    GRU, T 64, H 512, K 16          67,   62      2.16, 2.40
    LSTM, the same                  89,   83      1.35, 1.46
    GRU, `--products bfloat16`      48            3.14; 1.48 times its own float32
    LSTM, the same                  63            1.95; 1.43 times its own float32

Without the XLA flags that the command line sets (`jaxrnn.cli.jax_setup`), that is with XLA's own values, XLA_FLAGS=
"--xla_cpu_prefer_vector_width=256 --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1024", jaxrnn's
rows of the first table take 48.1, 81.1 and 499 us (13.4, 7.7 and 35 times NumPy's speed); tanh, GRU and LSTM on two
devices 5.8, 63 and 81 ms; bfloat16 products 56 and 74 ms. On a Zen 4 processor, without the flags, the first row was
11.2 times NumPy's speed.
"""

import dataclasses
from contextlib import ExitStack

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import LimitRace, Limits
from jaxrnn.bench.machine import peak_memory
from jaxrnn.bench.references import start_references
from jaxrnn.bench.result import Result, Say, number
from jaxrnn.bench.timing import race
from jaxrnn.bench.workload import Program, Workload, make_workload, training_flop
from jaxrnn.distributed.mesh import make_mesh
from jaxrnn.training.step import make_train_chunk, make_train_step


def measure_step(config: BenchConfig, say: Say) -> Result:
    """Measure the training step.

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
    memory = peak_memory()
    with ExitStack() as stack:
        references, notes = start_references(stack, workload, say)
        say("measuring")
        limit_race = LimitRace(workload)
        timings = race({**ours, **references, **limit_race.contenders}, config.repeats or 15)
    limits, flop = limit_race.limits(timings), training_flop(workload)
    seconds = {**{name: timings[name] for name in (*ours, *references)}, "floor": limits.floor}
    columns = {
        "GFLOP/s": {name: timing.rate(flop / 1e9) for name, timing in seconds.items()},
        "% of peak": {name: timing.rate(100 * flop).over(limits.peak) for name, timing in seconds.items()},
    }
    for other in ("jit", "chunk", "floor"):
        columns[f"x {other}"] = {name: timing.over(seconds[other]) for name, timing in seconds.items()}
    device = "not counted here" if memory["device"] is None else f"{number(memory['device'] / 1e6)} MB"
    lines = [
        f"jit: jaxrnn, one training step per call; chunk: {config.chunk_length} steps per call; x: how many times its "
        f"time, a median of ratios round by round; a step has {number(flop / 1e6)} MFLOP; peak: of a large product",
        *(f"{name}: {note}" for name, note in notes.items()),
        "",
        *_floor_lines(limits, workload),
        "",
        f"peak memory after training: process {number((memory['process'] or 0) / 1e6)} MB, device {device}",
    ]
    details = {"flop": flop, "limits": limits._asdict(), "peak_memory": memory, "notes": notes}
    return Result(config, seconds, lines, columns, config.characters, details)


def training_program(workload: Workload, *, chunked: bool, devices: int = 1) -> Program:
    """Return our training step, one per call or as a chunk of K per call; every call waits for its losses."""
    config, mesh = workload.config, make_mesh(devices)
    if chunked:
        program, feeds, steps = make_train_chunk(config, mesh=mesh), [workload.batches], config.chunk_length
    else:
        program, feeds, steps = make_train_step(config, mesh=mesh), workload.single_batches(), 1
    return Program(program, workload.initial_state(), feeds, steps, lambda metrics: metrics.loss.block_until_ready())


def _floor_lines(limits: Limits, workload: Workload) -> list[str]:
    config, V, width = workload.config, workload.vocab_size, workload.width
    T, B, H, flop = config.sequence_length, config.batch_size, config.model.hidden_size, limits.products_flop
    recurrent, products, update = (t.median * 1e6 for t in (limits.recurrent, limits.products, limits.update))
    rate, bandwidth = number(flop / products / 1e3), number(limits.bandwidth.median / 1e9)
    parts = [
        (f"2T x {number(recurrent)} us", 2 * T * recurrent, f"[{B}, {H}] x [{H}, {width}], one after the other"),
        (f"{number(flop / 1e6)} MFLOP / {rate} GFLOP/s", products, f"[{T * B}, {H}] x [{H}, {V}] and all gradients"),
        (
            f"{number(limits.update_bytes / 1e6)} MB / {bandwidth} GB/s",
            update,
            f"what {config.optimizer.name} reads and writes",
        ),
    ]
    return [
        f"floor = 2T x recurrent product + other products + update = {number(limits.floor.median * 1e6)} us"
        + (", with full products" if config.model.products != "full" else ""),
        *(f"  {formula:<30}{number(us):>9} us   {what}" for formula, us, what in parts),
        f"the largest rate, measured in the same rounds: product [{limits.peak_size}, {limits.peak_size}] "
        f"{number(limits.peak.median / 1e9)} GFLOP/s",
    ]

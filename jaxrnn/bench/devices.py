"""The suite `devices`: the same training step with its lanes split over one device, two, four and so on."""

from typing import NamedTuple

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import Say
from jaxrnn.bench.step import jax_contender
from jaxrnn.bench.timing import Timing, race
from jaxrnn.bench.workload import make_workload
from jaxrnn.distributed.mesh import available_cores, check_divides, make_mesh
from jaxrnn.errors import JaxrnnError


class DevicesResult(NamedTuple):
    """What the suite measures.

    Attributes:
        compile_seconds: for each number of devices: trace, compile, first run.
        step_seconds: for each of them, by chunk.
        ratios: how many times the time of one device a step takes, round by round.
        notes: why a number of devices is left out.
        characters: T*B in a step.
        cores: those that have to do the devices' work, where these are a CPU's.
    """

    compile_seconds: dict[str, float]
    step_seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    notes: dict[str, str]
    characters: int
    cores: int | None


def measure_devices(config: BenchConfig, say: Say = lambda message: None) -> DevicesResult:
    """Measure the training step of one and the same batch on up to `config.devices` devices, in powers of two."""
    workload = make_workload(config.train_config())
    compile_seconds, contenders, notes = {}, {}, {}
    for count in counts(config.devices):
        name = str(count)
        try:
            check_divides(make_mesh(count), "batch_size", config.batch_size)
        except JaxrnnError as error:
            notes[name] = str(error).partition(";")[0]
            continue
        say(f"compiling for {name} devices")
        compile_seconds[name], contenders[name] = jax_contender(workload, chunked=True, devices=count)
    steps = race(contenders, config.repeats or 9)
    ratios = {name: timing.over(steps["1"]) for name, timing in steps.items()}
    cores = available_cores() if jax.default_backend() == "cpu" else None
    return DevicesResult(compile_seconds, steps, ratios, notes, config.sequence_length * config.batch_size, cores)


def counts(most: int) -> list[int]:
    """Return the powers of two up to a number, and the number.

    Example:
        >>> counts(8), counts(6)
        ([1, 2, 4, 8], [1, 2, 4, 6])
    """
    return sorted({2**power for power in range(most.bit_length())} | {most})

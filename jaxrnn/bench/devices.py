"""The suite `devices`: the same training step with its lanes split over one device, two, four and so on.

Two cores of an AMD EPYC (Zen 5), jax 0.10.2; tanh, B 64 in all, T 25, H 256. Beyond two devices this shows what
splitting costs, not what four or eight would gain:

    devices                       1         2         4         8
    characters per second   367,000   407,000   466,000   359,000
    ms per step                4.36      3.93      3.43      4.46
    times the time of one         1      0.90      0.80      1.05
"""

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.result import Result, Say
from jaxrnn.bench.step import training_program
from jaxrnn.bench.timing import race
from jaxrnn.bench.workload import make_workload
from jaxrnn.distributed.mesh import available_cores, check_divides, make_mesh
from jaxrnn.errors import JaxrnnError


def measure_devices(config: BenchConfig, say: Say) -> Result:
    """Measure the training step of the same batch on up to `config.devices` devices, in powers of two."""
    workload, contenders, notes = make_workload(config.train_config()), {}, {}
    for count in device_counts(config.devices):
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


def device_counts(largest: int) -> list[int]:
    """Return the powers of two up to a number, and the number.

    Example:
        >>> device_counts(8), device_counts(6)
        ([1, 2, 4, 8], [1, 2, 4, 6])
    """
    return sorted({2**power for power in range(largest.bit_length())} | {largest})

"""The suite `scaling`: how the cost of a step grows with each size, the others as the workload has them.

Microseconds per step, two cores of an AMD EPYC (Zen 5), jax 0.10.2; tanh, B 1, T 25, H 100, V 65, Adagrad:

                                                                        exponent
    H      64: 24    128: 58      256: 181     512: 684    1,024: 2,086     1.65
    T      25: 42     50: 65      100: 106     200: 198      400: 407       0.81
    B       1: 45      4: 107      16: 356      64: 1,034    256: 3,691     0.80
    V      65: 43    250: 64    1,000: 177   4,000: 501    8,000: 682       0.61
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.result import LETTERS, Result, Say
from jaxrnn.bench.step import training_program
from jaxrnn.bench.timing import Timing, race
from jaxrnn.bench.workload import make_workload

AXES: dict[str, tuple[int, ...]] = {
    "hidden_size": (64, 128, 256, 512, 1024),
    "sequence_length": (25, 50, 100, 200, 400),
    "batch_size": (1, 4, 16, 64, 256),
    "vocab_size": (65, 250, 1000, 4000, 8000),
}
_CHUNK = 10  # largest chunk length: the largest sizes take tens of milliseconds per step


def measure_scaling(config: BenchConfig, say: Say) -> Result:
    """Measure the training step at the sizes of each axis, one axis at a time; contenders: "H 64" and so on."""
    config = dataclasses.replace(config, chunk_length=min(config.chunk_length, _CHUNK))
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

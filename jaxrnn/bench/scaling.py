"""The suite `scaling`: how the cost of a step grows with each size, the others as the workload has them."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import Say
from jaxrnn.bench.step import jax_contender
from jaxrnn.bench.timing import Timing, race
from jaxrnn.bench.workload import make_workload

AXES: dict[str, tuple[int, ...]] = {
    "hidden_size": (64, 128, 256, 512, 1024),
    "sequence_length": (25, 50, 100, 200, 400),
    "batch_size": (1, 4, 16, 64, 256),
    "vocab_size": (65, 250, 1000, 4000, 8000),
}
_CHUNK = 10  # steps in a dispatch at most: the largest sizes take tens of milliseconds each


class Growth(NamedTuple):
    """How the cost of a step grows along one axis.

    Attributes:
        sizes: along the axis.
        compile_seconds: for each of them: trace, compile, first run.
        step_seconds: for each of them, by chunk.
        exponent: of cost ~ size^exponent, by least squares on logarithms over all sizes.
        last_exponent: of the last two sizes: where it is going.
    """

    sizes: list[int]
    compile_seconds: list[float]
    step_seconds: list[Timing]
    exponent: float
    last_exponent: float


class ScalingResult(NamedTuple):
    """What the suite measures: for each axis, how the cost of a step grows."""

    axes: dict[str, Growth]


def measure_scaling(
    config: BenchConfig, say: Say = lambda message: None, axes: dict[str, tuple[int, ...]] = AXES
) -> ScalingResult:
    """Measure the training step at the sizes of each axis, one axis at a time."""
    config = dataclasses.replace(config, chunk_length=min(config.chunk_length, _CHUNK))
    return ScalingResult({axis: _measure_axis(config, axis, sizes, say) for axis, sizes in axes.items()})


def _measure_axis(config: BenchConfig, axis: str, sizes: tuple[int, ...], say: Say) -> Growth:
    compile_seconds, contenders = [], {}
    for size in sizes:
        say(f"compiling for {axis} {size}")
        workload = make_workload(dataclasses.replace(config, **{axis: size}).train_config())  # type: ignore[arg-type]
        seconds, contenders[str(size)] = jax_contender(workload, chunked=True, seconds=0.05)
        compile_seconds.append(seconds)
    timings = list(race(contenders, config.repeats or 5).values())
    costs = [timing.median for timing in timings]
    return Growth(list(sizes), compile_seconds, timings, exponent(sizes, costs), exponent(sizes[-2:], costs[-2:]))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return p of the power law cost ~ size^p that is nearest by least squares on logarithms.

    Example:
        >>> round(exponent([1, 10, 100], [3.0, 300.0, 30000.0]), 9)
        2.0
    """
    x, y = np.log(sizes), np.log(costs)
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))

"""Benchmarks: `measure` times any jitted step; each suite of `jaxrnn bench` is a function `measure_SUITE(config)`.

`suites` has step, sample, scaling, devices and sweep; startup and kernels have modules of their own. All describe
contenders, which `timing.compete` starts, checks and measures in turns. notebooks/02_step_time.ipynb holds figures.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.bench.timing import Timing as Timing
    from jaxrnn.bench.timing import measure as measure

__all__ = ["Timing", "measure"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported when first used: the command line lists its flags without JAX
        return getattr(importlib.import_module("jaxrnn.bench.timing"), name)
    raise AttributeError(f"module 'jaxrnn.bench' has no attribute {name!r}")

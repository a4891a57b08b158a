"""Benchmarks: each suite of `jaxrnn bench` is a function `measure_SUITE(config) -> Result`.

`suites` has step, sample, scaling, devices and sweep; startup and kernels have modules of their own. All measure
contenders that take turns (`timing.race`): programs of ours (`timing.Program`), references in processes of their own
(`references`), and the machine's limits (`limits`). notebooks/02_step_time.ipynb holds the figures recorded so far.
"""

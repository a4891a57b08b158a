"""Benchmarks: each suite of `jaxrnn bench` is a function `measure_SUITE(config, say) -> Result`.

`training` has the suites step, scaling, devices and sweep; sample, startup and kernels have modules of their own. All
measure contenders that take turns (`timing.race`): programs of ours (`workload.Program`), references in processes of
their own (`references`), and the machine's limits (`limits`). The figures recorded so far stand at each suite.
"""

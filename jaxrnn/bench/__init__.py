"""Benchmarks: a module per suite of `jaxrnn bench`, each with a function `measure_SUITE(config, say) -> Result`.

step, sample, startup, scaling, devices, sweep and kernels measure contenders that take turns (`timing.race`): programs
of ours (`workload.Program`), references in processes of their own (`references`), and the machine's limits (`limits`).
`result` has the table of every suite, `chart` its figure. The figures recorded so far stand at the top of each suite.
"""

"""The suite `sweep`: many models in one program, beside the same runs one after another.

Thousands of characters per second, all models together; two cores of an AMD EPYC (Zen 5), jax 0.10.2, min-char-rnn's
workload:

    models                1       2       4       8      16      32      64
    in one sweep        595   1,033     911   1,046   1,106   1,145   1,169
    one after another   644     646     636     636     634     635     638
    times as many      0.92    1.60    1.44    1.68    1.75    1.81    1.84
"""

import dataclasses
from collections.abc import Sequence

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.result import Result, Say
from jaxrnn.bench.timing import race
from jaxrnn.bench.workload import Program, Workload, make_workload
from jaxrnn.text import Batch
from jaxrnn.training.step import Metrics, TrainState, make_train_chunk
from jaxrnn.training.sweep import init_members, make_sweep_chunk


def measure_sweep(config: BenchConfig, say: Say) -> Result:
    """Measure the training of many models at once, and of the same runs one after another.

    Contenders, in seconds per step of one model: "together 8", a sweep of 8 models, and "alone 8", 8 runs.
    """
    workload, contenders = make_workload(config.train_config()), {}
    for count in config.models:
        say(f"compiling for {count} models")
        contenders[f"together {count}"] = _together(workload, count).contender(0.2)
        contenders[f"alone {count}"] = _alone(workload, count).contender(0.2)
    seconds = race(contenders, config.repeats or 9)
    pairs = {f"together {count}": f"alone {count}" for count in config.models}
    columns = {"x alone": {together: seconds[alone].over(seconds[together]) for together, alone in pairs.items()}}
    lines = [
        f"time per step of one model, {config.chunk_length} steps per call; char/s: of all models; alone: the same "
        "runs, each by its own chunk, one after another; x: how many times as fast, a median of ratios round by round",
    ]
    return Result(config, seconds, lines, columns, config.characters, chart="curves")


def _together(workload: Workload, count: int) -> Program:
    """Return one program for all models, each with its own learning rate and seed."""
    optimizer = workload.config.optimizer
    configs = [
        dataclasses.replace(
            workload.config,
            seed=seed,
            optimizer=dataclasses.replace(optimizer, learning_rate=optimizer.peak_learning_rate / (1 + seed)),
        )
        for seed in range(count)
    ]
    units = count * workload.config.chunk_length
    return Program(make_sweep_chunk(configs), init_members(configs), [workload.batches], units)


def _alone(workload: Workload, count: int) -> Program:
    chunk = make_train_chunk(workload.config)

    def one_by_one(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        results = [jax.block_until_ready(chunk(state, batches)) for state in states]
        return [state for state, _ in results], [metrics for _, metrics in results]

    states = init_members([dataclasses.replace(workload.config, seed=seed) for seed in range(count)])
    return Program(one_by_one, states, [workload.batches], count * workload.config.chunk_length)

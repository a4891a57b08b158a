"""Timing side by side: every contender runs once per round, so that a disturbance hits all of them alike."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.config import TrainConfig
from jaxrnn.network import Params
from jaxrnn.text import Batch, batches
from jaxrnn.training import TrainState, init_train_state


class Timing(NamedTuple):
    """The measurements of all rounds and their quartiles: seconds per unit of work, or rates or ratios of them.

    `compile_seconds` is the first call: trace, compile, run; None where nothing is compiled.
    """

    median: float
    lower: float
    upper: float
    rounds: tuple[float, ...]
    compile_seconds: float | None = None

    @classmethod
    def of(cls, values: Iterable[float], compile_seconds: float | None = None) -> "Timing":
        """Return the timing with these rounds."""
        rounds = tuple(map(float, values))
        lower, median, upper = map(float, np.quantile(rounds, (0.25, 0.5, 0.75)))
        return cls(median, lower, upper, rounds, compile_seconds)

    def over(self, other: "Timing") -> "Timing":
        """Return the ratio to another timing of the same race, round by round: its median is the median of ratios."""
        return Timing.of(np.array(self.rounds) / np.array(other.rounds))


class Contender(NamedTuple):
    """Something to time: `run` does some work and returns the seconds per unit of work."""

    run: Callable[[], float]
    compile_seconds: float | None = None


def race(contenders: Mapping[str, Contender], rounds: int, rest: float = 0.01) -> dict[str, Timing]:
    """Run every contender once per round; every other round in reverse, so that none always follows the same one.

    Before each run is a rest of some seconds, in which the threads of the previous one stop waiting for more work.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            time.sleep(rest)
            times[name].append(contenders[name].run())
    return {name: Timing.of(values, contenders[name].compile_seconds) for name, values in times.items()}


def counted(run: Callable[[int], object], seconds: float = 0.1) -> Contender:
    """Return a contender that calls `run(count)`, with a count, at least 1, for which that takes about `seconds`.

    `run` does `count` units of work and returns when they are done. It is called here to find the count.
    """
    count = 1
    while (elapsed := min(_seconds(run, count), _seconds(run, count))) < seconds / 8:
        count *= 4
    count = max(1, round(count * seconds / elapsed))
    return Contender(lambda: _seconds(run, count) / count)


def _seconds(run: Callable[[int], object], count: int) -> float:
    begin = time.perf_counter()
    run(count)
    return time.perf_counter() - begin


class Workload(NamedTuple):
    """What jaxrnn and every reference begin from."""

    config: TrainConfig
    batches: Batch  # a chunk, int32 [K, T, B] and bool [K]; one sweep over the text, so that it can be repeated
    vocab_size: int

    def initial_state(self) -> TrainState:
        """Return a new state before the first step."""
        return init_train_state(jax.random.key(self.config.seed), self.config)

    def single_batches(self) -> list[Batch]:
        """Return the K batches one by one, int32 [T, B]."""
        return [jax.tree.map(lambda part, k=k: part[k], self.batches) for k in range(len(self.batches.reset))]


def make_workload(config: TrainConfig) -> Workload:
    """Return the workload of a run: characters with frequencies 1/1, 1/2, 1/3, ..., as words have (Zipf)."""
    vocab_size = config.model.vocab_size or 1
    lane_length = config.chunk_length * config.sequence_length + 2
    frequencies = 1 / np.arange(1, vocab_size + 1)
    probabilities = frequencies / frequencies.sum()
    tokens = np.random.default_rng(0).choice(vocab_size, config.batch_size * lane_length, p=probabilities)
    return Workload(config, batches(tokens, 0, config.chunk_length, config), vocab_size)


class Program(NamedTuple):
    """A function from state to state, and what it runs on."""

    function: Callable[[Any, Any], tuple[Any, Any]]  # (state, feed) -> (state, output); it may donate the state
    state: Any  # before the first call
    feeds: Sequence[Any]  # the calls take them in turn, and begin again after the last
    units: int  # of work per call
    wait: Callable[[Any], object] = jax.block_until_ready  # takes the output and returns when it is ready

    def contender(self, seconds: float = 0.1) -> Contender:
        """Return a contender that calls the function as often as fits into about `seconds`, at least once.

        Each call takes the state of the previous one. The first, made here, compiles the function.
        """
        state, feeds = jax.block_until_ready(self.state), itertools.cycle(self.feeds)

        def run(count: int) -> None:
            nonlocal state
            for _ in range(count):
                state, output = self.function(state, next(feeds))
                self.wait(output)

        compile_seconds = _seconds(run, 1)
        calls = counted(run, seconds)
        return Contender(lambda: calls.run() / self.units, compile_seconds)


def named_params(params: Params) -> dict[str, np.ndarray]:
    """Return the parameters of one layer under min-char-rnn's names, as NumPy arrays of float64."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {path[-1].name: np.asarray(leaf, np.float64) for path, leaf in leaves}

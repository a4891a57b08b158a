"""The work to time: batches of random characters, initial parameters, and the programs that run on them."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.bench.timing import Contender, repeated
from jaxrnn.config import TrainConfig
from jaxrnn.network import Params
from jaxrnn.text import Batch, batches
from jaxrnn.training import TrainState, init_train_state


class Workload(NamedTuple):
    """What jaxrnn and every reference begin from.

    Attributes:
        config: the training run.
        batches: a chunk, int32 [K, T, B] and bool [K]; one sweep over the text, so that it can be repeated.
        vocab_size: V.
    """

    config: TrainConfig
    batches: Batch
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
    """A function from state to state, and what it runs on.

    Attributes:
        function: (state, feed) -> (state, output); it may donate the state.
        state: the state before the first call.
        feeds: the calls take them in turn, and begin again after the last.
        units: of work per call.
        wait: takes the output and returns when it is ready.
    """

    function: Callable[[Any, Any], tuple[Any, Any]]
    state: Any
    feeds: Sequence[Any]
    units: int
    wait: Callable[[Any], object] = jax.block_until_ready

    def contender(self, seconds: float = 0.1) -> Contender:
        """Return a contender that calls the function for about `seconds`, each call with the state of the previous."""
        state, feeds = jax.block_until_ready(self.state), itertools.cycle(self.feeds)

        def call() -> None:
            nonlocal state
            state, output = self.function(state, next(feeds))
            self.wait(output)

        return repeated(call, self.units, seconds)


def named_params(params: Params) -> dict[str, np.ndarray]:
    """Return the parameters of one layer under min-char-rnn's names, as NumPy arrays of float64."""
    (layer,) = params.layers
    named = {**layer._asdict(), "Why": params.Why, "by": params.by}
    return {name: np.asarray(value, np.float64) for name, value in named.items() if value is not None}

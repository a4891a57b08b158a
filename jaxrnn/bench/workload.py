"""The work itself: batches of random characters, initial parameters, and how many operations a step takes."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.network.cells import get_cell
from jaxrnn.network.model import Params
from jaxrnn.text import Batch, batches
from jaxrnn.training.step import TrainState, init_train_state

Array = np.ndarray[Any, np.dtype[Any]]


class Workload(NamedTuple):
    """What ours and every reference begin from.

    Attributes:
        config: the training run.
        batches: a chunk, int32 [K, T, B] and bool [K]; a sweep over the whole text, so that it can be repeated.
    """

    config: TrainConfig
    batches: Batch

    def initial_state(self) -> TrainState:
        """Return a new state before the first step."""
        return init_train_state(jax.random.key(self.config.seed), self.config)

    def single_batches(self) -> list[Batch]:
        """Return the K batches one by one, int32 [T, B]."""
        return [jax.tree.map(lambda part, k=k: part[k], self.batches) for k in range(len(self.batches.reset))]

    def rows(self) -> float:
        """Return how many distinct characters a batch has in its inputs, on average over the chunk."""
        return float(np.mean([len(np.unique(inputs)) for inputs in self.batches.inputs]))


def make_workload(config: TrainConfig) -> Workload:
    """Return the workload of a run: characters drawn with frequencies 1/1, 1/2, 1/3, ..., as words have (Zipf)."""
    vocab_size = vocabulary_size(config.model)
    lane_length = config.chunk_length * config.sequence_length + 2
    frequencies = 1 / np.arange(1, vocab_size + 1)
    tokens = np.random.default_rng(0).choice(
        vocab_size, config.batch_size * lane_length, p=frequencies / frequencies.sum()
    )
    return Workload(config, batches(tokens.astype(np.min_scalar_type(vocab_size)), 0, config.chunk_length, config))


def vocabulary_size(model: ModelConfig) -> int:
    """Return V, which a benchmark always knows."""
    if model.vocab_size is None:
        raise ValueError("a benchmark needs ModelConfig(vocab_size=...)")
    return model.vocab_size


def named_params(params: Params) -> dict[str, Array]:
    """Return the parameters of one layer under min-char-rnn's names, as NumPy arrays of float64."""
    (layer,) = params.layers
    named = {**layer._asdict(), "Why": params.Why, "by": params.by}
    return {name: np.asarray(value, np.float64) for name, value in named.items() if value is not None}


def training_flop(config: TrainConfig) -> int:
    """Return the floating-point operations in the matrix products of a training step: 6 B T G H^2 + 6 B T H V.

    A product with a matrix of n entries takes 2 n operations a character, and there are three: forwards, for the
    gradient of its input, and for the gradient of the matrix. A one-hot input is a row to look up and takes none.
    """
    model = config.model
    H, characters = model.hidden_size, config.sequence_length * config.batch_size
    return 6 * characters * (get_cell(model.cell).gates * H * H + H * vocabulary_size(model))

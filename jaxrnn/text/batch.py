"""The batches that a training step sees."""

from typing import Any, NamedTuple

import numpy as np

from jaxrnn.config import TrainConfig
from jaxrnn.config.reprs import of_fields
from jaxrnn.errors import JaxrnnError
from jaxrnn.text.documents import Starts
from jaxrnn.text.vocabulary import Tokens


class Batch(NamedTuple):
    """What a training step sees; a chunk of K steps has a leading axis K on every array.

    Attributes:
        inputs: int [T, B].
        targets: int [T, B], the inputs shifted by one: the target of a symbol is the symbol after it.
        reset: bool [], whether the carry starts anew before this batch.
        starts: bool [T, B], the inputs before which the carry starts anew; None: nowhere.
    """

    inputs: Any
    targets: Any
    reset: Any
    starts: Any = None

    def __repr__(self) -> str:
        """Give the shapes."""
        return of_fields(self, **self._asdict())


def batches(
    tokens: Tokens,
    step: int,
    num_steps: int,
    config: TrainConfig,
    *,
    starts: Starts | None = None,
    lanes: slice = slice(None),
) -> Batch:
    """Return the batches of steps `step` to `step + num_steps - 1`, a chunk.

    The text is cut into B contiguous lanes of equal length n (a rest shorter than B is left out). Every step takes the
    next T symbols of each lane. A sweep begins at position p = 0 with a zero carry, and begins again when
    p + T + 1 >= n, as in min-char-rnn. So the batch of a step is known from the step alone.

    Args:
        tokens: int [N], the encoded text.
        step: the first step, counted from 0.
        num_steps: K.
        config: gives `sequence_length` T and `batch_size` B.
        starts: bool [N], the symbols before which the carry starts anew, from `document_starts`.
        lanes: which of the B lanes to read; no other is touched. B below is then how many these are.

    Returns:
        Batch of inputs and targets int32 [K, T, B], reset bool [K], and starts bool [K, T, B] if they were given.

    Raises:
        JaxrnnError: the text is too short for one batch.
    """
    length, all_lanes = config.sequence_length, config.batch_size
    check_length(len(tokens), config)
    lane_length = len(tokens) // all_lanes
    place = np.arange(step, step + num_steps) % _steps_per_sweep(lane_length, length)
    window = place[:, None] * length + np.arange(length + 1)  # [K, T+1]
    cut = tokens[: all_lanes * lane_length].reshape(all_lanes, lane_length)[lanes, window]  # [B, K, T+1]
    symbols = np.moveaxis(cut, 0, -1).astype(np.int32, order="C")
    found = None if starts is None else starts[window[:, :-1, None] + lane_length * np.arange(all_lanes)[lanes]]
    return Batch(symbols[:, :-1], symbols[:, 1:], place == 0, found)


def check_length(num_tokens: int, config: TrainConfig, what: str = "the text") -> None:
    """Raise JaxrnnError, which calls the text `what`, if it is too short for one batch."""
    length, lanes = config.sequence_length, config.batch_size
    if num_tokens // lanes < length + 2:
        raise JaxrnnError(
            f"{what} has {num_tokens} symbols, but sequence_length {length} and batch_size {lanes} need at least "
            f"{lanes} x ({length} + 2) = {lanes * (length + 2)}; give a longer text or make them smaller"
        )


def position(num_tokens: int, step: int, config: TrainConfig) -> int:
    """Return where in the text the first lane stands before a step."""
    length = config.sequence_length
    return step % _steps_per_sweep(num_tokens // config.batch_size, length) * length


def _steps_per_sweep(lane_length: int, length: int) -> int:
    return -(-(lane_length - length - 1) // length)

"""Batches: which symbols a training step sees, a pure function of the text and the step's number."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

import numpy as np

from jaxrnn.config import Count, CountOrZero, TrainConfig
from jaxrnn.config.fields import check_arguments, short_repr
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.text.documents import Starts, check_starts
from jaxrnn.text.vocabulary import Tokens, check_tokens

if TYPE_CHECKING:
    import jax

Array: TypeAlias = Union["jax.Array", np.ndarray[Any, np.dtype[Any]]]


@short_repr
class Batch(NamedTuple):
    """The symbols of a training step; in a chunk of K steps, every array has a leading axis K.

    Attributes:
        inputs: int [T, B].
        targets: int [T, B], the inputs shifted by one: the target of a symbol is the symbol after it.
        reset: bool [], whether the carry is reset before the first input.
        starts: bool [T, B], the inputs before which the carry is reset; None: nowhere.
    """

    inputs: Array
    targets: Array
    reset: Array
    starts: Array | None = None


def batches(
    tokens: Tokens,
    step: CountOrZero,
    num_steps: Count,
    config: TrainConfig,
    *,
    starts: Starts | None = None,
    lanes: slice = slice(None),
) -> Batch:
    """Return the batches of the K = `num_steps` steps from number `step` on, as a chunk.

    The text, int [N], is cut into B contiguous lanes of n = N // B symbols; up to B - 1 symbols at its end are left
    out. Each step takes the next T symbols of every lane:

        lane 0      | step 0 | step 1 | step 2 | ...
        lane 1      | step 0 | step 1 | step 2 | ...

    An epoch, a pass over the text, starts at position p = 0 with a zero carry, and the next one when p + T + 1 >= n, as
    in min-char-rnn. The batch of a step is therefore a pure function of its number, from 0.

    `starts` is bool [N], from `document_starts`. The result has those of the B lanes that `lanes` selects; no other
    part of the text is read. Raises JaxrnnError if the text is too short for one batch.
    """
    check_arguments(batches, locals())
    check_tokens(tokens)
    check_starts(starts, tokens)
    length, batch_size = config.sequence_length, config.batch_size
    check_length(len(tokens), config)
    lane_length = len(tokens) // batch_size
    begin = np.arange(step, step + num_steps) % steps_per_epoch(len(tokens), config) * length  # [K], in a lane
    window = begin[:, None] + np.arange(length + 1)  # [K, T+1]
    cut = tokens[: batch_size * lane_length].reshape(batch_size, lane_length)[lanes, window]  # [B, K, T+1]
    symbols = np.asarray(np.moveaxis(cut, 0, -1), np.int32, order="C")  # [K, T+1, B]
    if starts is not None:
        starts = starts[window[:, :-1, None] + lane_length * np.arange(batch_size)[lanes]]
    return Batch(symbols[:, :-1], symbols[:, 1:], begin == 0, starts)


def check_length(num_tokens: int, config: TrainConfig, name: str = "the text") -> None:
    """Raise JaxrnnError if a text of this name is too short for one batch."""
    length, lanes = config.sequence_length, config.batch_size
    if num_tokens // lanes < length + 2:
        raise JaxrnnError(
            f"{name} has {counted(num_tokens, 'symbols')}, but sequence_length {length} and batch_size {lanes} need at "
            f"least {lanes} x ({length} + 2) = {lanes * (length + 2)}; give a longer text or make them smaller"
        )


def position(num_tokens: int, step: int, config: TrainConfig) -> int:
    """Return the position in the text at which the first lane of a step begins."""
    return step % steps_per_epoch(num_tokens, config) * config.sequence_length


def steps_per_epoch(num_tokens: int, config: TrainConfig) -> int:
    """Return the number of training steps in an epoch of a text of so many symbols."""
    lane_length, length = num_tokens // config.batch_size, config.sequence_length
    return -(-(lane_length - length - 1) // length)

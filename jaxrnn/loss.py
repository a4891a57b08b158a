"""What training makes small: the cross entropy of the next character, in nats."""

import math

import jax
import optax

from jaxrnn.config import ModelConfig
from jaxrnn.model import Carry, Params, forward
from jaxrnn.text import Batch


def loss(
    params: Params,
    carry: Carry,
    batch: Batch,
    config: ModelConfig,
    *,
    key: jax.Array | None = None,
    kept: jax.Array | None = None,
) -> tuple[jax.Array, Carry]:
    """Return the cross entropy of a batch, and the carry after it.

        loss = sum_t -ln softmax(y_t)[target_t]

    summed over the T characters of a lane, averaged over the B lanes.

    Args:
        params: the parameters.
        carry: the carry before the batch; `batch.reset` is the training step's to heed.
        batch: inputs and targets, int [T, B]; its `starts` are heeded.
        config: the network's configuration.
        key: for dropout; None drops nothing.
        kept: what it leaves, in place of a key, as for `forward`.

    Returns:
        The loss in nats per T characters, [], and the carry.
    """
    logits, carry = forward(params, carry, batch.inputs, config, key=key, kept=kept, starts=batch.starts)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)  # [T, B]
    return nats.sum(axis=0).mean(), carry


def bits_per_character(nats: float, sequence_length: int) -> float:
    """Return bits per character of a loss in nats per `sequence_length` characters.

    Example:
        >>> bits_per_character(25 * math.log(2), sequence_length=25)
        1.0
    """
    return nats / (sequence_length * math.log(2))

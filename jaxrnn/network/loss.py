"""The training loss: the cross entropy of the next character, in nats."""

import math

import jax
import jax.numpy as jnp
import optax

from jaxrnn.config import ModelConfig
from jaxrnn.config.fields import check_in
from jaxrnn.network.model import Carry, Params, forward
from jaxrnn.text import Array, Batch


@jax.named_scope("loss")
def loss(
    params: Params, carry: Carry, batch: Batch, config: ModelConfig, *, key: jax.Array | None = None
) -> tuple[jax.Array, Carry]:
    """Return the cross entropy of a batch, and the carry after it.

        loss = sum_t -ln softmax(y_t)[target_t]

    summed over the T characters of a lane, averaged over the B lanes: nats per T characters, []. A target below 0 or
    from V on makes it NaN. The carry is reset at the `starts` of the batch; its `reset` is left to the training step.
    The key is for dropout; None drops nothing.
    """
    logits, carry = forward(params, carry, batch.inputs, config, key=key, starts=batch.starts)
    return surprisal(logits, batch.targets).sum(axis=0).mean(), carry


def surprisal(logits: jax.Array, targets: Array) -> jax.Array:
    """Return -ln softmax(logits)[target] in nats; [T, B, V], int [T, B] -> [T, B]. NaN where a target is no token."""
    targets = jnp.where(targets < 0, logits.shape[-1], targets)  # else -1 would be the last token
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


def bits_per_character(nats: float, sequence_length: int) -> float:
    """Return bits per character of a loss in nats per `sequence_length` characters.

    Example:
        >>> bits_per_character(25 * math.log(2), sequence_length=25)
        1.0
    """
    check_in(sequence_length, "[1, inf)", "sequence_length")
    return nats / (sequence_length * math.log(2))

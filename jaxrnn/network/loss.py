"""What training makes small: the cross entropy of the next character, in nats."""

import math

import jax
import jax.numpy as jnp

from jaxrnn.config import ModelConfig
from jaxrnn.network.model import Carry, Params, forward
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
        batch: inputs and targets, int [T, B]; its `starts` are heeded. A target below 0 or from V on makes the loss
            NaN.
        config: the network's configuration.
        key: for dropout; None drops nothing.
        kept: what it leaves, in place of a key, as for `forward`.

    Returns:
        The loss in nats per T characters, [], and the carry.
    """
    logits, carry = forward(params, carry, batch.inputs, config, key=key, kept=kept, starts=batch.starts)
    nats = surprisal(logits, batch.targets)
    return nats.sum(axis=0).mean(), carry


@jax.custom_vjp
def surprisal(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Return -ln softmax(logits)[target] in nats; [T, B, V], int [T, B] -> [T, B]. NaN where a target is no token.

    Its gradient, softmax minus one-hot, is written so: JAX would scatter into zeros what is looked up here.
    """
    return _surprisal_forward(logits, targets)[0]


def _surprisal_forward(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    largest = logits.max(axis=-1, keepdims=True)  # so that no exponential overflows
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    # NaN where a target is no token, which -1 is not either: it would be the last one.
    place = jnp.where(targets < 0, logits.shape[-1], targets.astype(jnp.int32))
    of_target = jnp.take_along_axis(logits, place[..., None], axis=-1, mode="fill")
    return (jnp.log(total) + (largest - of_target))[..., 0], (weights, total, targets)


def _surprisal_backward(residuals: tuple[jax.Array, ...], d_nats: jax.Array) -> tuple[jax.Array, None]:
    weights, total, targets = residuals
    is_target = targets[..., None] == jnp.arange(weights.shape[-1])[None, None]
    d_nats = d_nats[..., None]
    return d_nats / total * weights - jnp.where(is_target, d_nats, 0), None


surprisal.defvjp(_surprisal_forward, _surprisal_backward)


def bits_per_character(nats: float, sequence_length: int) -> float:
    """Return bits per character of a loss in nats per `sequence_length` characters.

    Example:
        >>> bits_per_character(25 * math.log(2), sequence_length=25)
        1.0
    """
    return nats / (sequence_length * math.log(2))

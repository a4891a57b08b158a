"""Which token the network writes next: the likeliest, or a draw from the softmax or from its likeliest tokens."""

import math
from typing import TypeGuard, TypeVar

import jax
import jax.numpy as jnp

from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.categorical import draw as draw_softmax

COLDEST = 1e-30  # a lower temperature takes the likeliest token

Number = TypeVar("Number", bound=float | jax.Array)


def check_draw(
    vocab_size: int, temperature: float | jax.Array, top_k: int | jax.Array | None, top_p: float | jax.Array | None
) -> None:
    """Raise JaxrnnError for the first of these that is out of its range; what is traced passes."""
    if is_known(temperature) and not (math.isfinite(temperature) and temperature >= 0):
        raise JaxrnnError(f"temperature must be a finite number from 0 (the likeliest character) on, got {temperature}")
    if is_known(top_k) and top_k not in range(1, vocab_size + 1):
        raise JaxrnnError(f"top_k must be a whole number from 1 to {vocab_size}, what the model knows, got {top_k}")
    if is_known(top_p) and not 0 < top_p <= 1:
        raise JaxrnnError(f"top_p must be a probability in (0, 1], got {top_p}")


def is_known(value: Number | None) -> TypeGuard[Number]:
    """Return whether a value is there, and no tracer."""
    return value is not None and not isinstance(value, jax.core.Tracer)


def likeliest(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """Return for each lane the token of the largest logit, the first of equal ones; [B, V], [B] -> [B]."""
    return logits.argmax(axis=-1)


def draw(
    logits: jax.Array,
    uniform: jax.Array,
    temperature: float | jax.Array,
    top_k: int | jax.Array | None,
    top_p: float | jax.Array | None,
) -> jax.Array:
    """Return for each lane a draw from the softmax, or from its likeliest tokens; [B, V], [B] -> [B].

    `top_k` and `top_p` keep the likeliest tokens only, in their proportions: the k likeliest (Fan et al. 2018), or the
    fewest whose probabilities add up to p or more (Holtzman et al. 2019), at least one. Both apply to the distribution
    after the temperature; if both are given, the smaller set is kept. Among equally likely tokens the smaller ones come
    first, as in `likeliest`, which is k = 1.
    """
    # Relative to the largest, so that no temperature makes two of them infinite.
    logits = (logits - logits.max(axis=-1, keepdims=True)) / jnp.maximum(temperature, COLDEST)
    if top_k is None and top_p is None:
        return draw_softmax(logits, uniform)
    order = logits.argsort(axis=-1, descending=True, stable=True)  # equal ones stay in the order of their tokens
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    ranks = jnp.arange(ranked.shape[1])[None]
    mask = jnp.ones(ranked.shape, bool) if top_k is None else jnp.broadcast_to(ranks < top_k, ranked.shape)
    if top_p is not None:
        weights = jnp.exp(ranked)
        sums = weights.cumsum(axis=-1)
        # A token stays where those before it fall short of p. At p = 1 all stay: rounding must not cost the last ones.
        mask &= (sums - weights < top_p * sums[:, -1:]) | (jnp.asarray(top_p) >= 1) | (ranks == 0)
    rank = draw_softmax(jnp.where(mask, ranked, -jnp.inf), uniform)
    rank = jnp.minimum(rank, mask.sum(axis=-1) - 1)  # rounding must not draw a token beyond the last
    return jnp.take_along_axis(order, rank[:, None], axis=-1)[:, 0]

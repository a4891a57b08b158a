"""A draw from a distribution, such as a softmax, by the inverse of its cumulative sums.

The plain twin sums over all V tokens in order, each sum waiting for the one before. The kernel finds the block of
tokens that the draw lies in, then the token in that block, by sums that are products with a triangle of ones.

Earns (time of a character without / with, Intel Sapphire Rapids and AMD Zen 5): V 65 one stream 1.23 and 1.28, 64
streams 1.90 and 1.39; V 2,000 one stream 1.37, 64 streams 1.60 (Intel).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.kernels import uses


def draw_weighted(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    """Return per lane the first token whose cumulative share of the weights exceeds a number in [0, 1).

    The shapes are [B, V], [B] -> [B]. No weight is negative, and they need not add up to 1.
    """
    return _draw_by_blocks(weights, uniform) if uses("categorical") else _draw_plain(weights, uniform)


def _draw_plain(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    ends = weights.cumsum(axis=-1)
    # Compared with the last sum, not with 1, and kept below it: rounding must not draw a token beyond the last.
    target = (uniform * ends[:, -1]).clip(0, ends[:, -1] * (1 - 2 * jnp.finfo(ends.dtype).eps))
    return (ends <= target[:, None]).sum(axis=-1)


def _draw_by_blocks(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    lanes, vocab_size = weights.shape
    size = 16 * math.ceil(math.sqrt(vocab_size) / 16)
    weights = jnp.pad(weights, ((0, 0), (0, -vocab_size % size))).reshape(lanes, -1, size)
    ends = _cumulative(weights.sum(axis=-1))
    target = uniform * ends[:, -1]
    passed = ends <= target[:, None]
    block = passed.sum(axis=-1)
    target -= jnp.where(passed, ends, 0).max(axis=-1)  # the end of the block before
    within = _cumulative(jnp.take_along_axis(weights, block[:, None, None], axis=1)[:, 0])
    # Rounding must not lead out of the block, or below 0: to a first token that has no weight.
    target = target.clip(0, within[:, -1] * (1 - 2 * jnp.finfo(within.dtype).eps))
    return block * size + (within <= target[:, None]).sum(axis=-1)


def _cumulative(numbers: jax.Array) -> jax.Array:
    """Return cumulative sums along the last axis of [B, N]."""
    return jnp.matmul(numbers, np.triu(np.ones((numbers.shape[1],) * 2, numbers.dtype)), precision="highest")

"""How a character is drawn from the logits: from the softmax, or from its likeliest characters."""

import jax
import jax.numpy as jnp

from jaxrnn.config.fields import is_traced
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.categorical import draw_weighted

COLDEST, HOTTEST = 1e-30, 1e30  # below: the likeliest token is taken; above: float32 would soon overflow

Number = float | jax.Array
TopK = int | jax.Array | None
TopP = float | jax.Array | None


def check_draw(vocab_size: int, temperature: Number, top_k: TopK, top_p: TopP) -> None:
    """Raise JaxrnnError for the first argument that is not a single number or, unless traced, is out of range."""
    for name, value in {"temperature": temperature, "top_k": top_k, "top_p": top_p}.items():
        if shape := getattr(value, "shape", ()):
            raise JaxrnnError(f"{name} must be one number for all lanes, got shape {shape}; use jax.vmap for several")
    if not is_traced(temperature) and not 0 <= temperature <= HOTTEST:
        raise JaxrnnError(
            f"temperature must be from 0 (the likeliest character) to {HOTTEST:g} (any character), got {temperature}"
        )
    if not (top_k is None or is_traced(top_k)) and top_k not in range(1, vocab_size + 1):
        raise JaxrnnError(f"top_k must be a whole number from 1 to {vocab_size}, what the model knows, got {top_k}")
    if not (top_p is None or is_traced(top_p)) and not 0 < top_p <= 1:
        raise JaxrnnError(f"top_p must be a probability in (0, 1], got {top_p}")


def likeliest(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """Return for each lane the token of the largest logit, the first of equal ones; [B, V], [B] -> [B]."""
    return logits.argmax(axis=-1)


def draw(logits: jax.Array, uniform: jax.Array, temperature: Number, top_k: TopK, top_p: TopP) -> jax.Array:
    """Return for each lane a draw from the softmax, or from its likeliest tokens; [B, V], [B] -> [B].

    `top_k` and `top_p` keep the likeliest tokens only, in their proportions: the k likeliest (Fan et al. 2018), or the
    fewest whose probabilities add up to p or more (Holtzman et al. 2019), at least one. Both apply to the distribution
    after the temperature; if both are given, the smaller set is kept. Among equally likely tokens the smaller ones come
    first, as in `likeliest`, which is k = 1.
    """
    weights = jnp.exp(_scaled(logits, temperature))
    if top_k is None and top_p is None:
        return draw_weighted(weights, uniform)
    order, ranked, mask = _rank(logits, weights, top_k, top_p)
    rank = draw_weighted(jnp.where(mask, ranked, 0), uniform)
    rank = jnp.minimum(rank, mask.sum(axis=-1) - 1)  # rounding must not draw a token beyond the last
    return jnp.take_along_axis(order, rank[:, None], axis=-1)[:, 0]


def _scaled(logits: jax.Array, temperature: Number) -> jax.Array:
    """Return the logits less their maximum, divided by the temperature: no temperature makes any of them +infinity."""
    return (logits - logits.max(axis=-1, keepdims=True)) / jnp.maximum(temperature, COLDEST)


def _rank(logits: jax.Array, weights: jax.Array, top_k: TopK, top_p: TopP) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the tokens from the likeliest on, their weights, and whether they may be drawn; [B, V] each."""
    order = logits.argsort(axis=-1, descending=True, stable=True)  # equal ones stay in the order of their tokens
    ranked = jnp.take_along_axis(weights, order, axis=-1)
    ranks = jnp.arange(ranked.shape[1])[None]
    mask = jnp.ones(ranked.shape, bool) if top_k is None else jnp.broadcast_to(ranks < top_k, ranked.shape)
    if top_p is not None:
        sums = ranked.cumsum(axis=-1)
        # A token stays where those before it fall short of p. At p = 1 all stay: rounding must not cost the last ones.
        mask &= (sums - ranked < top_p * sums[:, -1:]) | (jnp.asarray(top_p) >= 1) | (ranks == 0)
    return order, ranked, mask


def log_probability(logits: jax.Array, tokens: jax.Array, temperature: Number, top_k: TopK, top_p: TopP) -> jax.Array:
    """Return ln of the probability that `draw` draws these tokens, which it has drawn; [B, V], int [B] -> [B]."""
    scaled = _scaled(logits, temperature)
    order, _, mask = _rank(logits, jnp.exp(scaled), top_k, top_p)
    mask |= order == tokens[:, None]  # what was drawn could be drawn, however this computation rounds
    total = jax.nn.logsumexp(jnp.take_along_axis(scaled, order, axis=-1), axis=-1, where=mask)
    return jnp.take_along_axis(scaled, tokens[:, None], axis=-1)[:, 0] - total

"""The key-threaded sampler: draw a character, feed it back, draw the next."""

import math
from functools import partial
from typing import TypeGuard, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.categorical import draw
from jaxrnn.kernels.sequential import run_sequentially
from jaxrnn.network.model import Carry, Params, forward
from jaxrnn.text import Array

Number = TypeVar("Number", bound=float | jax.Array)


def sample(
    key: jax.Array,
    params: Params,
    carry: Carry,
    prime: Array,
    config: ModelConfig,
    *,
    length: int,
    temperature: float | jax.Array = 1.0,
    top_k: int | jax.Array | None = None,
    top_p: float | jax.Array | None = None,
    greedy: bool = False,
    separator: jax.Array | None = None,
    before: jax.Array | None = None,
) -> tuple[jax.Array, Carry]:
    """Run the network over `prime`, then write `length` characters.

    A character is drawn from the softmax of the logits; its maximum (`greedy`) soon repeats the same words. The drawn
    character is fed back as a one-hot vector, never the softmax itself: the network was trained on one-hot inputs, and
    a one-hot input is one row of Wxh to look up where a distribution would be a product with all of it.

    `top_k` and `top_p` keep the likeliest characters only, in their proportions: the k likeliest (Fan et al. 2018), or
    the fewest whose probabilities add up to p or more (Holtzman et al. 2019), at least one. Both apply to the
    distribution after the temperature; if both are given, the smaller set is kept. Among equally likely characters
    those with smaller tokens come first, as in `greedy`, which is k = 1.

    To continue where a call stopped, call again with `prime=tokens[-1:]` and the carry that it returned (and, if there
    are documents, with the k - 1 characters before that one as `before`).

    Args:
        key: the same key draws the same text for the same B and `length`. Or keys [B], one per lane: what a lane draws
            is then independent of the other lanes, but for the rounding of matrix products of another size.
        params: the parameters.
        carry: the carry before the first character of `prime`.
        prime: int [P, B], P >= 1, the characters to continue from.
        config: the network's configuration; static under jit.
        length: characters to write; static under jit.
        temperature: divides the logits before the draw; toward 0 it becomes greedy. A positive number.
        top_k: how many of the likeliest characters may be drawn, 1 to V; None: all.
        top_p: the probability that the characters which may be drawn have together at least, in (0, 1]; None: all.
        greedy: take the likeliest character; static under jit.
        separator: int [k], what ends a document: the carry is reset at its last character; None: nothing does.
        before: int [M, B], the characters before `prime`, where a separator may begin; -1 is no character.

    Returns:
        tokens int [length, B], and the carry that goes with them: after all but the last of them.

    Raises:
        JaxrnnError: `prime` is not [P, B] with P >= 1, or another number is out of its range.
    """
    if prime.ndim != 2 or prime.shape[0] < 1:
        raise JaxrnnError(f"prime must be int [P, B] with P >= 1, got shape {prime.shape}; give one character at least")
    if length < 1:
        raise JaxrnnError(f"length must be at least 1, got {length}")
    check_draw(params.by.shape[0], temperature=temperature, top_k=top_k, top_p=top_p)
    starts, recent = None, None
    if separator is not None:
        starts, recent = find_starts(prime, separator, before)
    if prime.shape[0] > 1:
        carry = advance(params, carry, prime[:-1], config, None if starts is None else starts[:-1])
        prime = prime[-1:]
    return _write(key, params, carry, prime, config, length, temperature, top_k, top_p, greedy, separator, recent)


def check_draw(
    vocab_size: int,
    *,
    temperature: float | jax.Array,
    top_k: int | jax.Array | None,
    top_p: float | jax.Array | None,
) -> None:
    """Raise JaxrnnError for the first of these that is out of its range; what is traced passes."""
    if _is_known(temperature) and not (math.isfinite(temperature) and temperature > 0):
        raise JaxrnnError(f"temperature must be a finite number above 0, got {temperature}; greedy=True is its limit")
    if _is_known(top_k) and top_k not in range(1, vocab_size + 1):
        raise JaxrnnError(f"top_k must be a whole number from 1 to {vocab_size}, what the model knows, got {top_k}")
    if _is_known(top_p) and not 0 < top_p <= 1:
        raise JaxrnnError(f"top_p must be a probability in (0, 1], got {top_p}")


def _is_known(value: Number | None) -> TypeGuard[Number]:
    return value is not None and not isinstance(value, jax.core.Tracer)


@jax.jit
def find_starts(prime: Array, separator: jax.Array, before: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Return where in `prime` the text so far ends in the separator, bool [P, B], and its last k characters, [k, B]."""
    size, lanes = prime.shape
    nothing = jnp.full((separator.shape[0] - 1, lanes), -1, prime.dtype)
    text = jnp.concatenate([nothing, prime] if before is None else [nothing, before, prime])
    text = text[text.shape[0] - size - separator.shape[0] + 1 :]
    places = jnp.arange(size)[:, None] + jnp.arange(separator.shape[0])[None]
    starts = (text[places] == separator[None, :, None]).all(axis=1)
    return starts, text[text.shape[0] - separator.shape[0] :]


@partial(jax.jit, static_argnames="config")
def advance(
    params: Params, carry: Carry, tokens: jax.Array, config: ModelConfig, starts: jax.Array | None = None
) -> Carry:
    """Return the carry after the network has read `tokens`, int [T, B]; it is reset at `starts`, bool [T, B]."""
    return forward(params, carry, tokens, config, starts=starts)[1]


@partial(jax.jit, static_argnames=("config", "length", "greedy"))
def _write(
    key: jax.Array,
    params: Params,
    carry: Carry,
    prime: Array,
    config: ModelConfig,
    length: int,
    temperature: float | jax.Array,
    top_k: int | jax.Array | None,
    top_p: float | jax.Array | None,
    greedy: bool,
    separator: jax.Array | None,
    recent: jax.Array | None,
) -> tuple[jax.Array, Carry]:
    token, dtype = prime[0], params.by.dtype

    def choose(logits: jax.Array, uniform: jax.Array) -> jax.Array:
        if greedy:
            return logits.argmax(axis=-1)
        if top_k is None and top_p is None:
            return draw(logits / temperature, uniform)
        return _draw_likely(logits / temperature, uniform, top_k, top_p)

    State = tuple[jax.Array, Carry, jax.Array | None]  # last token; carry; last k tokens if there is a separator

    def step(state: State, uniform_t: jax.Array) -> tuple[State, jax.Array]:
        token_tm1, carry, recent = state
        starts = None
        if separator is not None and recent is not None:
            starts = jnp.equal(recent, separator[:, None]).all(axis=0)[None]
        logits, carry = forward(params, carry, token_tm1[None], config, starts=starts)
        token_t = choose(logits[0], uniform_t).astype(token.dtype)
        recent = None if recent is None else jnp.concatenate([recent[1:], token_t[None]])
        return (token_t, carry, recent), token_t

    def write(before: tuple[jax.Array, Carry], inputs: tuple[jax.Array, Carry]) -> tuple[jax.Array, Carry]:
        # All randomness before the loop: one uniform number per character, and the draw is the inverse of the CDF.
        key, carry = inputs
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim:
            uniforms = jax.vmap(lambda key: jax.random.uniform(key, (length,), dtype), out_axes=1)(key)
        else:
            uniforms = jax.random.uniform(key, (length, *token.shape), dtype)
        (_, carry, _), tokens = lax.scan(step, (token, carry, recent), uniforms)
        return tokens, carry

    # Everything that follows from the key is computed in order; the state to begin with is overwritten.
    return run_sequentially(write, (jnp.zeros((length, *token.shape), token.dtype), carry), (key, carry))


def _draw_likely(
    logits: jax.Array, uniform: jax.Array, top_k: int | jax.Array | None, top_p: float | jax.Array | None
) -> jax.Array:
    """Return for each lane a draw from the likeliest tokens; [B, V], [B] -> [B]."""
    order = logits.argsort(axis=-1, descending=True, stable=True)  # equal ones stay in the order of their tokens
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    mask = jnp.ones(ranked.shape, bool)
    if top_k is not None:
        mask &= jnp.arange(ranked.shape[1])[None] < top_k
    if top_p is not None:
        weights = jnp.exp(ranked - ranked[:, :1])
        sums = weights.cumsum(axis=-1)
        # A token stays where those before it fall short of p. At p = 1 all stay: rounding must not cost the last ones.
        mask &= (sums - weights < top_p * sums[:, -1:]) | (jnp.asarray(top_p) >= 1)
    rank = draw(jnp.where(mask, ranked, -jnp.inf), uniform)
    rank = jnp.minimum(rank, mask.sum(axis=-1) - 1)  # rounding must not draw a token beyond the last
    return jnp.take_along_axis(order, rank[:, None], axis=-1)[:, 0]

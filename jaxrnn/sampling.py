"""Writing text: draw a character, feed it back, draw the next."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.model import Carry, Params, forward


def sample(
    key: jax.Array,
    params: Params,
    carry: Carry,
    prime: jax.Array,
    config: ModelConfig,
    *,
    length: int,
    temperature: float | jax.Array = 1.0,
    greedy: bool = False,
    separator: jax.Array | None = None,
    before: jax.Array | None = None,
) -> tuple[jax.Array, Carry]:
    """Run the network over `prime`, then write `length` characters.

    A character is drawn from the softmax of the logits rather than taken at its maximum, which soon writes the same
    words again and again; `greedy` takes the maximum. The drawn character is fed back as a one-hot vector, never the
    softmax itself: the network was trained on one-hot inputs, and a one-hot input is one row of Wxh to look up where a
    distribution would be a product with all of it.

    To go on where a call stopped, call again with `prime=tokens[-1:]` and the carry that it returned (and, where
    there are documents, with the k - 1 characters before that one as `before`).

    Args:
        key: the same key draws the same text; B and `length` are parts of what it draws.
        params: the parameters.
        carry: the carry before the first character of `prime`.
        prime: int [P, B], P >= 1, the characters to go on from.
        config: the network's configuration; static under jit.
        length: characters to write; static under jit.
        temperature: divides the logits before the draw; toward 0 it becomes greedy. A positive number.
        greedy: take the likeliest character; static under jit.
        separator: int [k], what ends a document: the carry starts anew at its last character; None: nothing does.
        before: int [M, B], what stands before `prime`, so that a separator may begin there; -1 is no character.

    Returns:
        tokens int [length, B], and the carry that goes with them: after all but the last of them.

    Raises:
        JaxrnnError: `prime` is not [P, B] with P >= 1, `length` is below 1, or `temperature` is not a positive number.
    """
    if prime.ndim != 2 or prime.shape[0] < 1:
        raise JaxrnnError(f"prime must be int [P, B] with P >= 1, got shape {prime.shape}; give one character at least")
    if length < 1:
        raise JaxrnnError(f"length must be at least 1, got {length}")
    if not isinstance(temperature, jax.core.Tracer) and not (math.isfinite(temperature) and temperature > 0):
        raise JaxrnnError(f"temperature must be a finite number above 0, got {temperature}; greedy=True is its limit")
    starts, recent = None, None
    if separator is not None:
        starts, recent = _starts(prime, separator, before)
    if prime.shape[0] > 1:
        carry = _read(params, carry, prime[:-1], config, None if starts is None else starts[:-1])
    return _write(key, params, carry, prime[-1], config, length, temperature, greedy, separator, recent)


@jax.jit
def _starts(prime: jax.Array, separator: jax.Array, before: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Return where the text read so far ends in the separator, bool [P, B], and its last k characters, int [k, B]."""
    size, lanes = prime.shape
    nothing = jnp.full((separator.shape[0] - 1, lanes), -1, prime.dtype)
    text = jnp.concatenate([nothing, prime] if before is None else [nothing, before, prime])
    text = text[text.shape[0] - size - separator.shape[0] + 1 :]
    places = jnp.arange(size)[:, None] + jnp.arange(separator.shape[0])[None]
    starts = (text[places] == separator[None, :, None]).all(axis=1)
    return starts, text[text.shape[0] - separator.shape[0] :]


@partial(jax.jit, static_argnames="config")
def _read(params: Params, carry: Carry, tokens: jax.Array, config: ModelConfig, starts: jax.Array | None) -> Carry:
    return forward(params, carry, tokens, config, starts=starts)[1]


@partial(jax.jit, static_argnames=("config", "length", "greedy"))
def _write(
    key: jax.Array,
    params: Params,
    carry: Carry,
    token: jax.Array,
    config: ModelConfig,
    length: int,
    temperature: float | jax.Array,
    greedy: bool,
    separator: jax.Array | None,
    recent: jax.Array | None,
) -> tuple[jax.Array, Carry]:
    # All randomness before the loop: one uniform number a character, turned into a draw by the inverse of the CDF.
    uniforms = jax.random.uniform(key, (length, token.shape[0]), params.by.dtype)

    State = tuple[jax.Array, Carry, jax.Array | None]  # the last token, the carry, the last k tokens where they matter

    def step(state: State, uniform_t: jax.Array) -> tuple[State, jax.Array]:
        token_tm1, carry, recent = state
        starts = None
        if separator is not None and recent is not None:
            starts = jnp.equal(recent, separator[:, None]).all(axis=0)[None]
        logits, carry = forward(params, carry, token_tm1[None], config, starts=starts)
        token_t = logits[0].argmax(axis=-1) if greedy else _draw(logits[0] / temperature, uniform_t)
        token_t = token_t.astype(token.dtype)
        recent = None if recent is None else jnp.concatenate([recent[1:], token_t[None]])
        return (token_t, carry, recent), token_t

    (_, carry, _), tokens = lax.scan(step, (token, carry, recent), uniforms)
    return tokens, carry


def _draw(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """Return for each lane the first token at which the cumulative softmax exceeds `uniform`; [B, V], [B] -> [B]."""
    lanes, vocab_size = logits.shape
    weights = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
    # Cumulative sums as a product with a triangle of ones, in blocks where that triangle would be large: several times
    # as fast as a cumsum, whose partial sums wait for each other.
    block = vocab_size if vocab_size <= 128 else 64
    weights = jnp.pad(weights, ((0, 0), (0, -vocab_size % block))).reshape(-1, block)
    within = jnp.matmul(weights, jnp.triu(jnp.ones((block, block), weights.dtype)), precision="highest")
    within = within.reshape(lanes, -1, block)
    ends = within[:, :, -1].cumsum(axis=-1)  # [B, blocks]
    cumulative = within + (ends - within[:, :, -1])[:, :, None]
    # Against the last sum, not 1: rounding must not draw a token beyond the last.
    return (cumulative <= (uniform * ends[:, -1])[:, None, None]).sum(axis=(1, 2))

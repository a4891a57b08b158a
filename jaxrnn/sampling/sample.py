"""The key-threaded sampler: draw a character, feed it back, draw the next."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial  # a function whose keywords are arguments of compiled programs

from jaxrnn.config import Count, ModelConfig
from jaxrnn.config.fields import check_arguments, is_traced
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.sequential import run_sequentially, scan
from jaxrnn.network.model import Carry, Params, forward
from jaxrnn.sampling.draw import COLDEST, Number, TopK, TopP, check_draw, draw, likeliest
from jaxrnn.text import Array
from jaxrnn.text.vocabulary import check_tokens


def sample(
    key: jax.Array,
    params: Params,
    carry: Carry,
    prime: Array,
    config: ModelConfig,
    *,
    length: Count,
    temperature: Number = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    greedy: bool = False,
    separator: jax.Array | None = None,
    before: jax.Array | None = None,
) -> tuple[jax.Array, Carry]:
    """Run the network over `prime`, then write `length` characters; return them and the carry after all but the last.

    A character is drawn from the softmax of the logits; `greedy` takes its maximum, which soon repeats the same words.
    The drawn character is fed back as a one-hot vector, never the softmax itself: the network was trained on one-hot
    inputs, and a one-hot input only looks up a row of Wxh, where a distribution would need a product with all of Wxh.

    To continue where a call stopped, call again with `prime=tokens[-1:]` and the carry that it returned (and, if there
    are documents, with the k - 1 characters before that one as `before`).

    Args:
        key: the same key draws the same text for the same B and `length`. Or keys [B], one per lane: a lane's draws
            then do not depend on the other lanes, except that matrix products of a different size round differently.
        params: the parameters.
        carry: the carry before the first character of `prime`.
        prime: int [P, B], P >= 1, the characters to continue from.
        config: the network's configuration; static under jit.
        length: characters to write, returned as tokens int [length, B]; static under jit.
        temperature: divides the logits before the draw; 0, or less than 1e-30, is greedy.
        top_k: how many of the likeliest characters may be drawn, 1 to V; None: all. See `draw`.
        top_p: the least total probability, in (0, 1], of the characters that may be drawn; None: all.
        greedy: take the likeliest character; static under jit.
        separator: int [k], what ends a document: the carry is reset at its last character; None, or k = 0: nothing.
        before: int [M, B], the characters before `prime`, where a separator may begin; -1 is no character.
    """
    check_arguments(sample, locals())
    if prime.ndim != 2 or prime.shape[0] < 1:
        raise JaxrnnError(f"prime must be int [P, B] with P >= 1, got shape {prime.shape}; give one character at least")
    if isinstance(prime, np.ndarray):
        check_tokens(prime.ravel(), params.by.size)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):  # of the old kind: jax.random.PRNGKey
        key = jax.random.wrap_key_data(key)
    if key.shape not in ((), prime.shape[1:]):
        raise JaxrnnError(f"keys must be one, or one for each of the {prime.shape[1]} lanes, got shape {key.shape}")
    check_draw(params.by.shape[0], temperature, top_k, top_p)
    separator = None if separator is None or not len(separator) else separator
    starts, recent = (None, None) if separator is None else _find_starts(prime, separator, before)
    if prime.shape[0] > 1:
        carry = advance(params, carry, prime[:-1], config, None if starts is None else starts[:-1])
    greedy = greedy or bool(not is_traced(temperature) and temperature < COLDEST)
    choose = Partial(likeliest) if greedy else Partial(draw, temperature=temperature, top_k=top_k, top_p=top_p)
    return _write(key, params, carry, prime[-1], recent, separator, choose, config, length)


@jax.jit
def _find_starts(prime: Array, separator: jax.Array, before: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Return where in `prime` the text so far ends in the separator, bool [P, B], and its last k characters, [k, B]."""
    size, k = len(prime), len(separator)
    prime, before = jax.tree.map(lambda tokens: tokens.astype(jnp.int32), (prime, before))
    nothing = jnp.full((k - 1, prime.shape[1]), -1)  # no character
    text = jnp.concatenate([nothing, prime] if before is None else [nothing, before, prime])[-(size + k - 1) :]
    windows = jnp.arange(size)[:, None] + jnp.arange(k)[None]
    return (text[windows] == separator[None, :, None]).all(axis=1), text[-k:]


@jax.jit(static_argnames="config")
def advance(
    params: Params, carry: Carry, tokens: jax.Array, config: ModelConfig, starts: jax.Array | None = None
) -> Carry:
    """Return the carry after the network has read `tokens`, int [T, B]; it is reset at `starts`, bool [T, B]."""
    return forward(params, carry, tokens, config, starts=starts)[1]


@jax.jit(static_argnames=("config", "length"))
@jax.named_scope("sample")
def _write(
    key: jax.Array,
    params: Params,
    carry: Carry,
    token: jax.Array,
    recent: jax.Array | None,
    separator: jax.Array | None,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
    config: ModelConfig,
    length: int,
) -> tuple[jax.Array, Carry]:
    """Write after a token, int [B]; `recent` are the last k tokens, int [k, B], if there is a separator."""
    State = tuple[jax.Array, Carry, jax.Array | None]  # token, carry, recent

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
            uniforms = jax.vmap(lambda key: jax.random.uniform(key, (length,), params.by.dtype), out_axes=1)(key)
        else:
            uniforms = jax.random.uniform(key, (length, *token.shape), params.by.dtype)
        (_, carry, _), tokens = scan(step, (token, carry, recent), uniforms)
        return tokens, carry

    # The key and the carry are inputs, so all that follows from them is computed in order; the state is a placeholder.
    return run_sequentially(write, (jnp.zeros((length, *token.shape), token.dtype), carry), (key, carry))

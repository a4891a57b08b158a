"""How likely texts are that were sampled: under the network, and as they were drawn."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import ModelConfig, SampleConfig
from jaxrnn.network import Carry, Params, forward, initial_carry
from jaxrnn.sampling.draw import COLDEST, log_probability
from jaxrnn.text import Tokens, document_starts

_PART = 100  # characters per dispatch


def log_probabilities(
    params: Params,
    config: ModelConfig,
    options: SampleConfig,
    before: Tokens,
    texts: list[Tokens],
    separator: Tokens,
    first: int,
) -> tuple[list[float], list[float]]:
    """Return the log probabilities, in nats, of texts, int [N] each, that were written after the same tokens, int [M].

    The first list has those under the network; the second has those of drawing the texts with the options' temperature,
    top-k and top-p, which are 0 for greedy texts. The network reads `before` from the token `first` on. The carry is
    reset after each separator, int [S]; if it is empty, nowhere.
    """
    begin, length = len(before), max(map(len, texts))
    tokens = np.repeat(np.pad(before, (0, length))[:, None], len(texts), axis=1)
    written = np.zeros(tokens.shape, np.bool_)
    for lane, text in enumerate(texts):
        tokens[begin : begin + len(text), lane], written[begin : begin + len(text), lane] = text, True
    starts = np.zeros(tokens.shape, np.bool_)
    if len(separator):
        starts = np.stack([document_starts(lane, separator) for lane in tokens.T], axis=1)
    greedy = options.greedy or options.temperature < COLDEST
    rule = None if greedy else (options.temperature, options.top_k, options.top_p)
    carry, sums = initial_carry(len(texts), config), np.zeros((2, len(texts)))
    for start in range(first, len(tokens) - 1, _PART):
        window = slice(start, start + _PART + 1)
        missing = (0, max(0, start + _PART + 1 - len(tokens))), (0, 0)  # one shape for all windows, so one program
        parts = (np.pad(array[window], missing) for array in (tokens, written, starts))
        nats, carry = _log_probabilities(params, carry, *parts, rule, config)
        sums += np.asarray(nats, np.float64).sum(axis=1)
    return sums[0].tolist(), sums[1].tolist()


@jax.jit(static_argnames="config")
def _log_probabilities(
    params: Params,
    carry: Carry,
    tokens: jax.Array,
    written: jax.Array,
    starts: jax.Array,
    rule: tuple[float, int | None, float | None] | None,
    config: ModelConfig,
) -> tuple[jax.Array, Carry]:
    """Return ln of the probabilities of tokens 1 to T after those before, under the network and under a rule.

    The shapes are int, bool and bool [T + 1, B] -> [2, T, B]; what was not written counts 0.
    """
    logits, carry = forward(params, carry, tokens[:-1], config, starts=starts[:-1])
    logits, targets = logits.reshape(-1, logits.shape[-1]), tokens[1:].reshape(-1)
    network = log_probability(logits, targets, 1.0, None, None)
    drawn = jnp.zeros_like(network) if rule is None else log_probability(logits, targets, *rule)
    return jnp.where(written[1:], jnp.stack([network, drawn]).reshape(2, *written[1:].shape), 0), carry

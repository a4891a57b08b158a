"""Text from a trained network, piece by piece."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import ModelConfig, SampleConfig
from jaxrnn.model import Params, initial_carry
from jaxrnn.sampling import sample
from jaxrnn.text import Vocabulary

PIECE = 100  # characters drawn in one dispatch: few enough to be seen streaming, enough to be fast


def write(
    params: Params, vocabulary: Vocabulary, model: ModelConfig, config: SampleConfig, *, reset_on: str = ""
) -> Iterator[str]:
    r"""Return the prompt and what the network writes after it, in pieces as they are drawn.

    The network starts from a zero carry and reads the prompt; without a prompt it reads a new line (the first symbol of
    a vocabulary that has none), which is not shown. With documents it begins one: it reads the last symbol of what
    separates them, which is not shown, then the prompt. A longer text of the same seed begins with the shorter one.

    Example:
        >>> from jaxrnn.model import init_params
        >>> model = ModelConfig(vocab_size=4)
        >>> params = init_params(jax.random.key(0), model)
        >>> text = "".join(write(params, Vocabulary("\nabc"), model, SampleConfig(prompt="cab", length=250)))
        >>> len(text), text[:3]
        (253, 'cab')

    Args:
        params: the parameters.
        vocabulary: the symbols.
        model: the network's configuration.
        config: prompt, length, temperature, greedy and seed.
        reset_on: what separates documents, as in training: the carry starts anew at its last symbol.

    Raises:
        JaxrnnError: at once, if the prompt has characters that the vocabulary lacks.
    """
    separator = jnp.asarray(vocabulary.encode(reset_on)[:, None], jnp.int32)
    start = config.prompt or ("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0])
    prime = jnp.asarray(vocabulary.encode(start if config.prompt or not reset_on else "")[:, None], jnp.int32)
    return _write(params, vocabulary, model, config, prime, separator)


def _write(
    params: Params,
    vocabulary: Vocabulary,
    model: ModelConfig,
    config: SampleConfig,
    prime: jax.Array,
    separator: jax.Array,
) -> Iterator[str]:
    key, decoder, carry = jax.random.key(config.seed), vocabulary.decoder(), initial_carry(model, 1)
    if config.prompt:
        yield decoder.decode(np.asarray(prime)[:, 0])
    before, prime = separator[:-1], jnp.concatenate([separator[-1:], prime])
    for begin in range(0, config.length, PIECE):
        tokens, carry = sample(
            jax.random.fold_in(key, begin),
            params,
            carry,
            prime,
            model,
            length=PIECE,
            temperature=config.temperature,
            greedy=config.greedy,
            separator=separator[:, 0] if len(separator) else None,
            before=before,
        )
        text = jnp.concatenate([before, prime, tokens])
        before, prime = text[len(text) - len(separator) : -1], text[-1:]
        left = config.length - begin
        yield decoder.decode(np.asarray(tokens)[:left, 0], final=left <= PIECE)

"""Dropout: which parts of the network a training step leaves out, and the scale of those that it keeps.

What is kept is divided by the probability of keeping it, so that means stay as they are (Srivastava et al. 2014).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.config import ModelConfig
from jaxrnn.kernels.bernoulli import bernoulli


class Masks(NamedTuple):
    """What a training step keeps, bool; None: everything.

    Attributes:
        inputs: characters, [T, B].
        states: entries of h_tm1 in the recurrent product, the same for every t, [L, B, H] (Gal and Ghahramani 2016, "A
            theoretically grounded application of dropout in recurrent neural networks").
        outputs: hidden states that a layer hands upward, not to its next step, [L, T, B, H] (Zaremba et al. 2014,
            "Recurrent neural network regularization").
        weights: entries of Whh, the same for every t and lane, [L, H, G*H] (Merity et al. 2017, "Regularizing and
            optimizing LSTM language models").
    """

    inputs: jax.Array | None = None
    states: jax.Array | None = None
    outputs: jax.Array | None = None
    weights: jax.Array | None = None


def draw_masks(key: jax.Array | None, shape: tuple[int, ...], gates: int, config: ModelConfig) -> Masks:
    """Return the masks of a training step for tokens [T, B]; without a key, masks that keep everything.

    Each mask is one draw, outside every loop over t. A device's masks are its own lanes of the masks of all lanes, so
    any number of devices trains alike.
    """
    if key is None or not config.has_dropout:
        return Masks()
    layers, size = config.num_layers, config.hidden_size

    def draw(key: jax.Array, rates: tuple[float, ...], shape: tuple[int, ...], lanes: int | None) -> jax.Array | None:
        if not any(rates):
            return None
        keep = jnp.asarray([1 - rate for rate in rates]).reshape(-1, *[1] * (len(shape) - 1))
        return bernoulli(key, keep, shape, lanes)

    def other(number: int) -> jax.Array:  # the masks of outputs have the key itself, as in version 0.1.0
        return jax.random.fold_in(key, number)

    return Masks(
        inputs=draw(other(1), (config.input_dropout,), shape, 1),
        states=draw(other(2), (config.state_dropout,), (layers, shape[1], size), 1),
        outputs=draw(key, config.output_rates, (layers, *shape, size), 2),
        weights=draw(other(3), (config.weight_dropout,), (layers, size, gates * size), None),
    )


def drop(array: jax.Array, mask: jax.Array | None, rate: float) -> jax.Array:
    """Return an array with zeros where a mask is false, and the rest divided by 1 - rate; without a mask as it is."""
    return array if mask is None else jnp.where(mask, array / (1 - rate), 0)

"""The network: one-hot characters, recurrent layers, logits of the next character."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells import CELLS, CellCarry
from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.recurrence import product, unroll

Carry = tuple[CellCarry, ...]  # one cell's carry a layer


class Layer(NamedTuple):
    """The parameters of one recurrent layer.

    Attributes:
        Wxh: [V, G*H] in the first layer, where row i is what token i adds; [H, G*H] in the others. Input to hidden.
        Whh: [H, G*H], hidden to hidden.
        bh: [G*H].
    """

    Wxh: jax.Array
    Whh: jax.Array
    bh: jax.Array


class Params(NamedTuple):
    """The parameters of the network.

    Attributes:
        layers: from the input upwards.
        Why: [H, V], hidden to logits.
        by: [V].
    """

    layers: tuple[Layer, ...]
    Why: jax.Array
    by: jax.Array


def init_params(key: jax.Array, config: ModelConfig) -> Params:
    """Draw the initial parameters: weights normal times `init_scale`, biases zero.

    Raises:
        JaxrnnError: `vocab_size` is None, or the dtype is float64 and JAX has not been told to use it.
    """
    dtype, vocab_size, hidden_size = _dtype(config), config.vocab_size, config.hidden_size
    if vocab_size is None:
        raise JaxrnnError("vocab_size is None; set ModelConfig(vocab_size=len(vocabulary))")
    width = CELLS[config.cell].gates * hidden_size
    inputs = (vocab_size, *[hidden_size] * (config.num_layers - 1))
    shapes = [(rows, width) for below in inputs for rows in (below, hidden_size)] + [(hidden_size, vocab_size)]
    sizes = [rows * columns for rows, columns in shapes]
    # One draw for all the matrices: to compile a draw takes longer than to make it.
    drawn = config.init_scale * jax.random.normal(key, (sum(sizes),), dtype)
    pieces = jnp.split(drawn, list(itertools.accumulate(sizes[:-1])))
    *weights, Why = (piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))
    layers = zip(weights[::2], weights[1::2], strict=True)
    return Params(
        tuple(Layer(Wxh, Whh, jnp.zeros(width, dtype)) for Wxh, Whh in layers), Why, jnp.zeros(vocab_size, dtype)
    )


def initial_carry(config: ModelConfig, batch_size: int) -> Carry:
    """Return the carry before the first character: for each layer the cell's own, entries [B, H]."""
    cell = CELLS[config.cell]
    return (cell.init_carry(batch_size, config.hidden_size, _dtype(config)),) * config.num_layers


def forward(
    params: Params, carry: Carry, tokens: jax.Array, config: ModelConfig, *, starts: jax.Array | None = None
) -> tuple[jax.Array, Carry]:
    """Run the network over T characters of B lanes.

        h_t = tanh(Wxh[x_t] + h_tm1 Whh + bh),        y_t = h_t Why + by

    for the tanh cell and one layer; a layer above takes the hidden states below it as its input. A one-hot vector times
    Wxh is a row of Wxh, so the first layer looks rows up.

    Args:
        params: the parameters.
        carry: the carry before the first of these characters, from `initial_carry` or from the call before.
        tokens: int [T, B].
        config: the network's configuration.
        starts: bool [T, B], the characters before which the carry becomes the initial one; None: nowhere.

    Returns:
        logits [T, B, V] (the softmax of logits[t] is the distribution of the character after tokens[t]), and the carry
        after the last character.
    """
    if tokens.ndim != 2:
        raise JaxrnnError(f"tokens must be [T, B], got shape {tokens.shape}; for one lane use tokens[:, None]")
    cell = CELLS[config.cell]
    dtype = None if config.products == "full" else config.products

    def times(hidden: jax.Array, W: jax.Array) -> jax.Array:
        # As one [T*B, H] matrix: the gradient of W is then a single product that needs no transpose.
        return product(hidden.reshape(-1, config.hidden_size), W, dtype).reshape(*tokens.shape, -1)

    first, *above = params.layers
    hidden, last = unroll(cell, first.Whh, first.Wxh[tokens] + first.bh[None, None], carry[0], dtype, starts)
    carries = [last]
    for layer, layer_carry in zip(above, carry[1:], strict=True):
        projected = times(hidden, layer.Wxh) + layer.bh[None, None]
        hidden, last = unroll(cell, layer.Whh, projected, layer_carry, dtype, starts)
        carries.append(last)
    return times(hidden, params.Why) + params.by[None, None], tuple(carries)


def _dtype(config: ModelConfig) -> jnp.dtype:
    dtype = jnp.dtype(config.dtype)
    if dtype != jax.dtypes.canonicalize_dtype(dtype):
        raise JaxrnnError('dtype float64 needs jax.config.update("jax_enable_x64", True) before anything else')
    return dtype

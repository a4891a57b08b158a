"""The network: one-hot characters, recurrent layers, logits of the next character."""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.config import ModelConfig
from jaxrnn.config.reprs import of_fields
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.matmul import product
from jaxrnn.network.cells import CellCarry, check_cell, get_cell
from jaxrnn.network.recurrence import unroll

Carry = tuple[CellCarry, ...]  # one cell's carry a layer


class Layer(NamedTuple):
    """The parameters of one recurrent layer.

    Attributes:
        Wxh: [V, G*H] in the first layer, where row i is what token i adds; [H, G*H] in the others. Input to hidden.
        Whh: [H, G*H], hidden to hidden.
        bh: [G*H].
        bhh: [G*H], what a cell with a bias of its own for the recurrent product adds to it (GRU); None for others.
    """

    Wxh: jax.Array
    Whh: jax.Array
    bh: jax.Array
    bhh: jax.Array | None = None

    def __repr__(self) -> str:
        """Give the shapes."""
        return of_fields(self, **self._asdict())


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

    def __repr__(self) -> str:
        """Give the shapes."""
        return of_fields(self, **self._asdict())


def init_params(key: jax.Array, config: ModelConfig) -> Params:
    """Draw the initial parameters: weights as `config.init` says, biases zero but where the cell has an initial bias.

    - normal: standard deviation `init_scale`.
    - uniform: within +-`init_scale` (char-rnn: 0.08).
    - fan_in: normal with standard deviation 1/sqrt(n), n the entries of the input that are not zero: what a product
      makes of inputs of size 1 is then of size 1 (LeCun et al. 1998, "Efficient BackProp", section 4.6). That is H for
      a matrix that hidden states are multiplied by; for the first layer's Wxh it is 1, as a one-hot vector times Wxh is
      a single row, however large V is.

    Raises:
        JaxrnnError: `vocab_size` is None, or the dtype is float64 and JAX has not been told to use it.
    """
    dtype, vocab_size, hidden_size = _dtype(config), config.vocab_size, config.hidden_size
    if vocab_size is None:
        raise JaxrnnError("vocab_size is None; set ModelConfig(vocab_size=len(vocabulary))")
    cell = get_cell(config.cell)
    width = cell.gates * hidden_size
    inputs = (vocab_size, *[hidden_size] * (config.num_layers - 1))
    shapes = [(rows, width) for below in inputs for rows in (below, hidden_size)] + [(hidden_size, vocab_size)]
    sizes = [rows * columns for rows, columns in shapes]
    # One draw for all the matrices: to compile a draw takes longer than to make it.
    draw = jax.random.normal if config.init != "uniform" else partial(jax.random.uniform, minval=-1, maxval=1)
    pieces = jnp.split(draw(key, (sum(sizes),), dtype), list(itertools.accumulate(sizes[:-1])))
    scales = [config.init_scale] * len(shapes)
    if config.init == "fan_in":
        scales = [1.0] + [hidden_size**-0.5] * (len(shapes) - 1)
    *weights, Why = (scale * piece.reshape(shape) for scale, piece, shape in zip(scales, pieces, shapes, strict=True))

    def layer(Wxh: jax.Array, Whh: jax.Array) -> Layer:  # with biases of its own: a step donates each array once
        init_bias = jnp.asarray(cell.init_bias or (0,) * cell.gates, dtype)
        return Layer(
            Wxh, Whh, jnp.repeat(init_bias, hidden_size), jnp.zeros(width, dtype) if cell.recurrent_bias else None
        )

    return Params(tuple(map(layer, weights[::2], weights[1::2])), Why, jnp.zeros(vocab_size, dtype))


def initial_carry(config: ModelConfig, batch_size: int) -> Carry:
    """Return the carry before the first character: for each layer the cell's own, entries [B, H].

    Raises:
        JaxrnnError: a cell of the user's own does not keep to what a Cell must be.
    """
    cell = get_cell(config.cell)
    if not isinstance(config.cell, str):
        check_cell(cell, config.hidden_size, _dtype(config))
    return tuple(cell.init_carry(batch_size, config.hidden_size, _dtype(config)) for _ in range(config.num_layers))


def forward(
    params: Params,
    carry: Carry,
    tokens: jax.Array,
    config: ModelConfig,
    *,
    key: jax.Array | None = None,
    kept: jax.Array | None = None,
    starts: jax.Array | None = None,
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
        key: with one, `config.dropout` of the hidden states that a layer hands upwards, to the next or to the logits,
            are zero, at random, and the others are scaled by 1 / (1 - dropout); what a layer hands to its next step is
            left whole (Zaremba et al. 2014, "Recurrent neural network regularization"). Without a key nothing is
            dropped.
        kept: what such a key draws, from `draw_kept`, in its place.
        starts: bool [T, B], the characters before which the carry becomes the initial one; None: nowhere.

    Returns:
        logits [T, B, V] (the softmax of logits[t] is the distribution of the character after tokens[t]), and the carry
        after the last character.
    """
    if tokens.ndim != 2:
        raise JaxrnnError(f"tokens must be [T, B], got shape {tokens.shape}; for one lane use tokens[:, None]")
    cell = get_cell(config.cell)
    dtype = None if config.products == "full" else config.products

    def times(hidden: jax.Array, W: jax.Array) -> jax.Array:
        # As one [T*B, H] matrix: the gradient of W is then a single product that needs no transpose.
        return product(hidden.reshape(-1, config.hidden_size), W, dtype).reshape(*tokens.shape, -1)

    if key is not None and config.dropout:
        kept = draw_kept(key, tokens.shape, config)

    def over_time(index: int, projected: jax.Array) -> tuple[jax.Array, CellCarry]:
        layer = params.layers[index]
        hidden, last = unroll(cell, layer.Whh, projected, carry[index], dtype, layer.bhh, starts)
        return hidden if kept is None else jnp.where(kept[index], hidden / (1 - config.dropout), 0), last

    first = params.layers[0]
    if first.Wxh.shape[0] <= tokens.size:  # to the fewer rows; the gradient of bh is then a sum over these
        projected = (first.Wxh + first.bh[None])[tokens]
    else:
        projected = first.Wxh[tokens] + first.bh[None, None]
    hidden, last = over_time(0, projected)
    carries = [last]
    for index, layer in enumerate(params.layers[1:], start=1):
        hidden, last = over_time(index, times(hidden, layer.Wxh) + layer.bh[None, None])
        carries.append(last)
    return times(hidden, params.Why) + params.by[None, None], tuple(carries)


def draw_kept(key: jax.Array, shape: tuple[int, ...], config: ModelConfig) -> jax.Array:
    """Return which hidden states dropout leaves for tokens of a shape [T, B]: bool [L, T, B, H]."""
    # One draw for all the layers, outside of every loop over t: in small pieces it takes much longer.
    return jax.random.bernoulli(key, 1 - config.dropout, (config.num_layers, *shape, config.hidden_size))


def _dtype(config: ModelConfig) -> jnp.dtype:
    dtype = jnp.dtype(config.dtype)
    if dtype != jax.dtypes.canonicalize_dtype(dtype):
        raise JaxrnnError('dtype float64 needs jax.config.update("jax_enable_x64", True) before anything else')
    return dtype

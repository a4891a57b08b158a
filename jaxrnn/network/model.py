"""The network: one-hot characters, recurrent layers, logits of the next character."""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import Count, ModelConfig
from jaxrnn.config.cell import CellCarry
from jaxrnn.config.fields import check_arguments, short_repr
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.lookup import look_up
from jaxrnn.kernels.matmul import product
from jaxrnn.network.cells import get_cell
from jaxrnn.network.check_cell import check_cell
from jaxrnn.network.dropout import draw_masks, drop
from jaxrnn.network.recurrence import unroll
from jaxrnn.text import Array
from jaxrnn.text.vocabulary import check_tokens

Carry = tuple[CellCarry, ...]  # one cell's carry a layer


@short_repr
class Layer(NamedTuple):
    """The parameters of one recurrent layer: input to hidden Wxh, hidden to hidden Whh [H, G*H], bias bh [G*H].

    Wxh is [V, G*H] in the first layer, where row i is what token i adds, and [H, G*H] in the others. bhh, [G*H], is
    the separate bias of the recurrent product, for cells that have one (GRU); None for others.
    """

    Wxh: jax.Array
    Whh: jax.Array
    bh: jax.Array
    bhh: jax.Array | None = None


@short_repr
class Params(NamedTuple):
    """The parameters of the network: layers from the input upwards; Why [H, V], hidden to logits; by [V]."""

    layers: tuple[Layer, ...]
    Why: jax.Array
    by: jax.Array

    @property
    def num_parameters(self) -> int:
        """The number of trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self))


def init_params(key: jax.Array, config: ModelConfig) -> Params:
    """Draw the initial parameters: weights by `config.init`; biases zero, or a cell's `init_bias`.

    - normal: standard deviation `init_scale`.
    - uniform: within +-`init_scale` (char-rnn: 0.08).
    - fan_in: normal with standard deviation 1/sqrt(n), where n is the number of nonzero inputs: inputs of size 1 then
      have products of size 1 (LeCun et al. 1998, "Efficient BackProp", section 4.6). n is H for a matrix that
      multiplies hidden states, and 1 for the first layer's Wxh: a one-hot vector times Wxh is a single row.

    Raises JaxrnnError if `vocab_size` is None, or if the dtype is float64 and JAX has not been told to use it.
    """
    check_arguments(init_params, locals())
    dtype, vocab_size, hidden_size = _dtype(config), config.vocab_size, config.hidden_size
    if vocab_size is None:
        raise JaxrnnError("vocab_size is None; set ModelConfig(vocab_size=len(vocabulary))")
    cell = get_cell(config.cell)
    width = cell.gates * hidden_size
    input_sizes = (vocab_size, *[hidden_size] * (config.num_layers - 1))
    shapes = [(rows, width) for input_size in input_sizes for rows in (input_size, hidden_size)]
    shapes.append((hidden_size, vocab_size))
    first, other = (1.0, hidden_size**-0.5) if config.init == "fan_in" else (config.init_scale,) * 2
    scales = [first] + [other] * (len(shapes) - 1)
    # One draw for all matrices: compiling a draw takes longer than making it.
    draw = partial(jax.random.uniform, minval=-1, maxval=1) if config.init == "uniform" else jax.random.normal
    sizes = [rows * columns for rows, columns in shapes]
    numbers = jnp.split(draw(key, (sum(sizes),), dtype), list(itertools.accumulate(sizes[:-1])))
    *weights, Why = (scale * n.reshape(shape) for scale, n, shape in zip(scales, numbers, shapes, strict=True))

    def layer(Wxh: jax.Array, Whh: jax.Array) -> Layer:  # arrays of its own: a step donates each array once
        bh = jnp.repeat(jnp.asarray(cell.init_bias or (0,) * cell.gates, dtype), hidden_size)
        return Layer(Wxh, Whh, bh, jnp.zeros(width, dtype) if cell.recurrent_bias else None)

    return Params(tuple(map(layer, weights[::2], weights[1::2])), Why, jnp.zeros(vocab_size, dtype))


def check_params(params: Params, config: ModelConfig) -> None:
    """Raise JaxrnnError unless the parameters have the shapes that a configuration requires."""
    expected = jax.eval_shape(lambda: init_params(jax.random.key(0), config))
    if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, expected):
        raise JaxrnnError(f"the parameters must be {expected}, for this network and vocabulary, got {params}")


def initial_carry(batch_size: Count, config: ModelConfig) -> Carry:
    """Return the carry before the first character: for each layer the cell's own, entries [B, H].

    Raises JaxrnnError if a user-defined cell breaks the interface of Cell.
    """
    check_arguments(initial_carry, locals())
    cell = get_cell(config.cell)
    if not isinstance(config.cell, str):
        check_cell(cell, config.hidden_size, _dtype(config))
    return tuple(cell.init_carry(batch_size, config.hidden_size, _dtype(config)) for _ in range(config.num_layers))


@jax.named_scope("forward")
def forward(
    params: Params,
    carry: Carry,
    tokens: Array,
    config: ModelConfig,
    *,
    key: jax.Array | None = None,
    starts: Array | None = None,
) -> tuple[jax.Array, Carry]:
    """Run the network over T characters of B lanes; return logits [T, B, V], and the carry after the last character.

        h_t = tanh(Wxh[x_t] + h_tm1 Whh + bh),        y_t = h_t Why + by

    for the tanh cell and one layer; a layer above takes the hidden states below it as its input. A one-hot vector times
    Wxh is a row of Wxh, so the first layer looks rows up.

    The carry is that before the first of the tokens, int [T, B]: from `initial_carry` or from the call before. It is
    reset to the initial one before the characters of `starts`, bool [T, B]; None: nowhere. The key is for dropout, as
    `network.dropout` describes; None drops nothing. The softmax of logits[t] is the distribution of the character after
    tokens[t].
    """
    if tokens.ndim != 2:
        raise JaxrnnError(f"tokens must be [T, B], got shape {tokens.shape}; for one lane use tokens[:, None]")
    if isinstance(tokens, np.ndarray):  # JAX looks up another row for a token beyond V
        check_tokens(tokens.ravel(), params.by.size)
    tokens, starts = jnp.asarray(tokens), None if starts is None else jnp.asarray(starts)
    cell = get_cell(config.cell)
    masks = draw_masks(key, tokens.shape, cell.gates, config)
    last = []
    hidden = tokens
    for index, layer in enumerate(params.layers):
        states, outputs, weights = (None if mask is None else mask[index] for mask in masks[1:])
        if index:
            projected = times(hidden, layer.Wxh, config) + layer.bh[None, None]
        elif masks.inputs is None:
            projected = project(layer, tokens)
        else:
            rows = drop(look_up(layer.Wxh, tokens), masks.inputs[..., None], config.input_dropout)
            projected = rows + layer.bh[None, None]
        Whh = drop(layer.Whh, weights, config.weight_dropout)
        if states is not None:  # instead of dividing the kept entries of h, divide the matrix that multiplies them
            Whh = Whh / (1 - config.state_dropout)
        options: dict[str, Any] = {"bhh": layer.bhh, "starts": starts, "mask": states, "products": config.products}
        hidden, layer_carry = unroll(cell, Whh, projected, carry[index], **options)
        last.append(layer_carry)
        hidden = drop(hidden, outputs, config.output_rates[index])
    return times(hidden, params.Why, config) + params.by[None, None], tuple(last)


def project(layer: Layer, tokens: jax.Array) -> jax.Array:
    """Return the first layer's input, x_t Wxh + bh for one-hot x_t: rows of Wxh; int [T, B] -> [T, B, G*H]."""
    if layer.Wxh.shape[0] <= tokens.size:  # the bias is added to the fewer rows
        return look_up(layer.Wxh + layer.bh[None], tokens)
    return look_up(layer.Wxh, tokens) + layer.bh[None, None]


def times(hidden: jax.Array, W: jax.Array, config: ModelConfig) -> jax.Array:
    """Return hidden states times a matrix; [T, B, H], [H, N] -> [T, B, N]."""
    # As one [T*B, H] matrix: the gradient of W is then a single product.
    return product(hidden.reshape(-1, W.shape[0]), W, config.products).reshape(*hidden.shape[:-1], -1)


def _dtype(config: ModelConfig) -> jnp.dtype:
    dtype = jnp.dtype(config.dtype)
    if dtype != jax.dtypes.canonicalize_dtype(dtype):
        raise JaxrnnError('dtype float64 needs jax.config.update("jax_enable_x64", True) before anything else')
    return dtype

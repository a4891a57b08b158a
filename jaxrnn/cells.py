"""Recurrent cells: each is its elementwise update; `recurrence.unroll` owns the matrix product and the time loop."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

CellCarry = tuple[jax.Array, ...]  # what a cell hands from step to step; the first entry is h, [B, H]


class Cell(NamedTuple):
    """A recurrent cell.

    Attributes:
        gates: G, how many values each unit gets from the input and from the previous hidden state.
        init_carry: (batch_size, hidden_size, dtype) -> carry before the first step, a tuple whose first entry is h.
        update: (projected [B, G*H], recurrent [B, G*H], carry) -> carry, where projected = x_t Wxh + bh and
            recurrent = h_tm1 Whh. It must act on each unit by itself (elementwise), with or without the axis B.
    """

    gates: int
    init_carry: Callable[[int, int, jax.typing.DTypeLike], CellCarry]
    update: Callable[[jax.Array, jax.Array, CellCarry], CellCarry]


def _zero_hidden(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype),)


def _tanh_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """h_t = tanh(x_t Wxh + bh + h_tm1 Whh); Elman 1990, "Finding structure in time"."""
    return (jnp.tanh(projected + recurrent),)


def _zero_hidden_and_memory(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype), jnp.zeros((batch_size, hidden_size), dtype))


def _gru_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """r, z = sigmoid(x Wxh + bh + h_tm1 Whh); n = tanh(x Wxh + bh + r * (h_tm1 Whh)); h_t = (1 - z) n + z h_tm1.

    Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", with the reset gate applied after the
    product, as cuDNN and torch.nn.GRU do: the product then needs no gate and is the same for every cell.
    """
    (h_tm1,) = carry
    projected_r, projected_z, projected_n = jnp.split(projected, 3, axis=-1)
    recurrent_r, recurrent_z, recurrent_n = jnp.split(recurrent, 3, axis=-1)
    reset = jax.nn.sigmoid(projected_r + recurrent_r)
    keep = jax.nn.sigmoid(projected_z + recurrent_z)
    new = jnp.tanh(projected_n + reset * recurrent_n)
    return (new + keep * (h_tm1 - new),)


def _lstm_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """i, f, o = sigmoid(a); g = tanh(a); c_t = f c_tm1 + i g; h_t = o tanh(c_t), a = x Wxh + bh + h_tm1 Whh by gate.

    Hochreiter and Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers et al. 2000.
    """
    _, c_tm1 = carry
    input_gate, forget_gate, new, output_gate = jnp.split(projected + recurrent, 4, axis=-1)
    c_t = jax.nn.sigmoid(forget_gate) * c_tm1 + jax.nn.sigmoid(input_gate) * jnp.tanh(new)
    return (jax.nn.sigmoid(output_gate) * jnp.tanh(c_t), c_t)


# Gates are in torch.nn's order: r, z, n and i, f, g, o.
TANH = Cell(gates=1, init_carry=_zero_hidden, update=_tanh_update)
GRU = Cell(gates=3, init_carry=_zero_hidden, update=_gru_update)
LSTM = Cell(gates=4, init_carry=_zero_hidden_and_memory, update=_lstm_update)

CELLS = {"tanh": TANH, "gru": GRU, "lstm": LSTM}

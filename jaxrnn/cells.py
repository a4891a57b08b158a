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


TANH = Cell(gates=1, init_carry=_zero_hidden, update=_tanh_update)

CELLS = {"tanh": TANH}

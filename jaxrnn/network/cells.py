"""Recurrent cells: each is its elementwise update; `recurrence.unroll` owns the matrix product and the time loop."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import CellLike
from jaxrnn.config.fields import describe
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.unroll import CellCarry


class Cell(NamedTuple):
    """A recurrent cell; a user-defined one goes wherever the name of a built-in one does.

    Example:
        >>> from jaxrnn.config import ModelConfig
        >>> def update(projected, recurrent, carry):
        ...     return (jax.nn.relu(projected + recurrent),)
        >>> model = ModelConfig(cell=Cell(gates=1, init_carry=TANH.init_carry, update=update, additive=True))

    Attributes:
        gates: G, how many values each unit gets from the input and from the previous hidden state.
        init_carry: (batch_size, hidden_size, dtype) -> carry before the first step, a tuple of entries [B, H] whose
            first is h.
        update: (projected [B, G*H], recurrent [B, G*H], carry) -> carry, where projected = x_t Wxh + bh and
            recurrent = h_tm1 Whh (+ bhh). It must act on each unit by itself (elementwise), with or without the axis B.
        recurrent_bias: whether the layer has a bias bhh for the recurrent product, beside bh. Only a cell that is not
            additive can tell them apart.
        init_bias: initial value of bh, one number per gate; empty: zero.
        additive: whether the update uses `projected + recurrent` only: both then have one gradient, which is computed
            and stored once.
    """

    gates: int
    init_carry: Callable[[int, int, jax.typing.DTypeLike], CellCarry]
    update: Callable[[jax.Array, jax.Array, CellCarry], CellCarry]
    recurrent_bias: bool = False
    init_bias: tuple[float, ...] = ()
    additive: bool = False

    def __repr__(self) -> str:
        """Name the update, without the addresses of functions."""
        return f"Cell(gates={self.gates}, update={getattr(self.update, '__name__', self.update)})"


def _zero_hidden(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype),)


def _tanh_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """h_t = tanh(x_t Wxh + bh + h_tm1 Whh); Elman 1990, "Finding structure in time"."""
    return (jnp.tanh(projected + recurrent),)


def _zero_hidden_and_memory(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype), jnp.zeros((batch_size, hidden_size), dtype))


def _gru_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """r, z = sigmoid(a + b); n = tanh(a + r b); h_t = (1 - z) n + z h_tm1, a = x Wxh + bh, b = h_tm1 Whh + bhh by gate.

    Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", with the reset gate applied after the
    product, as cuDNN and torch.nn.GRU do: the product then needs no gate and is the same for every cell.
    """
    (h_tm1,) = carry
    _, keep, new = gru_gates(projected, recurrent)
    return (new + keep * (h_tm1 - new),)


def gru_gates(projected: jax.Array, recurrent: jax.Array) -> tuple[jax.Array, ...]:
    """Return the gates r (reset), z (keep) and n (new) of a GRU, [B, H] each."""
    projected_r, projected_z, projected_n = jnp.split(projected, 3, axis=-1)
    recurrent_r, recurrent_z, recurrent_n = jnp.split(recurrent, 3, axis=-1)
    reset = jax.nn.sigmoid(projected_r + recurrent_r)
    return reset, jax.nn.sigmoid(projected_z + recurrent_z), jnp.tanh(projected_n + reset * recurrent_n)


def _lstm_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """i, f, o = sigmoid(a); g = tanh(a); c_t = f c_tm1 + i g; h_t = o tanh(c_t), a = x Wxh + bh + h_tm1 Whh by gate.

    Hochreiter and Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers et al. 2000.
    """
    _, c_tm1 = carry
    input_gate, forget_gate, new, output_gate = lstm_gates(projected, recurrent)
    c_t = forget_gate * c_tm1 + input_gate * new
    return (output_gate * jnp.tanh(c_t), c_t)


def lstm_gates(projected: jax.Array, recurrent: jax.Array) -> tuple[jax.Array, ...]:
    """Return the gates i (input), f (forget), g (new) and o (output) of an LSTM, [B, H] each."""
    i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


# Gates are in torch.nn's order: r, z, n and i, f, g, o.
TANH = Cell(gates=1, init_carry=_zero_hidden, update=_tanh_update, additive=True)
GRU = Cell(gates=3, init_carry=_zero_hidden, update=_gru_update, recurrent_bias=True)
# A forget gate that begins open, with bias 1, lets the memory last from the start: Gers et al. 2000, "Learning to
# forget"; Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures", section 4.
LSTM = Cell(
    gates=4,
    init_carry=_zero_hidden_and_memory,
    update=_lstm_update,
    init_bias=(0.0, 1.0, 0.0, 0.0),
    additive=True,
)

CELLS = {"tanh": TANH, "gru": GRU, "lstm": LSTM}


def get_cell(cell: str | CellLike) -> Cell:
    """Return the cell that `ModelConfig.cell` means.

    Raises:
        JaxrnnError: it is "custom", which is all that a file says of a user-defined cell.
    """
    if cell == "custom":
        raise JaxrnnError(
            "the cell is user-defined, which no file holds; hand it over again: ModelConfig(cell=MINE), "
            "load_checkpoint(path, cell=MINE), or --cell FILE.py:NAME"
        )
    if isinstance(cell, str):
        return CELLS[cell]
    if isinstance(cell, Cell):
        return cell
    return Cell(
        cell.gates,
        cell.init_carry,
        cell.update,
        recurrent_bias=getattr(cell, "recurrent_bias", False),
        init_bias=tuple(getattr(cell, "init_bias", ())),
        additive=getattr(cell, "additive", False),
    )


def built_in_name(cell: str | CellLike) -> str | None:
    """Return the name of the built-in cell that this is; None for a user-defined one."""
    return next((name for name, built_in in CELLS.items() if built_in == get_cell(cell)), None)


def check_cell(cell: Cell, hidden_size: int, dtype: jax.typing.DTypeLike) -> None:
    """Try a user-defined cell on shapes, and on a few numbers if it says that it is additive.

    Raises:
        JaxrnnError: its functions fail, or don't return the carry that they should; the message says what they return.
    """
    entry, gates = jax.ShapeDtypeStruct((2, hidden_size), dtype), (2, cell.gates * hidden_size)
    try:
        carry = cell.init_carry(2, hidden_size, dtype)
    except Exception as error:
        raise JaxrnnError(f"init_carry of the cell fails with {type(error).__name__}: {error}") from error
    if not isinstance(carry, tuple) or not carry or any(describe(part) != describe(entry) for part in carry):
        raise JaxrnnError(
            f"init_carry of the cell must return a tuple of arrays {describe(entry)} for batch_size 2, hidden_size "
            f"{hidden_size} and dtype {jnp.dtype(dtype)}, got {describe(carry)}"
        )
    try:
        after = jax.eval_shape(cell.update, *[jax.ShapeDtypeStruct(gates, dtype)] * 2, carry)
    except Exception as error:
        raise JaxrnnError(
            f"update of the cell fails with {type(error).__name__}: {error}; it gets projected and recurrent, "
            f"{jnp.dtype(dtype)}{list(gates)} each, and the carry {describe(carry)}"
        ) from error
    if describe(after) != describe(carry):
        raise JaxrnnError(
            f"update of the cell must return a carry like the one that it gets, {describe(carry)}, "
            f"got {describe(after)}"
        )
    if cell.additive and not _is_additive(cell, dtype):
        raise JaxrnnError(
            "the cell says additive=True, but its update does not use projected + recurrent only; leave additive out"
        )


def _is_additive(cell: Cell, dtype: jax.typing.DTypeLike) -> bool:
    """Return whether an update gives the same if a part of `recurrent` is moved to `projected`."""
    with jax.ensure_compile_time_eval():
        a, b = (jnp.asarray(np.linspace(begin, 1, 6 * cell.gates).reshape(2, -1), dtype) for begin in (-0.9, -0.4))
        carry = cell.init_carry(2, 3, dtype)
        apart, together = cell.update(a, b, carry), cell.update(a + b, jnp.zeros_like(b), carry)
        return all(map(partial(np.allclose, atol=1e-5), apart, together))

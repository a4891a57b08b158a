"""The built-in cells: each is its elementwise update; `recurrence.unroll` owns the matrix product and the time loop."""

import jax
import jax.numpy as jnp

from jaxrnn.config.cell import Cell, CellCarry
from jaxrnn.errors import JaxrnnError


def _zero_hidden(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype),)


def _zero_hidden_and_memory(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
    return (jnp.zeros((batch_size, hidden_size), dtype), jnp.zeros((batch_size, hidden_size), dtype))


def _tanh_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """h_t = tanh(x_t Wxh + bh + h_tm1 Whh); Elman 1990, "Finding structure in time"."""
    return (jnp.tanh(projected + recurrent),)


def _relu_update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
    """h_t = max(0, x_t Wxh + bh + h_tm1 Whh); torch.nn.RNN(nonlinearity="relu")."""
    return (jax.nn.relu(projected + recurrent),)


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
RELU = TANH._replace(update=_relu_update)
GRU = Cell(gates=3, init_carry=_zero_hidden, update=_gru_update, recurrent_bias=True)
# A forget gate that begins open, with bias 1, lets the memory last from the start: Gers et al. 2000, "Learning to
# forget"; Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures", section 4.
LSTM = Cell(gates=4, init_carry=_zero_hidden_and_memory, update=_lstm_update, init_bias=(0, 1, 0, 0), additive=True)

CELLS = {"tanh": TANH, "relu": RELU, "gru": GRU, "lstm": LSTM}


def get_cell(cell: str | Cell) -> Cell:
    """Return the cell that `ModelConfig.cell` means; raise JaxrnnError for "custom", a user-defined one in a file."""
    if cell == "custom":
        raise JaxrnnError(
            "the cell is user-defined, which no file holds; hand it over again: ModelConfig(cell=MINE), "
            "load_checkpoint(path, cell=MINE), or --cell FILE.py:NAME"
        )
    return CELLS[cell] if isinstance(cell, str) else cell


def built_in_name(cell: str | Cell) -> str | None:
    """Return the name of the built-in cell that this is; None for a user-defined one."""
    return next((name for name, built_in in CELLS.items() if built_in == get_cell(cell)), None)

"""What a user-defined cell must be, tried on shapes and a few numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config.cell import Cell
from jaxrnn.config.fields import describe
from jaxrnn.errors import JaxrnnError


def check_cell(cell: Cell, hidden_size: int, dtype: jax.typing.DTypeLike) -> None:
    """Raise JaxrnnError if a user-defined cell fails on shapes, or returns a carry of the wrong form.

    A cell that says it is additive is also tried on a few numbers.
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
    """Return whether an update gives the same result if `recurrent` is added to `projected` and replaced by zeros."""
    with jax.ensure_compile_time_eval():
        a, b = (jnp.asarray(np.linspace(begin, 1, 6 * cell.gates).reshape(2, -1), dtype) for begin in (-0.9, -0.4))
        carry = cell.init_carry(2, 3, dtype)
        apart, together = cell.update(a, b, carry), cell.update(a + b, jnp.zeros_like(b), carry)
        return all(map(partial(np.allclose, atol=1e-5), apart, together))

"""One cell over time, for t = 0 .. T-1:

    carry_t = update(projected_t, h_tm1 Whh + bhh, carry_tm1),        h = the first entry of carry,

where only a cell that declares one has a bias bhh. The input's part, projected_t = x_t Wxh + bh, does not depend on h:
it is computed for all t before the loop, and the logits are computed from the hidden states after it. Only the
recurrent product and the elementwise update are left inside.
"""  # noqa: D415

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.config import Products
from jaxrnn.config.cell import Cell, CellCarry
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels import plain, uses
from jaxrnn.kernels import unroll as fast
from jaxrnn.kernels.matmul import product
from jaxrnn.kernels.unroll import Inputs, apply_mask, restart


@jax.named_scope("recurrence")
def unroll(
    cell: Cell,
    Whh: jax.Array,
    projected: jax.Array,
    carry: CellCarry,
    *,
    bhh: jax.Array | None = None,
    starts: jax.Array | None = None,
    mask: jax.Array | None = None,
    products: Products = "full",
) -> tuple[jax.Array, CellCarry]:
    """Run a cell over T steps; return hidden [T, B, H], h after each step, and the carry after the last one.

    The gradient is the fast one of `kernels.unroll`. It can be differentiated again (`jax.grad`, `jax.vjp`, and
    `jax.jvp` of `jax.grad` for Hessian products); pure forward mode (`jax.jvp`, `jax.jacfwd`) needs `unroll_plain`.

    `projected`, the input's part, is [T, B, G*H], and the carry before the first step has entries [B, H]; or [T, G*H]
    and [H]. Whh is [H, G*H], and bhh [G*H] or None. The carry is reset to the cell's initial one before the steps of
    `starts`, bool [T, B]; None: nowhere. Of h_tm1 only the entries in `mask`, bool [B, H], enter the recurrent product;
    None: all. The factors of that product are rounded to `products`, as in `ModelConfig`. The cell is static under jit.
    """
    inputs = Inputs(Whh, projected, carry, _initial_like(cell, carry), bhh, starts, mask)
    _check_shapes(cell, inputs)
    return fast.unroll(cell, products, inputs) if uses("unroll") else _scan(cell, products, inputs)


# The same with the plain twin of that kernel: a scan, differentiated by JAX.
unroll_plain = plain("unroll")(unroll)


def _scan(cell: Cell, products: Products, inputs: Inputs) -> tuple[jax.Array, CellCarry]:
    Whh, projected, carry, initial, bhh, starts, mask = inputs
    bias = 0 if bhh is None else jnp.broadcast_to(bhh, projected.shape[1:])

    def step(carry_tm1: CellCarry, at_t: tuple[jax.Array, jax.Array | None]) -> tuple[CellCarry, jax.Array]:
        projected_t, starts_t = at_t
        carry_tm1 = restart(starts_t, initial, carry_tm1)
        h_tm1 = apply_mask(mask, carry_tm1[0]).reshape(-1, Whh.shape[0])
        recurrent_t = product(h_tm1, Whh, products).reshape(projected_t.shape)
        carry_t = cell.update(projected_t, recurrent_t + bias, carry_tm1)
        return carry_t, carry_t[0]

    carry, hidden = lax.scan(step, carry, (projected, starts))
    return hidden, carry


def _initial_like(cell: Cell, carry: CellCarry) -> CellCarry:
    """Return the cell's initial carry, with or without the axis B as `carry` is."""
    h = carry[0]
    initial = cell.init_carry(h.shape[0] if h.ndim > 1 else 1, h.shape[-1], h.dtype)
    return initial if h.ndim > 1 else jax.tree.map(lambda entry: entry[0], initial)


def _check_shapes(cell: Cell, inputs: Inputs) -> None:
    Whh, projected, carry, _, bhh, starts, mask = inputs
    *lanes, hidden_size = carry[0].shape
    width = cell.gates * hidden_size
    expected = {
        "Whh": (Whh, "[H, G*H]", (hidden_size, width)),
        "bhh": (bhh, "[G*H]", (width,)),
        "projected": (projected, "[T, B, G*H]", (*projected.shape[:1], *lanes, width)),
        "starts": (starts, "bool [T, B]", projected.shape[:-1]),
        "mask": (mask, "bool [B, H]", carry[0].shape),
    }
    for name, (array, axes, shape) in expected.items():
        if array is not None and array.shape != shape:
            raise JaxrnnError(f"{name} must be {axes} = {shape} for this carry, got {array.shape}")

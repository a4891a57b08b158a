"""One cell over time: the plain scan, and the same function with a backward pass derived by hand.

Both compute, for t = 0 .. T-1,

    carry_t = update(projected_t, h_tm1 Whh + bhh, carry_tm1),        h = the first entry of carry,

where only a cell that wants one has a bias bhh.

The input's part, projected_t = x_t Wxh + bh, does not depend on h, so it is computed for all t before the loop; what is
read off the hidden states comes after it. Only the recurrent product and the elementwise update are left inside.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.matmul import times_matrix, transposed_product
from jaxrnn.network.cells import Cell, CellCarry


def unroll_plain(
    cell: Cell,
    Whh: jax.Array,
    projected: jax.Array,
    carry: CellCarry,
    *,
    bhh: jax.Array | None = None,
    starts: jax.Array | None = None,
) -> tuple[jax.Array, CellCarry]:
    """Run a cell over T steps; what `unroll` computes, in its shortest form.

    Args:
        cell: the cell.
        Whh: [H, G*H], hidden to hidden.
        projected: [T, B, G*H], the input's part of each step; or [T, G*H] with a carry that has no axis B.
        carry: the cell's carry before the first step, entries [B, H].
        bhh: [G*H], added to h_tm1 Whh; None adds nothing.
        starts: bool [T, B], the steps before which the carry becomes the cell's initial one; None: nowhere.

    Returns:
        hidden [T, B, H], h after each step, and the carry after the last one.

    Raises:
        JaxrnnError: the shapes don't fit together.
    """
    _check_shapes(cell, Whh, projected, carry, bhh, starts)
    initial = _initial_like(cell, carry)
    bias = 0 if bhh is None else jnp.broadcast_to(bhh, projected.shape[1:])

    def step(carry_tm1: CellCarry, at_t: tuple[jax.Array, jax.Array | None]) -> tuple[CellCarry, jax.Array]:
        projected_t, starts_t = at_t
        carry_tm1 = _where(starts_t, initial, carry_tm1)
        carry_t = cell.update(projected_t, carry_tm1[0] @ Whh + bias, carry_tm1)
        return carry_t, carry_t[0]

    carry, hidden = lax.scan(step, carry, (projected, starts))
    return hidden, carry


@partial(jax.custom_vjp, nondiff_argnums=(0, 4))
def unroll(
    cell: Cell,
    Whh: jax.Array,
    projected: jax.Array,
    carry: CellCarry,
    dtype: jax.typing.DTypeLike | None = None,
    bhh: jax.Array | None = None,
    starts: jax.Array | None = None,
) -> tuple[jax.Array, CellCarry]:
    """Run a cell over T steps: `unroll_plain`, with a faster gradient.

    The transpose of a scan would add an [H, G*H] outer product to the gradient of Whh at every step. Here the backward
    loop emits the gradient of h_tm1 Whh for each t, and one product after it sums over t and the batch:

        dWhh = sum_t  h_tm1^T  d(h_tm1 Whh)_t,        dbhh = sum_t  d(h_tm1 Whh)_t.

    The gradient of this gradient works (`jax.grad`, `jax.vjp`, and `jax.jvp` of `jax.grad` for Hessian products);
    forward mode on its own (`jax.jvp`, `jax.jacfwd`) needs `unroll_plain`.

    Args:
        cell: the cell; static.
        Whh: [H, G*H], hidden to hidden.
        projected: [T, B, G*H], the input's part of each step; or [T, G*H] with a carry that has no axis B.
        carry: the cell's carry before the first step, entries [B, H].
        dtype: what the factors of the products are rounded to; None rounds nothing. Static.
        bhh: [G*H], added to h_tm1 Whh; None adds nothing.
        starts: bool [T, B], the steps before which the carry becomes the cell's initial one; None: nowhere.

    Returns:
        hidden [T, B, H], h after each step, and the carry after the last one.

    Raises:
        JaxrnnError: the shapes don't fit together.
    """
    return _unroll_forward(cell, Whh, projected, carry, dtype, bhh, starts)[0]


class _Hidden(NamedTuple):
    """Stands for h_t in a pull-back: what the loop returns anyhow is not stored a second time."""


class _HiddenTm1(NamedTuple):
    """Stands for h_tm1 in a pull-back."""


# The parts of an update that cost as much as storing what they give, or less; a pull-back computes these again.
_CHEAP = {"add", "sub", "mul", "neg", "abs", "max", "min", "square", "one_minus_square", "sign", "select_n"}


def _is_dear(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name not in _CHEAP


# What the backward pass needs: Whh and bhh, the input's part (to write over it), the carry before the first step, h
# after each step, the pull-back of each update, which JAX represents as a pytree of arrays, stacked over t; and where
# the carry started anew.
_Residuals = tuple[jax.Array, jax.Array | None, jax.Array, CellCarry, jax.Array, Any, jax.Array | None]


def _unroll_forward(
    cell: Cell,
    Whh: jax.Array,
    projected: jax.Array,
    carry: CellCarry,
    dtype: jax.typing.DTypeLike | None,
    bhh: jax.Array | None,
    starts: jax.Array | None,
) -> tuple[tuple[jax.Array, CellCarry], _Residuals]:
    _check_shapes(cell, Whh, projected, carry, bhh, starts)
    times_Whh = times_matrix(Whh, _lanes(carry), dtype)
    initial = _initial_like(cell, carry)
    update = jax.checkpoint(cell.update, policy=_is_dear, prevent_cse=False)  # inside a loop nothing else need be done
    bias = None if bhh is None else jnp.broadcast_to(bhh, projected.shape[1:])

    def step(carry_tm1: CellCarry, at_t: tuple[jax.Array, jax.Array | None]) -> tuple[CellCarry, tuple[jax.Array, Any]]:
        projected_t, starts_t = at_t
        carry_tm1 = _where(starts_t, initial, carry_tm1)
        # Linearized here, where its arguments are at hand; to compute them again later would cost a product over all t.
        recurrent_t = times_Whh(carry_tm1[0])
        recurrent_t = recurrent_t if bias is None else recurrent_t + bias
        carry_t, pull_back = jax.vjp(update, projected_t, recurrent_t, carry_tm1)
        known = {id(carry_t[0]): _Hidden(), id(carry_tm1[0]): _HiddenTm1()}
        return carry_t, (carry_t[0], jax.tree.map(lambda residual: known.get(id(residual), residual), pull_back))

    last, (hidden, pull_backs) = lax.scan(step, carry, (projected, starts))
    return (hidden, last), (Whh, bhh, projected, carry, hidden, pull_backs, starts)


_LARGE = 2**18  # numbers, as many as the cache of a core holds


def _unroll_backward(
    cell: Cell,
    dtype: jax.typing.DTypeLike | None,
    residuals: _Residuals,
    cotangents: tuple[jax.Array, CellCarry],
) -> tuple[jax.Array, jax.Array, CellCarry, jax.Array | None, None]:
    Whh, bhh, projected, first, hidden, pull_backs, starts = residuals
    times_Whh_T = times_matrix(Whh, _lanes(first), dtype, transposed=True)
    d_hidden, d_last = cotangents

    nothing = jax.tree.map(jnp.zeros_like, first)
    adds = _only_adds(cell, first)

    hidden_tm1 = jnp.concatenate([first[0][None], hidden[:-1]])
    if starts is not None:
        hidden_tm1 = jnp.where(starts[..., None], _initial_like(cell, first)[0][None], hidden_tm1)

    State = tuple[CellCarry, jax.Array, jax.Array]  # the gradients of the carry and of `projected`, and t

    def step(state: State, at_t: tuple[Any, ...]) -> tuple[State, jax.Array | None]:
        d_carry_t, d_projected, t = state
        d_hidden_t, pull_back, starts_t, h_t, h_tm1 = at_t
        known = {_Hidden: h_t, _HiddenTm1: h_tm1}
        pull_back = jax.tree.map(
            lambda residual: known.get(type(residual), residual), pull_back, is_leaf=lambda node: type(node) in known
        )
        d_projected_t, d_recurrent_t, d_carry_tm1 = pull_back((d_carry_t[0] + d_hidden_t, *d_carry_t[1:]))
        d_projected = lax.dynamic_update_index_in_dim(d_projected, d_projected_t, t, 0, allow_negative_indices=False)
        d_carry_tm1 = (d_carry_tm1[0] + times_Whh_T(d_recurrent_t), *d_carry_tm1[1:])
        return (_where(starts_t, nothing, d_carry_tm1), d_projected, t - 1), None if adds else d_recurrent_t

    # A large gradient of `projected` is written over it: to fill as much with zeros first, as a scan does with what it
    # emits, takes long. (A small one is not: XLA would no longer run a single step's operations one after the other.)
    into = projected if projected.size > _LARGE else jnp.zeros_like(projected)
    last = d_last, into, jnp.asarray(projected.shape[0] - 1)
    at_all = d_hidden, pull_backs, starts, hidden, hidden_tm1
    (d_first, d_projected, _), emitted = lax.scan(step, last, at_all, reverse=True)
    d_recurrent = d_projected if emitted is None else emitted
    d_Whh = transposed_product(hidden_tm1.reshape(-1, Whh.shape[0]), d_recurrent.reshape(-1, Whh.shape[1]), dtype)
    d_bhh = None if bhh is None else d_recurrent.reshape(-1, Whh.shape[1]).sum(axis=0)
    return d_Whh, d_projected, d_first, d_bhh, None


def _lanes(carry: CellCarry) -> int:
    return carry[0].shape[0] if carry[0].ndim > 1 else 1


def _only_adds(cell: Cell, carry: CellCarry) -> bool:
    """Return whether the update looks at projected + recurrent only: both then have the same gradient."""
    part = jax.ShapeDtypeStruct((*carry[0].shape[:-1], cell.gates * carry[0].shape[-1]), carry[0].dtype)
    program = jax.make_jaxpr(cell.update)(part, part, carry).jaxpr
    both = program.invars[:2]
    uses = [equation for equation in program.eqns if any(part in equation.invars for part in both)]
    added = len(uses) == 1 and uses[0].primitive.name == "add" and set(uses[0].invars) == set(both)
    return added and not any(part in program.outvars for part in both)


def _initial_like(cell: Cell, carry: CellCarry) -> CellCarry:
    """Return the cell's initial carry, with or without the axis B as `carry` is."""
    h = carry[0]
    initial = cell.init_carry(_lanes(carry), h.shape[-1], h.dtype)
    return initial if h.ndim > 1 else jax.tree.map(lambda entry: entry[0], initial)


def _where(starts_t: jax.Array | None, new: CellCarry, carry: CellCarry) -> CellCarry:
    """Return `new` in the lanes that start, `carry` in the others."""
    if starts_t is None:
        return carry
    return jax.tree.map(lambda a, b: jnp.where(starts_t[..., None], a, b), new, carry)


unroll.defvjp(_unroll_forward, _unroll_backward)


def _check_shapes(
    cell: Cell,
    Whh: jax.Array,
    projected: jax.Array,
    carry: CellCarry,
    bhh: jax.Array | None,
    starts: jax.Array | None,
) -> None:
    hidden_size = carry[0].shape[-1]
    width = cell.gates * hidden_size
    if Whh.shape != (hidden_size, width):
        raise JaxrnnError(f"Whh must be [H, G*H] = {(hidden_size, width)} for this carry, got {Whh.shape}")
    if bhh is not None and bhh.shape != (width,):
        raise JaxrnnError(f"bhh must be [G*H] = {(width,)} for this carry, got {bhh.shape}")
    if projected.shape[1:] != (*carry[0].shape[:-1], width):
        expected = ("T", *carry[0].shape[:-1], width)
        raise JaxrnnError(f"projected must be [T, B, G*H] = {expected} for this carry, got {projected.shape}")
    if starts is not None and starts.shape != projected.shape[:-1]:
        raise JaxrnnError(f"starts must be bool [T, B] = {projected.shape[:-1]}, got {starts.shape}")

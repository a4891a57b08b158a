"""Matrix products whose factors may be rounded, to bfloat16, while their sums are not."""

from collections.abc import Callable
from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint


def product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return the matrix product a @ b of [M, K] and [K, N]; its gradients are such products too.

    Args:
        a: [M, K].
        b: [K, N].
        dtype: what the factors are rounded to (bfloat16 halves the work of the machine); the sums keep the type of a.
            None rounds nothing.
    """
    return a @ b if dtype is None and a.shape[0] >= _MANY_ROWS else _product(a, b, dtype)


# From here on `_product`, whose gradients copy a transposed factor, is no gain: 4% on one device, a loss of 7% on two.
_MANY_ROWS = 1024


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None) -> jax.Array:
    return jnp.matmul(_rounded(a, dtype), _rounded(b, dtype), preferred_element_type=a.dtype)


def _rounded(factor: jax.Array, dtype: jax.typing.DTypeLike | None) -> jax.Array:
    return factor if dtype is None else factor.astype(dtype)


_Factors = tuple[jax.Array, jax.Array]


def _product_forward(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None) -> tuple[jax.Array, _Factors]:
    return _product(a, b, dtype), (a, b)


def _product_backward(
    dtype: jax.typing.DTypeLike | None, factors: _Factors, d_product: jax.Array
) -> tuple[jax.Array, jax.Array]:
    a, b = factors
    b_T = b.T if dtype is None else _moved_transpose(b.astype(dtype))
    d_a = jnp.matmul(_rounded(d_product, dtype), b_T, preferred_element_type=a.dtype)
    return d_a, transposed_product(a, d_product, dtype)


_product.defvjp(_product_forward, _product_backward)


def transposed_product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return a^T b of [K, M] and [K, N], as `product` does: how the gradient of a matrix is summed over its uses."""
    a_T = _copied_transpose(a) if dtype is None else _moved_transpose(a.astype(dtype))
    return jnp.matmul(a_T, _rounded(b, dtype), preferred_element_type=b.dtype)


@jax.jit
def _copied_transpose(a: jax.Array) -> jax.Array:
    """Return a^T [N, M] of [M, N], on a CPU as an array of its own.

    XLA's best products there know no transposed first factor: left to itself XLA would take others, that make their
    code at their first use, 20 ms at the start of every process. A transposed second factor they copy at every use.
    """
    return lax.platform_dependent(a, cpu=lambda a: lax.optimization_barrier(a.T), default=lambda a: a.T)


@jax.jit
def _moved_transpose(a: jax.Array) -> jax.Array:
    """Return a^T [N, M] of [M, N], laid out row by row on a CPU.

    The best products of rounded numbers want their factors so; others would widen them again, and multiply half as
    fast. (A copy alone may keep the layout of `a`. But of an `a` that lies on many devices in parts, an order of layout
    makes them tell each other all.)
    """
    rows = Layout(major_to_minor=(0, 1))
    return lax.platform_dependent(a, cpu=lambda a: with_layout_constraint(a.T, rows), default=lambda a: a.T)


# Longer sums of rounded factors take XLA on a CPU twice as long as the same in pieces.
_DEEPEST, _PIECE = 1024, 512


def times_matrix(
    W: jax.Array, lanes: int, dtype: jax.typing.DTypeLike | None = None, *, transposed: bool = False
) -> Callable[[jax.Array], jax.Array]:
    """Return h -> h W, or h -> h W^T, for the inside of a loop: what is done to W is done once, before it.

    `lanes` is the number of rows of h: a product of a single one is of another kind.
    """
    if dtype is None and transposed:
        return _times_transpose(W, lanes)
    if dtype is None:
        return _times_wider(W) if lanes == 1 and W.size <= _SMALL else lambda h: h @ W
    factor = _moved_transpose(W.astype(dtype)) if transposed else W.astype(dtype)
    cuts = list(range(_PIECE, factor.shape[0], _PIECE)) if factor.shape[0] > _DEEPEST else []
    pieces = jnp.split(factor, cuts)

    def times(h: jax.Array, factor: jax.Array = factor) -> jax.Array:
        return jnp.matmul(h.astype(dtype), factor, preferred_element_type=h.dtype)

    def piecewise(h: jax.Array) -> jax.Array:
        return reduce(jnp.add, map(times, jnp.split(h, cuts, axis=-1), pieces))

    return partial(lax.platform_dependent, cpu=piecewise, default=times) if cuts else times


def _times_transpose(W: jax.Array, lanes: int) -> Callable[[jax.Array], jax.Array]:
    if lanes == 1 and W.size <= _SMALL:
        return lambda h: h @ W.T
    if lanes == 1:  # as a vector: W is then read as it lies, where jax 0.12 would first copy its transpose
        return lambda h: (W @ h.reshape(-1)).reshape(*h.shape[:-1], -1)
    W_T = _copied_transpose(W)
    return lambda h: h @ W_T


_VECTOR = 16  # the most numbers that a processor's instruction takes
_SMALL = 2**16  # numbers of a matrix that is soon read


def _times_wider(W: jax.Array) -> Callable[[jax.Array], jax.Array]:
    # Columns that fill no vector XLA multiplies one at a time on a CPU, each sum waiting for the one before: the last 4
    # of 100 took as long as the other 96. Columns of zeros cost nothing. They are a matrix's that W is set in: what
    # jnp.pad makes of it is slow enough to lose half of this.
    width = W.shape[1]
    wider = jnp.zeros((W.shape[0], width + -width % _VECTOR), W.dtype).at[:, :width].set(W)
    return lambda h: (h @ wider)[..., :width]

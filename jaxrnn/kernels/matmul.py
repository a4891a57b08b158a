"""Matrix products: rounded to bfloat16 where the model asks for it, and laid out as XLA's CPU kernels want them.

`product` is what a model computes, whatever the processor: its factors may be rounded, its sums are not, and its
gradients are such products too. The other two do the same work faster on a CPU, each with its plain twin beside it.

Earns (time without / with, Intel Sapphire Rapids and AMD Zen 5): the training step of GRU B 16 T 48 H 128 1.19 and
1.15, one stream sampled 1.16 and 1.11; tanh B 1 T 25 H 100 in chunks, by whole vectors, 1.13 (AMD). In bfloat16
(Intel): h W^T inside a loop, H 512, 2.4; a^T b 3.0; sums of 1,536 rows in pieces 1.2 to 1.4. One lane with H 512 under
jax 0.12: h W^T 10.
"""

from collections.abc import Callable
from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

from jaxrnn.config import Products
from jaxrnn.kernels import uses


def product(a: jax.Array, b: jax.Array, products: Products = "full") -> jax.Array:
    """Return the matrix product a @ b, [M, K] and [K, N] -> [M, N].

    With "bfloat16" the factors are rounded and sums keep the type of `a`, in both gradients too.
    """
    return a @ b if products == "full" else _rounded_product(a, b)


@jax.custom_vjp
def _rounded_product(a: jax.Array, b: jax.Array) -> jax.Array:
    return _matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), a.dtype)


def _matmul(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=dtype)


_Factors = tuple[jax.Array, jax.Array]


def _rounded_product_forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, _Factors]:
    return _rounded_product(a, b), (a, b)


def _rounded_product_backward(factors: _Factors, d_product: jax.Array) -> _Factors:
    a, b = factors
    d_a = _matmul(d_product.astype(jnp.bfloat16), _transpose(b.astype(jnp.bfloat16)), a.dtype)
    return d_a, transposed_product(a, d_product, "bfloat16")


_rounded_product.defvjp(_rounded_product_forward, _rounded_product_backward)


def transposed_product(a: jax.Array, b: jax.Array, products: Products = "full") -> jax.Array:
    """Return a^T b, [K, M] and [K, N] -> [M, N]: how the gradient of a matrix is summed over its uses."""
    if products == "bfloat16":
        return _matmul(_transpose(a.astype(jnp.bfloat16)), b.astype(jnp.bfloat16), b.dtype)
    return _transpose(a) @ b


def times_matrix(
    W: jax.Array, lanes: int, products: Products = "full", *, transposed: bool = False
) -> Callable[[jax.Array], jax.Array]:
    """Return h -> h W, or h -> h W^T, for use inside a loop: W is prepared once, before the loop.

    h has `lanes` rows; a single row is multiplied in a different way.
    """
    if not uses("matmul"):
        return lambda h: product(h, W.T if transposed else W, products)
    if products == "bfloat16":
        W = W.astype(jnp.bfloat16)
        return _times_rounded(_transpose(W) if transposed else W)
    if not transposed:
        return _times_padded(W) if lanes == 1 and W.size <= _SMALL else lambda h: h @ W
    if lanes == 1:  # W is read as it lies; jax 0.12 would first copy its transpose, at every step
        return lambda h: (W @ h.reshape(-1)).reshape(*h.shape[:-1], -1)
    W_T = _transpose(W)
    return lambda h: h @ W_T


_SMALL = 2**19  # numbers of a matrix: two megabytes, as much as the second-level cache of a core holds


def _transpose(a: jax.Array) -> jax.Array:
    """Return a^T, [M, N] -> [N, M]; on a CPU as an array of its own, where products are then faster."""
    if not uses("matmul") or (a.dtype != jnp.bfloat16 and a.size > _SMALL):
        return a.T
    return _copied_transpose(a)


@jax.jit
def _copied_transpose(a: jax.Array) -> jax.Array:
    if a.dtype == jnp.bfloat16:  # a barrier alone may keep the layout of `a`, whose products are half as fast
        by_rows = Layout(major_to_minor=(0, 1))
        return lax.platform_dependent(a, cpu=lambda a: with_layout_constraint(a.T, by_rows), default=lambda a: a.T)
    return lax.platform_dependent(a, cpu=lambda a: lax.optimization_barrier(a.T), default=lambda a: a.T)


# XLA's rounded products of more rows than _DEEPEST take longer than the sum of products of _PIECE rows each.
_DEEPEST, _PIECE = 1024, 512


def _times_rounded(W: jax.Array) -> Callable[[jax.Array], jax.Array]:
    def times(h: jax.Array, W: jax.Array = W) -> jax.Array:
        return _matmul(h.astype(jnp.bfloat16), W, h.dtype)

    if W.shape[0] <= _DEEPEST:
        return times
    cuts = list(range(_PIECE, W.shape[0], _PIECE))
    pieces = jnp.split(W, cuts)

    def by_pieces(h: jax.Array) -> jax.Array:
        return reduce(jnp.add, map(times, jnp.split(h, cuts, axis=-1), pieces))

    return partial(lax.platform_dependent, cpu=by_pieces, default=times)


_VECTOR = 16  # float32 numbers in a processor's widest register


def _times_padded(W: jax.Array) -> Callable[[jax.Array], jax.Array]:
    # XLA multiplies columns that don't fill a register one at a time: the last 4 of 100 took as long as the other 96.
    # Zeros fill it. (Copying W into a matrix of zeros is faster than what XLA makes of jnp.pad.)
    width = W.shape[1]
    padded = jnp.zeros((W.shape[0], width + -width % _VECTOR), W.dtype).at[:, :width].set(W)
    return lambda h: (h @ padded)[..., :width]

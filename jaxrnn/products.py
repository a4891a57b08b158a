"""Matrix products whose factors may be rounded, to bfloat16, while their sums are not."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


def product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return the matrix product a @ b of [M, K] and [K, N]; its gradients are such products too.

    Args:
        a: [M, K].
        b: [K, N].
        dtype: what the factors are rounded to (bfloat16 halves the work of the machine); the sums keep the type of a.
            None rounds nothing.
    """
    return a @ b if dtype is None else _rounded_product(a, b, dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rounded_product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=a.dtype)


_Factors = tuple[jax.Array, jax.Array]


def _rounded_product_forward(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike) -> tuple[jax.Array, _Factors]:
    return _rounded_product(a, b, dtype), (a, b)


def _rounded_product_backward(
    dtype: jax.typing.DTypeLike, factors: _Factors, d_product: jax.Array
) -> tuple[jax.Array, jax.Array]:
    a, b = factors
    d_a = jnp.matmul(d_product.astype(dtype), _rounded_transpose(b, dtype), preferred_element_type=a.dtype)
    return d_a, transposed_product(a, d_product, dtype)


def transposed_product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return a^T b of [K, M] and [K, N], as `product` does: how the gradient of a matrix is summed over its uses."""
    if dtype is None:
        return a.T @ b
    return jnp.matmul(_rounded_transpose(a, dtype), b.astype(dtype), preferred_element_type=b.dtype)


def _rounded_transpose(a: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return a^T, rounded and moved: XLA multiplies rounded numbers half as fast where they don't lie in order."""
    return lax.optimization_barrier(a.T.astype(dtype))


_rounded_product.defvjp(_rounded_product_forward, _rounded_product_backward)


def times_matrix(
    W: jax.Array, dtype: jax.typing.DTypeLike | None, transposed: bool = False
) -> Callable[[jax.Array], jax.Array]:
    """Return h -> h W, or h -> h W^T, for the inside of a loop: W is rounded once, before it."""
    if dtype is not None:
        W, transposed = (_rounded_transpose(W, dtype) if transposed else W.astype(dtype)), False

    def times(h: jax.Array) -> jax.Array:
        # Transposed in here: XLA then reads W as it lies, where a copy of W^T before the loop would cost more.
        factor = W.T if transposed else W
        return jnp.matmul(h.astype(factor.dtype), factor, preferred_element_type=h.dtype)

    return times

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
    d_a = jnp.matmul(d_product.astype(dtype), _moved_transpose(b.astype(dtype)), preferred_element_type=a.dtype)
    return d_a, transposed_product(a, d_product, dtype)


def transposed_product(a: jax.Array, b: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return a^T b of [K, M] and [K, N], as `product` does: how the gradient of a matrix is summed over its uses."""
    if dtype is not None:
        return jnp.matmul(_moved_transpose(a.astype(dtype)), b.astype(dtype), preferred_element_type=b.dtype)
    return (a.T if a.shape[0] < 1024 else _moved_transpose(a)) @ b


@jax.jit
def _moved_transpose(a: jax.Array) -> jax.Array:
    """Return a^T [N, M] of [M, N], laid out row by row on a CPU.

    Left to itself XLA reads a factor as it lies. On a CPU its best products want rows, and know no others of rounded
    numbers: it would widen them again, and multiply half as fast.
    """
    rows = Layout(major_to_minor=(0, 1))
    return lax.platform_dependent(a, cpu=lambda a: with_layout_constraint(a.T, rows), default=lambda a: a.T)


_rounded_product.defvjp(_rounded_product_forward, _rounded_product_backward)


_DEEPEST = 1024  # sums that XLA's products of rounded factors on a CPU are good at: longer ones take it twice the time


def times_matrix(
    W: jax.Array, dtype: jax.typing.DTypeLike | None, transposed: bool = False, lanes: int | None = None
) -> Callable[[jax.Array], jax.Array]:
    """Return h -> h W, or h -> h W^T, for the inside of a loop: W is rounded, or widened, once, before it.

    `lanes` says how many h there are, where that is known: a product of a single one is of another kind.
    """
    if dtype is None and transposed:  # inside: XLA then reads W as it lies, where a copy of W^T before would cost more
        return lambda h: h @ W.T
    if dtype is None:
        return _times_wider(W) if lanes == 1 and W.size <= _SMALL else lambda h: h @ W
    factor = _moved_transpose(W.astype(dtype)) if transposed else W.astype(dtype)
    cuts = list(range(_DEEPEST, factor.shape[0], _DEEPEST))
    pieces = jnp.split(factor, cuts)

    def times(h: jax.Array, factor: jax.Array = factor) -> jax.Array:
        return jnp.matmul(h.astype(dtype), factor, preferred_element_type=h.dtype)

    def piecewise(h: jax.Array) -> jax.Array:
        return reduce(jnp.add, map(times, jnp.split(h, cuts, axis=-1), pieces))

    return partial(lax.platform_dependent, cpu=piecewise, default=times) if cuts else times


_VECTOR = 16  # the most numbers that a processor's instruction takes
_SMALL = 50_000  # numbers of a matrix that is soon copied


def _times_wider(W: jax.Array) -> Callable[[jax.Array], jax.Array]:
    # Columns that fill no vector XLA multiplies one at a time on a CPU, each sum waiting for the one before: the last 4
    # of 100 took as long as the other 96. Columns of zeros cost nothing. They are a matrix's that W is set in: what
    # jnp.pad makes of it is slow enough to lose half of this.
    width = W.shape[1]
    wider = jnp.zeros((W.shape[0], width + -width % _VECTOR), W.dtype).at[:, :width].set(W)
    return lambda h: (h @ wider)[..., :width]

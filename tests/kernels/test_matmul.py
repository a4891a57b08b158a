import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import bfloat16

from jaxrnn.kernels.matmul import product, times_matrix, transposed_product


def test_a_bfloat16_product_rounds_its_factors_and_not_its_sums():
    rng = np.random.default_rng(0)
    a, b, d = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 300), (300, 6), (4, 6)))
    got, pull_back = jax.vjp(lambda a, b: product(a, b, "bfloat16"), a, b)
    np.testing.assert_allclose(got, bfloat16(a) @ bfloat16(b), rtol=1e-5, atol=1e-5)
    d_a, d_b = pull_back(jnp.asarray(d))
    np.testing.assert_allclose(d_a, bfloat16(d) @ bfloat16(b).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_b, bfloat16(a).T @ bfloat16(d), rtol=1e-5, atol=1e-5)
    assert got.dtype == d_a.dtype == d_b.dtype == jnp.float32
    ones = jnp.ones((1, 1001))
    assert product(ones, ones.T, "bfloat16") == 1001  # in bfloat16 the sum would stop at 256


@pytest.mark.parametrize("depth", [30, 2500])
@pytest.mark.parametrize("products", ["full", "bfloat16"])
def test_every_form_is_the_same_product(products, depth):
    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, depth), (depth, 6)))
    rounded = [array if products == "full" else bfloat16(array) for array in (a, b)]
    expected = rounded[0] @ rounded[1]
    forms = product(a, b, products), transposed_product(a.T, b, products), times_matrix(b, len(a), products)(a)
    for got in (*forms, times_matrix(b.T, len(a), products, transposed=True)(a)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 * depth**0.5)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 100, 1000])
def test_a_single_row_times_any_width(width):
    rng = np.random.default_rng(2)
    h, W = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 100), (100, width)))
    forwards = jax.jit(lambda h, W: times_matrix(W, 1)(h))
    backwards = jax.jit(lambda h, W: times_matrix(W.T, 1, transposed=True)(h))
    for program in (forwards, backwards):
        for row, expected in ((h, h @ W), (h[0], h[0] @ W)):
            np.testing.assert_allclose(program(row, W), expected, rtol=1e-5, atol=1e-5)

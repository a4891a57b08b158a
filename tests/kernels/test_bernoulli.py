import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.kernels.bernoulli import bernoulli


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4, 5), (1, 70_000)], ids=str)
def test_its_bits_are_those_of_jax(shape):
    draw, jaxs = jax.jit(bernoulli, static_argnums=(2, 3)), jax.jit(jax.random.bernoulli, static_argnums=2)
    for seed, probability in enumerate((0.0, 2**-24, 0.1, 0.5, 0.9, 1 - 2**-24, 1.0)):
        key, probability = jax.random.fold_in(jax.random.key(seed), 3), jnp.float32(probability)
        ours = draw(key, probability, shape, len(shape) - 1)
        assert ours.dtype == bool
        np.testing.assert_array_equal(ours, jaxs(key, probability, shape))


def test_keys_and_types_whose_bits_it_does_not_know_are_left_to_jax(x64):
    for key, probability in (
        (jax.random.key(0, impl="rbg"), np.float32(0.3)),
        (jax.random.key(0), np.float64(0.3)),
    ):
        ours = bernoulli(key, jnp.asarray(probability), (50,), None)
        np.testing.assert_array_equal(ours, jax.random.bernoulli(key, probability, (50,)))
    with jax.threefry_partitionable(False):
        ours = bernoulli(jax.random.key(0), jnp.float32(0.3), (50,), None)
        np.testing.assert_array_equal(ours, jax.random.bernoulli(jax.random.key(0), np.float32(0.3), (50,)))

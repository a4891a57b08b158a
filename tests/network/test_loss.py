import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.config import ModelConfig
from jaxrnn.network.loss import bits_per_character, loss, surprisal
from jaxrnn.network.model import forward, init_params, initial_carry
from jaxrnn.text import Batch, document_starts

V = 11


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_loss_is_the_sum_over_time_and_the_mean_over_lanes_of_minus_ln_p(lanes, x64):
    config = ModelConfig(vocab_size=9, hidden_size=6, init_scale=1.0, dtype="float64")
    params = jax.jit(init_params, static_argnames="config")(jax.random.key(0), config)
    symbols = np.random.default_rng(0).integers(0, 9, (6, lanes))
    carry = initial_carry(lanes, config)
    batch = Batch(symbols[:-1], symbols[1:], np.array(False))
    nats, after = jax.jit(loss, static_argnames="config")(params, carry, batch, config)
    run = jax.jit(forward, static_argnames="config")
    logits, expected_after = run(params, carry, jnp.asarray(symbols[:-1]), config)
    p = np.exp(np.asarray(logits))
    p /= p.sum(axis=-1, keepdims=True)
    per_lane = [sum(-math.log(p[t, lane, symbols[t + 1, lane]]) for t in range(5)) for lane in range(lanes)]
    assert float(nats) == pytest.approx(np.mean(per_lane), rel=1e-12)
    jax.tree.map(np.testing.assert_array_equal, after, expected_after)


def test_huge_logits_give_a_finite_loss():
    config = ModelConfig(vocab_size=3, hidden_size=2)
    params = jax.jit(init_params, static_argnames="config")(jax.random.key(0), config)
    params = params._replace(by=jnp.array([1e30, 0.0, -1e30]))
    batch = Batch(np.zeros((4, 1), int), np.zeros((4, 1), int), np.array(False))
    nats, _ = jax.jit(loss, static_argnames="config")(params, initial_carry(1, config), batch, config)
    assert float(nats) == 0.0


@pytest.mark.parametrize(("nats", "length", "bits"), [(25 * math.log(65), 25, math.log2(65)), (0.0, 3, 0.0)])
def test_bits_per_character_is_nats_over_length_over_ln_2(nats, length, bits):
    assert bits_per_character(nats, length) == pytest.approx(bits)


@pytest.mark.parametrize(("cell", "num_layers"), [pytest.param("tanh", 1, marks=pytest.mark.slow), ("lstm", 2)])
@pytest.mark.slow
def test_a_text_of_documents_has_the_loss_and_the_gradient_of_each_document_by_itself(cell, num_layers, x64):
    config = ModelConfig(vocab_size=V, hidden_size=7, num_layers=num_layers, dtype="float64", cell=cell)
    params = jax.tree.map(lambda leaf: 30 * leaf, init_params(jax.random.key(0), config))
    symbols = np.random.default_rng(0).integers(1, V, (31, 1))
    symbols[[10, 20]] = 0
    starts = document_starts(symbols[:-1, 0], np.array([0]))[:, None]

    def whole(params):
        batch = Batch(symbols[:-1], symbols[1:], np.array(True), starts)
        return loss(params, initial_carry(1, config), batch, config)[0]

    def one_by_one(params):
        total, edges = 0, [0, *np.flatnonzero(starts), len(symbols) - 1]
        for begin, end in itertools.pairwise(edges):
            document = Batch(symbols[begin:end], symbols[begin + 1 : end + 1], np.array(True))
            total += loss(params, initial_carry(1, config), document, config)[0]
        return total

    (nats, got), (expected_nats, expected) = (jax.jit(jax.value_and_grad(f))(params) for f in (whole, one_by_one))
    assert nats == pytest.approx(float(expected_nats), rel=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), got, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint16])
def test_a_target_that_is_no_token_has_no_loss(dtype):
    targets = np.asarray([[0, V - 1, V, 100, -1 if np.issubdtype(dtype, np.signedinteger) else V]]).astype(dtype)
    nats = surprisal(jnp.zeros((1, 5, V)), targets)
    np.testing.assert_allclose(nats, [[math.log(V)] * 2 + [math.nan] * 3], rtol=1e-6)


def test_loss_gradient_and_hessian_are_those_of_optaxs_cross_entropy(x64):
    key = jax.random.key(5)
    logits = jax.random.normal(key, (4, 3, 7), jnp.float64) * jnp.asarray([1, 30, 3e4, 1e300])[:, None, None]
    targets = jax.random.randint(key, (4, 3), 0, 7)

    def derivatives(cross_entropy):
        def weighted(logits):
            return (jnp.arange(1.0, 13).reshape(4, 3) * cross_entropy(logits, targets)).sum()

        return jax.jit(lambda x: (weighted(x), jax.grad(weighted)(x), jax.jacrev(jax.grad(weighted))(x)))(logits)

    for ours, theirs in zip(
        *map(derivatives, (surprisal, optax.softmax_cross_entropy_with_integer_labels)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)

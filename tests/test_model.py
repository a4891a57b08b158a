import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.loss import loss
from jaxrnn.model import forward, init_params, initial_carry
from jaxrnn.text import Batch

V = 11
run = jax.jit(forward, static_argnames="config")
init = jax.jit(init_params, static_argnames="config")


def test_initial_weights_are_normal_times_a_hundredth_and_biases_are_zero():
    params = init(jax.random.key(0), ModelConfig(vocab_size=300, hidden_size=200))
    for weights in (params.layers[0].Wxh, params.layers[0].Whh, params.Why):
        assert weights.std() == pytest.approx(0.01, rel=0.02)
        assert abs(weights.mean()) < 0.01 * 4 / np.sqrt(weights.size)
    assert not params.by.any()
    assert not params.layers[0].bh.any()


def test_the_key_decides_the_weights_and_no_two_matrices_share_theirs():
    config = ModelConfig(vocab_size=100, num_layers=2)
    first, again, other = (init(jax.random.key(seed), config) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    matrices = [leaf for params in (first, other) for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert len({bytes(np.asarray(matrix)[:50, :50]) for matrix in matrices}) == len(matrices) == 10


@pytest.mark.parametrize("num_layers", [1, 3])
def test_parameters_have_the_names_and_shapes_of_min_char_rnn(num_layers):
    config = ModelConfig(vocab_size=V, hidden_size=7, num_layers=num_layers)
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), config))
    assert [layer.Wxh.shape for layer in params.layers] == [(V, 7)] + [(7, 7)] * (num_layers - 1)
    assert {layer.Whh.shape for layer in params.layers} == {(7, 7)}
    assert {layer.bh.shape for layer in params.layers} == {(7,)}
    assert (params.Why.shape, params.by.shape) == ((7, V), (V,))


def network(num_layers, dtype="float64", lanes=3, length=6):
    config = ModelConfig(vocab_size=V, hidden_size=7, num_layers=num_layers, dtype=dtype)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: (init_params(jax.random.key(0), config), initial_carry(config, lanes)))
    params, carry = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype), shapes)
    symbols = rng.integers(0, V, (length + 1, lanes))
    return config, params, carry, Batch(symbols[:-1], symbols[1:], np.array(False))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_network_is_its_formula(num_layers, x64):
    config, params, carry, batch = network(num_layers)
    logits, last = run(params, carry, batch.inputs, config)
    params = jax.tree.map(np.asarray, params)
    h = [np.asarray(entry[0]) for entry in carry]
    for t, tokens in enumerate(batch.inputs):
        x = np.eye(V)[tokens]
        for index, layer in enumerate(params.layers):
            x = h[index] = np.tanh(x @ layer.Wxh + h[index] @ layer.Whh + layer.bh)
        np.testing.assert_allclose(logits[t], x @ params.Why + params.by, rtol=1e-12, atol=1e-12)
    for index in range(num_layers):
        np.testing.assert_allclose(last[index][0], h[index], rtol=1e-12)


def test_a_text_in_two_pieces_with_the_carry_handed_on_is_the_text_in_one(x64):
    config, params, carry, batch = network(2)
    whole, last = run(params, carry, batch.inputs, config)
    first, middle = run(params, carry, batch.inputs[:2], config)
    second, end = run(params, middle, batch.inputs[2:], config)
    np.testing.assert_allclose(whole, np.concatenate([first, second]), rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), last, end)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_loss_gradient_passes_finite_differences(num_layers, x64):
    config, params, carry, batch = network(num_layers)
    nats = jax.jit(lambda params, carry: loss(params, carry, batch, config)[0])
    check_grads(nats, (params, carry), order=1, modes=["rev"], rtol=1e-6, eps=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: init_params(jax.random.key(0), ModelConfig()), "vocab_size is None"),
        (lambda: init_params(jax.random.key(0), ModelConfig(vocab_size=V, dtype="float64")), "jax_enable_x64"),
        (lambda: forward(None, None, jnp.zeros(5, jnp.int32), ModelConfig(vocab_size=V)), r"tokens must be \[T, B\]"),
    ],
)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(JaxrnnError, match=message):
        wrong()

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.dropout import draw_masks
from jaxrnn.network.loss import loss
from jaxrnn.network.model import forward, init_params, initial_carry
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


def test_uniform_weights_fill_their_range_evenly():
    params = init(jax.random.key(0), ModelConfig(vocab_size=300, hidden_size=200, init="uniform", init_scale=0.08))
    for weights in (params.layers[0].Wxh, params.layers[0].Whh, params.Why):
        counts, _ = np.histogram(weights, bins=10, range=(-0.08, 0.08))
        assert counts.sum() == weights.size
        np.testing.assert_allclose(counts / weights.size, 0.1, atol=0.005)


def test_fan_in_weights_make_of_inputs_of_size_one_results_of_size_one():
    params = init(jax.random.key(0), ModelConfig(vocab_size=500, hidden_size=400, num_layers=2, init="fan_in"))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (50, 400))
    first, second = params.layers
    for results in (signs @ first.Whh, signs @ second.Wxh, signs @ second.Whh, signs @ params.Why, first.Wxh[:50]):
        assert results.std() == pytest.approx(1, rel=0.02)


class TestDropout:
    config = ModelConfig(vocab_size=V, hidden_size=50, num_layers=2, dropout=0.25, init_scale=0.3)
    tokens = jnp.zeros((40, 20), jnp.int32)

    def logits(self, key, **changes):
        """Logits of parameters that show every unit of the upper layer: an identity, and a first layer of ones."""
        config = dataclasses.replace(self.config, vocab_size=50, **changes)
        params = init(jax.random.key(0), config)
        ones = jax.tree.map(lambda leaf: jnp.zeros_like(leaf), params.layers[1])._replace(bh=jnp.ones(50))
        params = params._replace(layers=(params.layers[0], ones), Why=jnp.eye(50))
        return np.asarray(run(params, initial_carry(20, config), self.tokens, config, key=key)[0])

    def test_keeps_as_many_as_it_should_scaled_so_that_the_mean_stays(self):
        logits, whole = self.logits(jax.random.key(1)), self.logits(None)
        kept = logits != 0
        assert kept.mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.25 * 0.75 / kept.size))
        np.testing.assert_allclose(logits[kept], whole[kept] / 0.75, rtol=1e-5)
        for axis in [(0, 1), (0, 2), (1, 2)]:  # over no step, lane or unit are they the same
            assert 0 < kept.mean(axis=axis).std() < 0.1

    def test_drops_nothing_without_a_key_and_with_one_only_where_it_is_asked_for(self):
        np.testing.assert_array_equal(self.logits(None), self.logits(None, dropout=0.0))
        np.testing.assert_array_equal(self.logits(jax.random.key(1), dropout=0.0), self.logits(None))
        assert (self.logits(jax.random.key(1)) != self.logits(jax.random.key(2))).any()

    def test_multiplies_what_layers_hand_upwards_and_leaves_the_recurrence_whole(self, x64):
        config, params, carry, batch = network(2)
        config, key = dataclasses.replace(config, dropout=0.4), jax.random.key(3)
        kept = np.asarray(jax.random.bernoulli(key, 0.6, (2, *batch.inputs.shape, 7)))
        logits, last = run(params, carry, batch.inputs, config, key=key)
        params = jax.tree.map(np.asarray, params)
        h = [np.asarray(entry[0]) for entry in carry]
        for t, tokens in enumerate(batch.inputs):
            x = np.eye(V)[tokens]
            for index, layer in enumerate(params.layers):
                h[index] = np.tanh(x @ layer.Wxh + h[index] @ layer.Whh + layer.bh)
                x = h[index] * kept[index, t] / 0.6
            np.testing.assert_allclose(logits[t], x @ params.Why + params.by, rtol=1e-12, atol=1e-12)
        for index in range(2):
            np.testing.assert_allclose(last[index][0], h[index], rtol=1e-12)

    def test_drops_with_the_masks_of_its_five_places_which_are_constant_over_t_where_they_say_so(self, x64):
        config, params, carry, batch = network(2)
        rates = {"dropout": 0.4, "input_dropout": 0.3, "state_dropout": 0.2, "output_dropout": 0.5}
        config, key = dataclasses.replace(config, **rates, weight_dropout=0.1), jax.random.key(3)
        masks = [np.asarray(mask) for mask in draw_masks(key, batch.inputs.shape, 1, config)]
        logits, _ = run(params, carry, batch.inputs, config, key=key)
        params = jax.tree.map(np.asarray, params)
        h = [np.asarray(entry[0]) for entry in carry]
        inputs, states, outputs, weights = masks
        for t, tokens in enumerate(batch.inputs):
            x = np.eye(V)[tokens] * inputs[t, :, None] / 0.7
            for index, layer in enumerate(params.layers):
                recurrent = (h[index] * states[index] / 0.8) @ (layer.Whh * weights[index] / 0.9)
                h[index] = np.tanh(x @ layer.Wxh + recurrent + layer.bh)
                x = h[index] * outputs[index, t] / (0.6, 0.5)[index]
            np.testing.assert_allclose(logits[t], x @ params.Why + params.by, rtol=1e-12, atol=1e-12)


RATES = {"dropout": 0.1, "input_dropout": 0.2, "state_dropout": 0.3, "output_dropout": 0.4, "weight_dropout": 0.25}


def test_each_mask_keeps_the_share_that_its_rate_leaves_and_has_draws_of_its_own():
    config = ModelConfig(vocab_size=V, hidden_size=200, num_layers=2, **RATES)
    masks = jax.jit(draw_masks, static_argnums=(1, 2, 3))(jax.random.key(0), (30, 20), 3, config)
    assert [mask.shape for mask in masks] == [(30, 20), (2, 20, 200), (2, 30, 20, 200), (2, 200, 600)]
    shares = [masks.inputs, masks.states, masks.outputs[0], masks.outputs[1], masks.weights]
    for mask, share in zip(shares, (0.8, 0.7, 0.9, 0.6, 0.75), strict=True):
        assert mask.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / mask.size))
    pairs = [(masks.states[0], masks.states[1]), (masks.weights[0], masks.weights[1])]
    pairs.append((masks.outputs[0, 0], masks.states[0]))
    for one, other in pairs:  # independent: together as often as by chance
        expected = float(one.mean() * other.mean())
        assert (one & other).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / one.size))


@pytest.mark.parametrize("name", RATES)
def test_each_rate_alone_drops_in_training_and_nothing_at_evaluation(name):
    plain, params, carry, batch = network(2, "float32")
    config = dataclasses.replace(plain, **{name: RATES[name]})
    assert config.has_dropout
    assert not plain.has_dropout
    assert sum(mask is not None for mask in draw_masks(jax.random.key(0), batch.inputs.shape, 1, config)) == 1
    expected, _ = run(params, carry, batch.inputs, plain)
    np.testing.assert_array_equal(run(params, carry, batch.inputs, config)[0], expected)
    assert (run(params, carry, batch.inputs, config, key=jax.random.key(0))[0] != expected).any()


def test_dropout_is_also_the_rate_of_the_last_layer_as_in_version_0_1_0_unless_that_has_its_own():
    config = ModelConfig(num_layers=2, dropout=0.5)
    assert config.output_rates == (0.5, 0.5)
    assert dataclasses.replace(config, output_dropout=0.0).output_rates == (0.5, 0.0)
    assert ModelConfig(dropout=0.5, output_dropout=0.25).output_rates == (0.25,)


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
    shapes = jax.eval_shape(lambda: (init_params(jax.random.key(0), config), initial_carry(lanes, config)))
    params, carry = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype), shapes)
    symbols = rng.integers(0, V, (length + 1, lanes))
    return config, params, carry, Batch(symbols[:-1], symbols[1:], np.array(False))


@pytest.mark.parametrize("num_layers", [1, 3])
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


@pytest.mark.parametrize("num_layers", [1, 3])
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

"""What a GPU computes with: rows whose gradient is a product, and loops of eight steps at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.kernels.lookup import look_up
from jaxrnn.network import initial_carry
from jaxrnn.sampling import sample
from jaxrnn.text import batches
from jaxrnn.training import init_train_state, make_train_chunk


@pytest.mark.parametrize("vocab_size", [7, 4096, 9000])
def test_the_gradient_of_rows_is_their_sum_by_token(monkeypatch, vocab_size):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    rng = np.random.default_rng(0)
    tokens = rng.choice([0, 3, vocab_size // 2, vocab_size - 1], (6, 5))
    W, d_rows = rng.normal(size=(vocab_size, 4)), rng.normal(size=(6, 5, 4))
    expected = np.zeros_like(W)
    np.add.at(expected, tokens, d_rows)
    rows, pull_back = jax.vjp(lambda W: look_up(W, tokens), jnp.asarray(W, jnp.float32))
    np.testing.assert_array_equal(rows, W.astype(np.float32)[tokens])
    np.testing.assert_allclose(pull_back(jnp.asarray(d_rows, jnp.float32))[0], expected, atol=1e-5)


@pytest.mark.parametrize("length", [5, 8, 19])
def test_a_network_trains_and_writes_as_on_a_cpu(monkeypatch, length):
    model = ModelConfig(cell="gru", hidden_size=6, num_layers=2, vocab_size=11, input_dropout=0.2)
    config = TrainConfig(model=model, sequence_length=length, batch_size=3, optimizer=OptimizerConfig("adam"))
    chunk = batches(np.random.default_rng(1).integers(0, 11, 500), 0, 4, config)

    def results():
        state, metrics = make_train_chunk(config)(init_train_state(jax.random.key(0), config), chunk)
        start = initial_carry(2, model), jnp.zeros((1, 2), jnp.int32)
        return sample(jax.random.key(1), state.params, *start, model, length=length)[0], state.params, metrics.loss

    text, params, losses = results()
    jax.clear_caches()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    there = results()
    np.testing.assert_array_equal(there[0], text)
    np.testing.assert_allclose(there[2], losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), there[1], params)
    jax.clear_caches()

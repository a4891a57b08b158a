import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.config import OptimizerConfig
from jaxrnn.optimizer import make_optimizer


@pytest.mark.parametrize(("learning_rate", "clip_value"), [(0.1, 5.0), (0.03, 0.5)])
def test_it_is_adagrad_with_memory_from_zero_behind_clipping_by_value(learning_rate, clip_value, x64):
    optimizer = make_optimizer(OptimizerConfig(learning_rate=learning_rate, clip_value=clip_value))
    rng = np.random.default_rng(0)
    params = {"a": jnp.zeros((4, 3), jnp.float64), "b": jnp.zeros(5, jnp.float64)}
    theta, m = ({name: np.zeros(value.shape) for name, value in params.items()} for _ in range(2))
    state = optimizer.init(params)
    for scale in (1e-9, 1e-3, 1.0, 100.0):
        gradient = {name: scale * rng.normal(size=value.shape) for name, value in params.items()}
        gradient["b"][0] = 0.0  # never touched: stays exactly where it is
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
        for name in params:
            g = np.clip(gradient[name], -clip_value, clip_value)
            m[name] += g * g
            theta[name] -= learning_rate * g / np.sqrt(m[name] + 1e-8)
            np.testing.assert_allclose(params[name], theta[name], rtol=1e-12, atol=0)
    assert params["b"][0] == 0.0


def test_adam_is_its_formula_behind_the_same_clipping(x64):
    optimizer = make_optimizer(OptimizerConfig(name="adam", learning_rate=0.01, clip_value=0.5))
    rng = np.random.default_rng(0)
    params, theta = jnp.zeros(4, jnp.float64), np.zeros(4)
    state, m, v = optimizer.init(params), np.zeros(4), np.zeros(4)
    for step in range(1, 6):
        gradient = rng.normal(size=4)
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        g = np.clip(gradient, -0.5, 0.5)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theta -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(params, theta, rtol=1e-12)

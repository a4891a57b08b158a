import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import batches
from jaxrnn.training.jitted import make_train_chunk, make_train_step
from jaxrnn.training.optimizer import make_optimizer
from jaxrnn.training.schedule import learning_rate
from jaxrnn.training.step import init_train_state


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


def adagrad(g, n, memory, config):
    memory["m"] = memory.get("m", 0) + g * g
    return g / np.sqrt(memory["m"] + 1e-8)


def adam(g, n, memory, config):
    memory["m"] = config.beta1 * memory.get("m", 0) + (1 - config.beta1) * g
    memory["v"] = config.beta2 * memory.get("v", 0) + (1 - config.beta2) * g * g
    m, v = memory["m"] / (1 - config.beta1**n), memory["v"] / (1 - config.beta2**n)
    return m / (np.sqrt(v) + 1e-8)


def rmsprop(g, n, memory, config):
    memory["v"] = config.rms_decay * memory.get("v", 0) + (1 - config.rms_decay) * g * g
    return g / (np.sqrt(memory["v"]) + 1e-8)


def sgd(g, n, memory, config):
    memory["m"] = config.momentum * memory.get("m", 0) + g
    return memory["m"]


RULES = {"adagrad": adagrad, "adam": adam, "adamw": adam, "rmsprop": rmsprop, "sgd": sgd}
CLIPS = {
    "value": lambda gradient, bound: {name: np.clip(g, -bound, bound) for name, g in gradient.items()},
    "norm": lambda gradient, bound: {
        name: g * min(1, bound / math.sqrt(sum((other**2).sum() for other in gradient.values())))
        for name, g in gradient.items()
    },
    "none": lambda gradient, bound: gradient,
}


@pytest.mark.parametrize(
    "config",
    [
        *(OptimizerConfig(name=name, clip=clip, clip_value=0.5) for name in RULES for clip in CLIPS),
        *(OptimizerConfig(name=name, learning_rate=0.3, weight_decay=0.1) for name in RULES),
        OptimizerConfig(name="sgd", momentum=0.0),
        OptimizerConfig(name="rmsprop", rms_decay=0.5),
        OptimizerConfig(name="adam", beta1=0.5, beta2=0.7),
    ],
    ids=lambda config: f"{config.name} clip {config.clip} decay {config.weight_decay}",
)
def test_each_rule_is_its_formula_behind_each_clipping_and_decay_is_for_matrices(config, x64):
    optimizer, rng = make_optimizer(config), np.random.default_rng(0)
    theta = {"matrix": rng.normal(size=(3, 2)), "bias": rng.normal(size=4)}
    params = jax.tree.map(jnp.asarray, theta)
    state, memory = optimizer.init(params), {name: {} for name in theta}
    decay = config.weight_decay if config.weight_decay is not None else {"adamw": 0.01}.get(config.name, 0.0)
    usual = {"adagrad": 0.1, "sgd": 0.001}.get(config.name, 0.002)
    rate = config.learning_rate or usual
    for n, scale in enumerate((1e-3, 1.0, 0.05, 10.0, 1e-6), 1):  # some are clipped and some not
        gradient = {name: scale * rng.normal(size=value.shape) for name, value in theta.items()}
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
        for name, g in CLIPS[config.clip](gradient, config.clip_value).items():
            shrink = decay * theta[name] if name == "matrix" else 0
            theta[name] = theta[name] - rate * (RULES[config.name](g, n, memory[name], config) + shrink)
            np.testing.assert_allclose(params[name], theta[name], rtol=1e-11, atol=1e-14)


COSINE = OptimizerConfig(schedule="cosine", learning_rate=2.0, warmup_steps=9, final_fraction=0.2)
EXPONENTIAL = OptimizerConfig(schedule="exponential", learning_rate=2.0, decay_from=100, decay_every=10, decay_rate=0.5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OptimizerConfig(warmup_steps=3, learning_rate=0.1), {0: 0.025, 1: 0.05, 2: 0.075, 3: 0.1, 4: 0.1, 10**6: 0.1}),
        # from 9 to 209: a fall of 200 steps from 2 to 0.4
        (COSINE, {0: 0.2, 4: 1.0, 8: 1.8, 9: 2.0, 59: 0.4 + 1.6 * (0.5 + 0.5**1.5), 109: 1.2, 209: 0.4, 500: 0.4}),
        (OptimizerConfig(schedule="cosine", final_fraction=0.0, learning_rate=0.1), {0: 0.1, 209: 0.0}),
        (EXPONENTIAL, {0: 2.0, 99: 2.0, 100: 1.0, 109: 1.0, 110: 0.5, 119: 0.5, 120: 0.25, 150: 2.0 / 64}),
    ],
    ids=["warm-up", "cosine", "cosine to zero", "exponential"],
)
def test_a_schedule_has_the_rates_of_its_formula_and_the_update_follows_it(config, expected, x64):
    schedule = learning_rate(config, steps=209)
    for step, rate in expected.items():
        assert float(schedule(jnp.int32(step))) == pytest.approx(rate, rel=1e-12, abs=1e-15)
    config = OptimizerConfig(**{**vars(config), "name": "sgd", "momentum": 0.0, "clip": "none"})
    optimizer = make_optimizer(config, steps=209)
    update = jax.jit(lambda state: optimizer.update(jnp.float64(1.0), state))
    state = optimizer.init(jnp.float64(0.0))
    for step in range(130):
        minus_rate, state = update(state)
        if step in expected:
            assert float(minus_rate) == pytest.approx(-expected[step], rel=1e-12)


@pytest.mark.parametrize("steps", [None, 5, 9])
def test_a_cosine_that_has_no_steps_to_fall_in_is_refused(steps):
    with pytest.raises(JaxrnnError, match=f"more steps in all than warmup_steps 9, got {steps}"):
        make_optimizer(COSINE, steps=steps)


def test_only_a_rate_that_changes_counts_its_steps():
    leaves = [
        len(jax.tree.leaves(make_optimizer(config, steps=100).init(jnp.zeros(3))))
        for config in (OptimizerConfig(), OptimizerConfig(warmup_steps=1), OptimizerConfig(schedule="cosine"))
    ]
    assert leaves == [1, 2, 2]


def run(config, tokens, state, begin, end):
    chunk = make_train_chunk(config)
    for step in range(begin, end):
        state, _ = chunk(state, batches(tokens, step, 1, config))
    return state


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.slow
def test_the_rate_of_a_step_comes_from_the_state_alone(name):
    """Two programs for two halves of a run leave what one leaves after all of it."""
    optimizer = OptimizerConfig(name=name, schedule="cosine", warmup_steps=3)
    config = TrainConfig(
        model=ModelConfig(vocab_size=7, hidden_size=4), optimizer=optimizer, sequence_length=3, steps=9
    )
    tokens = np.random.default_rng(0).integers(0, 7, 100)
    begin = jax.jit(functools.partial(init_train_state, config=config))
    whole = run(config, tokens, begin(jax.random.key(0)), 0, 9)
    half = jax.tree.map(jnp.copy, run(config, tokens, begin(jax.random.key(0)), 0, 5))
    resumed = run(config, tokens, half, 5, 9)
    jax.tree.map(np.testing.assert_array_equal, whole._replace(key=0), resumed._replace(key=0))


@pytest.mark.parametrize(
    "name",
    ["adagrad", "adam", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adamw", "rmsprop", "sgd"))],
)
@pytest.mark.slow
def test_every_rule_makes_the_loss_smaller_at_its_usual_rate(name):
    config = TrainConfig(
        model=ModelConfig(vocab_size=5, hidden_size=16), optimizer=OptimizerConfig(name=name), sequence_length=10
    )
    tokens = np.tile([0, 1, 2, 3, 4, 3, 1], 100)
    state = init_train_state(jax.random.key(0), config)
    state, metrics = make_train_chunk(config)(state, batches(tokens, 0, 800, config))
    assert float(metrics.loss[-10:].mean()) < 0.3 * float(metrics.loss[0])


def test_a_step_compiles_once_though_its_rate_changes():
    config = TrainConfig(model=ModelConfig(vocab_size=7, hidden_size=4), optimizer=COSINE, sequence_length=3)
    step, state = make_train_step(config), init_train_state(jax.random.key(0), config)
    for number in range(3):
        one = jax.tree.map(lambda leaf: leaf[0], batches(np.arange(7).repeat(5), number, 1, config))
        state, _ = step(state, one)
    assert step._jitted._cache_size() == 1

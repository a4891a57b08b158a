import dataclasses
import functools

import jax
import numpy as np
import pytest
from jax import lax

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.config.grid import combinations
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import batches
from jaxrnn.training.jitted import make_train_chunk
from jaxrnn.training.step import init_train_state
from jaxrnn.training.sweep import group_by_program, init_members, make_sweep_chunk, sweep, train_chunk_of_many

TOKENS = np.random.default_rng(0).choice(20, 3000, p=1 / np.arange(1, 21) / (1 / np.arange(1, 21)).sum())
TINY = TrainConfig(model=ModelConfig(hidden_size=6, vocab_size=20), sequence_length=4, steps=30)


def alone(config, steps, chunk=100):
    """A run without any sweep: its last state, and its losses [steps]."""
    state = jax.jit(functools.partial(init_train_state, config=config))(jax.random.key(config.seed))
    train, losses = make_train_chunk(config), []
    for step in range(0, steps, chunk):
        state, metrics = train(state, batches(TOKENS, step, chunk, config))
        losses.append(metrics.loss)
    return state, np.concatenate(losses)


def plain(state):
    return jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))


@pytest.mark.usefixtures("compiled_fully")
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_with_the_default_settings_200_steps_of_a_member_have_the_bits_of_its_run_alone(dtype, x64):
    # There min-char-rnn is chaotic: the smallest difference would grow to that of any two runs.
    config = dataclasses.replace(TrainConfig(steps=200), model=ModelConfig(vocab_size=20, dtype=dtype))
    results = sweep(config, {"learning_rate": [0.03, 0.1], "seed": [3, 5, 8]}, TOKENS)
    assert len(results) == 6
    state, losses = alone(dataclasses.replace(config, seed=5, optimizer=OptimizerConfig(learning_rate=0.1)), 200)
    np.testing.assert_array_equal(results["learning_rate=0.1,seed=5"][1].loss, losses)
    for got, expected in zip(plain(results["learning_rate=0.1,seed=5"][0]), plain(state), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.usefixtures("compiled_fully")
@pytest.mark.parametrize("lengths", [[4, 1], [1, 1, 3]], ids=str)
def test_the_bits_do_not_depend_on_chunks_of_a_single_step(lengths):
    model = ModelConfig("gru", 8, vocab_size=20)
    config = TrainConfig(model=model, optimizer=OptimizerConfig("adamw"), sequence_length=25, batch_size=3)
    configs = [dataclasses.replace(config, seed=seed) for seed in range(4)]
    states, train, step = init_members(configs), make_sweep_chunk(configs), 0
    one, alone = init_members(configs)[2], make_train_chunk(config)
    for length in lengths:
        states, _ = train(states, batches(TOKENS, step, length, config))
        step += length
    one, _ = alone(one, batches(TOKENS, 0, step, config))
    for got, expected in zip(plain(states[2]), plain(one), strict=True):
        np.testing.assert_array_equal(got, expected)


RULES = [
    ({"name": "adam", "schedule": "cosine", "clip": "norm", "warmup_steps": 3}, ["beta1", "beta2", "final_fraction"]),
    pytest.param(
        {"name": "rmsprop", "schedule": "exponential", "decay_every": 4},
        ["rms_decay", "decay_rate"],
        marks=pytest.mark.slow,
    ),
    pytest.param({"name": "sgd", "weight_decay": 0.1}, ["momentum"], marks=pytest.mark.slow),
]


EVERYWHERE = {"learning_rate": (0.02, 0.01), "clip_value": (0.05, 0.1), "weight_decay": (0.01, 0.3)}


def test_the_rules_of_the_next_test_have_every_float_of_the_optimizer():
    floats = {field.name for field in dataclasses.fields(OptimizerConfig) if "float" in str(field.type)}
    tested = [name for rule in RULES for name in getattr(rule, "values", rule)[1]]
    assert {*tested, *EVERYWHERE} == floats


@pytest.mark.usefixtures("compiled_fully")
@pytest.mark.parametrize(("structure", "names"), RULES, ids=["adam", "rmsprop", "sgd"])
@pytest.mark.slow
def test_every_number_of_an_optimizer_gives_the_bits_of_the_members_run_alone(structure, names):
    values = EVERYWHERE | dict.fromkeys(names, (0.613, 0.878))
    members = {}
    for index in (0, 1):
        numbers = {name: both[index] for name, both in values.items()}
        members[f"member {index}"] = dataclasses.replace(
            TINY, seed=index, optimizer=OptimizerConfig(**{**structure, **numbers})
        )
    for group in group_by_program(members):
        configs = [members[name] for name in group]
        states, metrics = make_sweep_chunk(configs)(init_members(configs), batches(TOKENS, 0, 30, TINY))
        for config, state, measured in zip(configs, states, metrics, strict=True):
            expected, losses = alone(config, 30, chunk=30)
            np.testing.assert_array_equal(measured.loss, losses)
            for got, want in zip(plain(state), plain(expected), strict=True):
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("axes", "sizes"),
    [
        ({"learning_rate": [0.1, 0.2], "clip_value": [1, 2], "seed": [0, 1]}, [8]),
        ({"init_scale": [0.01, 0.1], "init": ["normal", "uniform"]}, [4]),
        ({"weight_decay": [0, 0.1, 0.2]}, [1, 2]),  # without any there is one product less
        ({"beta2": [0.9, 0.99], "optimizer": ["adam"], "seed": [0, 1]}, [2, 2]),  # 1 - beta2 is computed outside
        ({"hidden_size": [8, 16], "seed": [0, 1, 2]}, [3, 3]),
        ({"cell": ["tanh", "gru"], "learning_rate": [0.1, 0.2]}, [2, 2]),
        ({"optimizer": ["adam", "sgd"], "seed": [0, 1]}, [2, 2]),
        ({"steps": [10, 20]}, [1, 1]),
        ({"batch_size": [1, 2]}, [1, 1]),
        ({"dropout": [0, 0.5]}, [1, 1]),
    ],
    ids=str,
)
def test_members_that_share_shapes_share_a_program(axes, sizes):
    assert [len(names) for names in group_by_program(combinations(TINY, axes))] == sizes


@pytest.mark.slow
def test_one_compilation_serves_all_members_and_all_chunks():
    configs = list(combinations(TINY, {"learning_rate": [0.1, 0.2], "seed": range(4)}).values())
    before, chunk = init_members(configs), make_sweep_chunk(configs)
    states, compiled = before, []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    try:
        for step in (0, 10, 20):
            states, _ = chunk(states, batches(TOKENS, step, 10, TINY))
    finally:
        jax.monitoring.clear_event_listeners()
    assert compiled.count("/jax/core/compile/backend_compile_duration") == 1
    assert [int(state.step) for state in states] == [30] * 8
    assert [int(state.step) for state in before] == [0] * 8  # nothing was donated


@pytest.mark.compiler
@pytest.mark.slow
def test_on_an_accelerator_it_is_one_vmapped_program(monkeypatch, x64):
    model = dataclasses.replace(TINY.model, dtype="float64")
    configs = list(combinations(dataclasses.replace(TINY, model=model), {"learning_rate": [0.05, 0.1]}).values())
    chunk = batches(TOKENS, 0, 5, TINY)
    expected, _ = make_sweep_chunk(configs)(init_members(configs), chunk)
    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *init_members(configs))
    many = jax.jit(functools.partial(train_chunk_of_many, config=configs[0]))
    arguments = {"learning_rate": np.array([0.05, 0.1])}
    text = many.trace(stacked, arguments, chunk).lower(lowering_platforms=("cuda",)).as_text()
    assert "batching_dims = [0] x [0]" in text
    monkeypatch.setattr(lax, "platform_dependent", lambda operand, cpu, default: default(operand))
    after, metrics = jax.jit(functools.partial(train_chunk_of_many, config=configs[0]))(stacked, arguments, chunk)
    assert metrics.loss.shape == (2, 5)
    for place, state in enumerate(expected):
        np.testing.assert_allclose(after.params.Why[place], state.params.Why, rtol=1e-9)


def test_a_float_of_an_optimizer_may_be_traced_and_is_refused_as_ever_when_it_is_not():
    def rate(value):
        return OptimizerConfig(learning_rate=value, momentum=value).peak_learning_rate * 2

    assert float(jax.jit(rate)(0.25)) == 0.5
    assert float(jax.grad(rate)(0.25)) == 2
    np.testing.assert_array_equal(jax.vmap(rate)(np.array([1.0, 2.0])), [2, 4])
    with pytest.raises(JaxrnnError, match="learning_rate must be a finite number above 0"):
        rate(-1.0)
    with pytest.raises(JaxrnnError, match="decay_every must be a whole number"):
        jax.jit(lambda value: OptimizerConfig(decay_every=value).decay_every)(3)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import init_params

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.activations import CARRY_NAMES, GATE_NAMES, SATURABLE, activations
from jaxrnn.network import CELLS, Cell
from jaxrnn.network.model import forward, initial_carry

T, B, H, V = 12, 3, 5, 7
TOKENS = np.random.default_rng(0).integers(0, V, (T, B))


def network(cell, num_layers=1, **options):
    config = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=H, vocab_size=V, init_scale=0.7, **options)
    return init_params(jax.random.key(1), config), config


@pytest.mark.parametrize(("num_layers", "products"), [(2, "full"), (1, "bfloat16")])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fully")
def test_the_hidden_states_are_those_of_forward(cell, num_layers, products):
    params, config = network(cell, num_layers, products=products)
    layers = activations(params, jnp.asarray(TOKENS), config)
    logits, carry = jax.jit(forward, static_argnums=3)(params, initial_carry(B, config), jnp.asarray(TOKENS), config)
    assert len(layers) == num_layers
    for by_name, last in zip(layers, carry, strict=True):
        for name, entry in zip(CARRY_NAMES[cell], last, strict=True):
            np.testing.assert_allclose(by_name[name][-1], entry, atol=1e-6)
    if products == "full":
        np.testing.assert_allclose(layers[-1]["h"] @ params.Why + params.by[None, None], logits, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_hidden_states_follow_from_the_gates(cell):
    params, config = network(cell, 2)
    for by_name in activations(params, jnp.asarray(TOKENS), config):
        values = {name: np.asarray(array) for name, array in by_name.items()}
        assert set(values) == {*CARRY_NAMES[cell], *GATE_NAMES[cell]}
        before = {
            name: np.concatenate([np.zeros((1, B, H)), values[name][:-1]]) for name in ("h", "c") if name in values
        }
        if cell == "gru":
            made = (1 - values["z"]) * values["n"] + values["z"] * before["h"]
            np.testing.assert_allclose(values["h"], made, atol=1e-6)
        if cell == "lstm":
            made = values["f"] * before["c"] + values["i"] * values["g"]
            np.testing.assert_allclose(values["c"], made, atol=1e-6)
            np.testing.assert_allclose(values["h"], values["o"] * np.tanh(made), atol=1e-6)
        for name in SATURABLE[cell]:
            assert values[name].min() > 0
            assert values[name].max() < 1


def test_the_reset_gate_is_its_formula():
    params, config = network("gru")
    (layer,) = params.layers
    layer = layer._replace(bhh=jnp.linspace(-1, 1, 3 * H))
    params = params._replace(layers=(layer,))
    (values,) = activations(params, jnp.asarray(TOKENS[:, 0]), config)
    before = np.concatenate([np.zeros((1, H)), values["h"][:-1]])
    wanted = (
        np.asarray(layer.Wxh)[TOKENS[:, 0], :H] + before @ np.asarray(layer.Whh)[:, :H] + np.linspace(-1, 1, 3 * H)[:H]
    )
    np.testing.assert_allclose(values["r"], 1 / (1 + np.exp(-wanted)), atol=1e-6)


def test_one_text_needs_no_axis_for_lanes():
    params, config = network("lstm")
    one = activations(params, jnp.asarray(TOKENS[:, 1]), config)
    all_lanes = activations(params, jnp.asarray(TOKENS), config)
    for name, values in one[0].items():
        assert values.shape == (T, H)
        np.testing.assert_allclose(values, all_lanes[0][name][:, 1], atol=1e-6)


def test_the_carry_is_reset_where_forward_resets_it():
    params, config = network("lstm", 2)
    starts = jnp.asarray(np.random.default_rng(1).random((T, B)) < 0.3)
    layers = activations(params, jnp.asarray(TOKENS), config, starts)
    run = jax.jit(forward, static_argnums=3)
    logits, _ = run(params, initial_carry(B, config), jnp.asarray(TOKENS), config, starts=starts)
    np.testing.assert_allclose(layers[-1]["h"] @ params.Why + params.by[None, None], logits, atol=1e-5)
    with pytest.raises(JaxrnnError, match=r"the shape of tokens, \(12, 3\), got \(12,\)"):
        activations(params, jnp.asarray(TOKENS), config, starts[:, 0])


def test_a_user_defined_cell_has_its_carry_and_no_gates():
    def update(projected, recurrent, carry):
        return jnp.tanh(projected + recurrent), carry[1] + 1

    mine = Cell(1, CELLS["lstm"].init_carry, update)
    config = ModelConfig(cell=mine, hidden_size=H, vocab_size=V)
    params = init_params(jax.random.key(1), config)
    (values,) = activations(params, jnp.asarray(TOKENS[:, 0]), config)
    assert set(values) == {"h", "carry1"}
    np.testing.assert_array_equal(values["carry1"][:, 0], np.arange(1, T + 1))


def test_tokens_of_another_shape_are_refused():
    params, config = network("tanh")
    with pytest.raises(JaxrnnError, match=r"\[T\] or \[T, B\], got shape \(\)"):
        activations(params, jnp.asarray(3), config)

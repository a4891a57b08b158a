"""Cells against NumPy, written from the papers, and against torch.nn; a cell of the user's own beside the built-in."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import init_params

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import CELLS, GRU, LSTM, TANH, Cell
from jaxrnn.network.cells import get_cell
from jaxrnn.network.model import forward, initial_carry

T, H, V = 6, 4, 7


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gates(a):
    return np.split(a, a.shape[-1] // H, axis=-1)


# a = x Wxh + bh, b = h_tm1 Whh + bhh; the equations of the papers that jaxrnn/cells.py names.
def tanh_step(a, b, h):
    return (np.tanh(a + b),)


def relu_step(a, b, h):
    return (np.maximum(0, a + b),)


def gru_step(a, b, h):
    (a_r, a_z, a_n), (b_r, b_z, b_n) = gates(a), gates(b)
    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
    n = np.tanh(a_n + r * b_n)
    return ((1 - z) * n + z * h,)


def lstm_step(a, b, h, c):
    i, f, g, o = gates(a + b)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def coupled_step(a, b, h, c):
    """An LSTM whose forget gate is one minus its input gate, and whose output gate sees the memory."""
    i, g, o = gates(a + b)
    c = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o + c) * np.tanh(c), c


def coupled_update(projected, recurrent, carry):
    i, g, o = jnp.split(projected + recurrent, 3, axis=-1)
    c = (1 - jax.nn.sigmoid(i)) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o + c) * jnp.tanh(c), c


COUPLED = Cell(3, LSTM.init_carry, coupled_update, init_bias=(-1.0, 0.0, 0.0))
STEPS = {"tanh": tanh_step, "relu": relu_step, "gru": gru_step, "lstm": lstm_step, COUPLED: coupled_step}

cells = pytest.mark.parametrize("cell", STEPS, ids=[*CELLS, "a user's own"])
layers_and_lanes = pytest.mark.parametrize(("num_layers", "lanes"), [(1, 3), (2, 1)])


def problem(cell, num_layers, lanes):
    """A config, parameters and carry with no zero among them, tokens, and a weight for every output."""
    config = ModelConfig(cell=cell, hidden_size=H, num_layers=num_layers, vocab_size=V, dtype="float64")
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: (init_params(jax.random.key(0), config), initial_carry(lanes, config)))
    params, carry = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) / 2, shapes)
    return config, params, carry, rng.integers(0, V, (T, lanes)), rng.normal(size=(T, lanes, V))


def ours(config, params, carry, tokens, weights):
    """Logits, the carry after them, and the gradient of their weighted sum and the carry's."""

    def weighted(params, carry):
        logits, last = forward(params, carry, jnp.asarray(tokens), config)
        return (logits * weights).sum() + sum(entry.sum() for entry in jax.tree.leaves(last)), (logits, last)

    gradient, (logits, last) = jax.jit(jax.grad(weighted, argnums=(0, 1), has_aux=True))(params, carry)
    return logits, last, gradient


def in_numpy(config, params, carry, tokens):
    """The same logits and carry, one step after the other."""
    carry, logits = list(carry), []
    for tokens_t in tokens:
        x = np.eye(V)[tokens_t]
        for index, layer in enumerate(params.layers):
            b = carry[index][0] @ layer.Whh + (0 if layer.bhh is None else layer.bhh)
            carry[index] = STEPS[config.cell](x @ layer.Wxh + layer.bh, b, *carry[index])
            x = carry[index][0]
        logits.append(x @ params.Why + params.by)
    return np.stack(logits), tuple(carry)


@cells
@layers_and_lanes
def test_the_network_and_its_gradient_are_the_formulas_in_numpy(cell, num_layers, lanes, x64):
    config, params, carry, tokens, weights = problem(cell, num_layers, lanes)
    logits, last, gradient = ours(config, params, carry, tokens, weights)
    expected, expected_last = in_numpy(config, params, carry, tokens)
    np.testing.assert_allclose(logits, expected, rtol=1e-11, atol=1e-11)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), last, expected_last)

    def weighted(params, carry):
        logits, last = in_numpy(config, params, carry, tokens)
        return (logits * weights).sum() + sum(entry.sum() for entry in jax.tree.leaves(last))

    rng, size = np.random.default_rng(1), 1e-6 if cell == "relu" else 1e-3  # not over a kink
    for _ in range(4):  # the derivative along any direction, by differences of fourth order
        way = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (params, carry))
        at = [
            weighted(*jax.tree.map(lambda leaf, d, k=k: leaf + k * size * d, (params, carry), way))
            for k in (-2, -1, 1, 2)
        ]
        difference = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * size)
        along = sum((g * d).sum() for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True))
        assert float(along) == pytest.approx(difference, rel=1e-7, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@layers_and_lanes
def test_outputs_carries_and_gradients_are_those_of_torch(cell, num_layers, lanes, x64):
    torch = pytest.importorskip("torch")
    config, params, carry, tokens, weights = problem(cell, num_layers, lanes)
    logits, last, gradient = ours(config, params, carry, tokens, weights)

    kinds = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
    theirs = kinds.get(cell, partial(torch.nn.RNN, nonlinearity=cell))(V, H, num_layers).double()
    readout = torch.nn.Linear(H, V).double()
    with torch.no_grad():
        for index, layer in enumerate(params.layers):
            for name, value in [("weight_ih", layer.Wxh.T), ("weight_hh", layer.Whh.T), ("bias_ih", layer.bh)]:
                getattr(theirs, f"{name}_l{index}").copy_(torch.tensor(value))
            bhh = np.zeros_like(layer.bh) if layer.bhh is None else layer.bhh
            getattr(theirs, f"bias_hh_l{index}").copy_(torch.tensor(bhh))
        readout.weight.copy_(torch.tensor(params.Why.T))
        readout.bias.copy_(torch.tensor(params.by))
    # Entry by entry of the carry, [L, B, H], as torch has it.
    first = [torch.tensor(np.stack(entries), requires_grad=True) for entries in zip(*carry, strict=True)]
    x = torch.nn.functional.one_hot(torch.tensor(tokens), V).double()
    hidden, after = theirs(x, tuple(first) if cell == "lstm" else first[0])
    after = after if cell == "lstm" else (after,)
    their_logits = readout(hidden)
    ((their_logits * torch.tensor(weights)).sum() + sum(entry.sum() for entry in after)).backward()

    def same(ours, other):
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-9, atol=1e-9)

    same(logits, their_logits)
    d_params, d_carry = gradient
    for entry in range(len(first)):
        same(jnp.stack([layer[entry] for layer in last]), after[entry])
        same(jnp.stack([layer[entry] for layer in d_carry]), first[entry].grad)
    for index, layer in enumerate(d_params.layers):
        same(layer.Wxh.T, getattr(theirs, f"weight_ih_l{index}").grad)
        same(layer.Whh.T, getattr(theirs, f"weight_hh_l{index}").grad)
        same(layer.bh, getattr(theirs, f"bias_ih_l{index}").grad)
        if cell == "gru":
            same(layer.bhh, getattr(theirs, f"bias_hh_l{index}").grad)
    same(d_params.Why.T, readout.weight.grad)
    same(d_params.by, readout.bias.grad)


@cells
def test_biases_begin_as_the_cell_says_the_lstms_forget_gate_open(cell):
    params = init_params(jax.random.key(0), ModelConfig(cell=cell, hidden_size=2, num_layers=2, vocab_size=V))
    gates = {"tanh": [0], "relu": [0], "gru": [0] * 3, "lstm": [0, 1, 0, 0], COUPLED: [-1, 0, 0]}[cell]
    begin = np.repeat(gates, 2)
    for layer in params.layers:
        np.testing.assert_array_equal(layer.bh, begin)
        assert (layer.bhh is None) == (cell != "gru")
        assert layer.bhh is None or not layer.bhh.any()


def test_a_configuration_gives_its_cell_by_name_or_itself():
    assert get_cell("gru") is GRU
    assert get_cell(COUPLED) is COUPLED
    with pytest.raises(JaxrnnError, match=r"user-defined.* hand it over again"):
        get_cell("custom")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"init_carry": lambda batch, hidden, dtype: jnp.zeros((batch, hidden), dtype)}, r"tuple of arrays float32\[2"),
        ({"init_carry": lambda batch, hidden, dtype: ()}, r"must return a tuple of arrays .* got \(\)"),
        ({"init_carry": lambda batch, hidden, dtype: (jnp.zeros((hidden, batch), dtype),)}, r"\(float32\[4, 2\],\)"),
        ({"init_carry": lambda batch, hidden, dtype: (jnp.zeros((batch, hidden), int),)}, r"got \(int32\[2, 4\],\)"),
        ({"init_carry": lambda: None}, "init_carry of the cell fails with TypeError"),
        ({"update": lambda a, b, carry: jnp.tanh(a + b)}, r"one that it gets, \(float32\[2, 4\],\), got float"),
        ({"update": lambda a, b, carry: [jnp.tanh(a + b)]}, r"got \["),
        ({"update": lambda a, b, carry: (a, b)}, r"got \(float32\[2, 4\], float32\[2, 4\]\)"),
        ({"update": lambda a, b, carry: ((a + b).astype("float16"),)}, r"got \(float16\[2, 4\],\)"),
        ({"update": lambda a, b, carry: ((a + b)[:, :2],)}, r"got \(float32\[2, 2\],\)"),
        ({"update": LSTM.update}, r"update of the cell fails with ValueError: .* and the carry \(float32\[2, 4\],\)"),
        ({"gates": 4, "update": GRU.update}, r"update of the cell fails .* projected and recurrent, float32\[2, 16\]"),
    ],
)
def test_a_cell_that_is_none_is_named_before_anything_is_computed(wrong, message):
    config = ModelConfig(cell=TANH._replace(**wrong), hidden_size=H, vocab_size=V)
    with pytest.raises(JaxrnnError, match=message):
        jax.eval_shape(lambda: initial_carry(3, config))


def test_a_cell_that_says_additive_and_is_not_is_refused():
    def update(projected, recurrent, carry):
        return (jnp.tanh(projected + 2 * recurrent),)

    cell = Cell(gates=1, init_carry=TANH.init_carry, update=update)
    initial_carry(1, ModelConfig(cell=cell, vocab_size=5))
    initial_carry(1, ModelConfig(cell=TANH._replace(gates=1), vocab_size=5))
    with pytest.raises(JaxrnnError, match="additive=True, but its update does not use projected \\+ recurrent only"):
        initial_carry(1, ModelConfig(cell=cell._replace(additive=True), vocab_size=5))

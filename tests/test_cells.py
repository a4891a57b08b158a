import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.cells import CELLS
from jaxrnn.config import ModelConfig
from jaxrnn.model import forward, init_params, initial_carry
from jaxrnn.recurrence import unroll

T, B, H = 9, 3, 6


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def tanh_step(x, r, h):
    return (np.tanh(x + r),)


def gru_step(x, r, h):
    reset, keep = (sigmoid(x[:, gate * H : (gate + 1) * H] + r[:, gate * H : (gate + 1) * H]) for gate in (0, 1))
    new = np.tanh(x[:, 2 * H :] + reset * r[:, 2 * H :])
    return ((1 - keep) * new + keep * h,)


def lstm_step(x, r, h, c):
    i, f, g, o = ((x + r)[:, gate * H : (gate + 1) * H] for gate in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


STEPS = {"tanh": tanh_step, "gru": gru_step, "lstm": lstm_step}


def draw(cell, seed=0):
    rng = np.random.default_rng(seed)
    carry = tuple(rng.normal(size=(B, H)) for _ in cell.init_carry(B, H, jnp.float32))
    return rng.normal(size=(H, cell.gates * H)), rng.normal(size=(T, B, cell.gates * H)), carry


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_over_time_is_its_formula_in_numpy(name, x64):
    Whh, projected, carry = draw(CELLS[name])
    hidden, last = jax.jit(lambda *a: unroll(CELLS[name], *a))(Whh, projected, carry)
    for t in range(T):
        carry = STEPS[name](projected[t], carry[0] @ Whh, *carry)
        np.testing.assert_allclose(hidden[t], carry[0], rtol=1e-12)
    for got, expected in zip(last, carry, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_it_is_torchs_layer_with_the_same_weights(name, num_layers, x64):
    torch = pytest.importorskip("torch")
    V = 11
    config = ModelConfig(cell=name, hidden_size=H, num_layers=num_layers, vocab_size=V, dtype="float64", init_scale=0.3)
    params = init_params(jax.random.key(0), config)
    params = params._replace(layers=tuple(layer._replace(bh=layer.bh + 0.1) for layer in params.layers))
    tokens = np.random.default_rng(0).integers(0, V, (T, B))
    weights = np.random.default_rng(1).normal(size=(T, B, V))

    def weighted(params):
        logits, carry = forward(params, initial_carry(config, B), jnp.asarray(tokens), config)
        return (logits * weights).sum(), (logits, carry)

    gradient, (logits, carry) = jax.jit(jax.grad(weighted, has_aux=True))(params)

    kind = {"tanh": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[name]
    theirs = kind(V, H, num_layers).double()
    readout = torch.nn.Linear(H, V).double()

    def tensor(array):
        return torch.from_numpy(np.array(array))

    with torch.no_grad():
        for index, layer in enumerate(params.layers):
            getattr(theirs, f"weight_ih_l{index}").copy_(tensor(layer.Wxh.T))
            getattr(theirs, f"weight_hh_l{index}").copy_(tensor(layer.Whh.T))
            getattr(theirs, f"bias_ih_l{index}").copy_(tensor(layer.bh))
            getattr(theirs, f"bias_hh_l{index}").zero_()
        readout.weight.copy_(tensor(params.Why.T))
        readout.bias.copy_(tensor(params.by))
    hidden, state = theirs(torch.nn.functional.one_hot(torch.from_numpy(tokens), V).double())
    their_logits = readout(hidden)
    (their_logits * torch.from_numpy(weights)).sum().backward()

    def same(ours, other):
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-9, atol=1e-9)

    same(logits, their_logits)
    state = state if name == "lstm" else (state,)
    for entry in range(len(state)):
        same(jnp.stack([layer[entry] for layer in carry]), state[entry])
    for index, layer in enumerate(gradient.layers):
        same(layer.Wxh.T, getattr(theirs, f"weight_ih_l{index}").grad)
        same(layer.Whh.T, getattr(theirs, f"weight_hh_l{index}").grad)
        same(layer.bh, getattr(theirs, f"bias_ih_l{index}").grad)
    same(gradient.Why.T, readout.weight.grad)
    same(gradient.by, readout.bias.grad)

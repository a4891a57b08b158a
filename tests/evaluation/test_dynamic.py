"""Dynamic evaluation: no symbol is scored by parameters that have seen it, and the rules are their formulas."""

import jax
import numpy as np
import optax
import pytest
from arrays import init_params

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.dynamic import adapt, choose_rule, dynamic_surprisals, mean_squares, pulled
from jaxrnn.evaluation.score import surprisals
from jaxrnn.network.loss import loss
from jaxrnn.network.model import initial_carry
from jaxrnn.text import Batch

V, T = 7, 5
MODEL = ModelConfig(cell="gru", vocab_size=V, hidden_size=6, init_scale=0.7, dtype="float64")
TEXT = np.random.default_rng(0).choice(V, 43, p=np.arange(1, V + 1) / 28)
NO_STARTS = np.zeros(43, bool)
STARTS = np.random.default_rng(1).random(43) < 0.1
loss = jax.jit(loss, static_argnums=3)
gradients = jax.jit(jax.grad(loss, has_aux=True), static_argnums=3)


@pytest.fixture
def params(x64):
    return init_params(jax.random.key(0), MODEL)


def batch(begin, end, starts):
    inputs, targets = TEXT[begin:end, None], TEXT[begin + 1 : end + 1, None]
    return Batch(inputs, targets, np.asarray(False), starts[begin:end, None])


def by_hand(params, update, starts):
    """Score T symbols, take the gradient of their loss, update; a plain loop. The nats, and the last parameters."""
    carry, nats, trained = initial_carry(1, MODEL), [], params
    for begin in range(0, len(TEXT) - 1, T):
        part = batch(begin, min(begin + T, len(TEXT) - 1), starts)
        for t in range(len(part.inputs)):  # a symbol's score is the loss of a text that ends with it, minus that before
            one = jax.tree.map(lambda array, t=t: array[: t + 1] if array.ndim else array, part)
            total = float(loss(params, carry, one, MODEL)[0])
            nats.append(total - sum(nats[len(nats) - t :]) if t else total)
        gradient, after = gradients(params, carry, part, MODEL)
        params, carry = update(params, gradient, trained), after
    return np.array(nats), params


def in_numpy(rate, decay, squares=None):
    def update(params, gradient, trained):
        ones = jax.tree.map(np.ones_like, params)
        rms = jax.tree.map(np.sqrt, squares) if squares else ones
        numbers = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(rms)])
        epsilon = 0.01 * numbers.mean() if squares else 0
        return jax.tree.map(
            lambda p, g, t, r: p - rate * g / (r + epsilon) + np.minimum(decay * r / numbers.mean(), 1) * (t - p),
            params,
            gradient,
            trained,
            rms,
        )

    return update


@pytest.mark.parametrize(("rule", "decay"), [("sgd", 0.0), ("sgd", 0.3), ("rms", 0.0), ("rms", 0.3)])
def test_the_rules_are_their_formulas(params, rule, decay):
    squares = mean_squares(params, TEXT, MODEL, T) if rule == "rms" else None
    ours = pulled(0.05, decay, squares)
    nats, last = by_hand(params, in_numpy(0.05, decay, squares), STARTS)
    got = dynamic_surprisals(params, TEXT, MODEL, ours, length=T, starts=STARTS)
    np.testing.assert_allclose(got, nats, rtol=1e-9, atol=1e-9)
    jax.tree.map(np.testing.assert_allclose, adapt(params, TEXT, MODEL, ours, T, STARTS), last)
    _, last = by_hand(params, in_numpy(0.05, decay, squares), NO_STARTS)
    jax.tree.map(np.testing.assert_allclose, adapt(params, TEXT, MODEL, ours, T), last)


@pytest.mark.parametrize("starts", [NO_STARTS, STARTS], ids=["one document", "documents"])
def test_the_mean_squares_are_those_of_the_gradients_of_the_trained_network(params, starts):
    carry, squares = initial_carry(1, MODEL), []
    for begin in range(0, len(TEXT) - 1, T):
        part = batch(begin, min(begin + T, len(TEXT) - 1), starts)
        gradient, carry = gradients(params, carry, part, MODEL)
        squares.append(jax.tree.map(np.square, gradient))
    expected = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *squares)
    jax.tree.map(np.testing.assert_allclose, mean_squares(params, TEXT, MODEL, T, starts), expected)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [pulled(0.1, 0.01), optax.adam(0.05)], ids=["sgd", "adam"])
def test_a_symbol_is_scored_before_any_parameter_has_seen_it(params, rule):
    scores = dynamic_surprisals(params, TEXT, MODEL, rule, length=T)
    for t in range(1, len(TEXT)):
        other = TEXT.copy()
        other[t] = (TEXT[t] + 1) % V
        changed = dynamic_surprisals(params, other, MODEL, rule, length=T)
        np.testing.assert_array_equal(changed[: t - 1], scores[: t - 1])  # no score before that of symbol t
        # The score of t is a distribution's, which is the same whatever the symbol is.
        texts = [np.array([*TEXT[:t], s]) for s in range(V)]
        shares = [np.exp(-dynamic_surprisals(params, text, MODEL, rule, length=T)[t - 1]) for text in texts]
        assert sum(shares) == pytest.approx(1, abs=1e-9)
        assert shares[other[t]] == pytest.approx(np.exp(-changed[t - 1]), rel=1e-9)
        assert t == len(TEXT) - 1 or not np.array_equal(changed[t:], scores[t:])


def test_without_a_rate_it_is_the_static_score(params):
    static = surprisals(params, TEXT, MODEL, starts=STARTS)
    np.testing.assert_allclose(dynamic_surprisals(params, TEXT, MODEL, pulled(0.0), starts=STARTS), static, rtol=1e-12)


def test_it_learns_what_repeats_and_rates_are_chosen_on_the_training_text_alone(params):
    text = np.tile(TEXT, 20)
    dynamic, rule = choose_rule(params, text, MODEL)
    assert (dynamic.rule, dynamic.length) == ("rms", 16)
    static = surprisals(params, text, MODEL).mean()
    assert dynamic_surprisals(params, text, MODEL, rule).mean() < 0.8 * static
    given, _ = choose_rule(params, text[:0], MODEL, rule="sgd", rate=0.01, decay=0.5, length=3)  # which needs no text
    assert given == ("sgd", 0.01, 0.5, 3)


def test_a_rule_is_chosen_with_the_resets_of_the_training_text(params):
    text, starts = np.tile(TEXT, 20), np.tile(STARTS, 20)
    _, rule = choose_rule(params, text, MODEL, rate=1e-3, decay=0.0, starts=starts)
    ours = rule.init(params).scale
    expected = pulled(1e-3, 0.0, mean_squares(params, text, MODEL, 16, starts)).init(params).scale
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


@pytest.mark.parametrize(
    ("text", "length", "message"),
    [
        ([0], 3, "the text has 1 symbol; 2 are needed"),
        ([0, 1], 0, "length must be at least 1, got 0"),
        ([0, V], 3, f"must be 0 to {V - 1}, got 0 to {V}"),
        ([0.5, 1], 3, "the tokens must be an integer array"),
    ],
    ids=["too short", "length 0", "out of range", "not integers"],
)
def test_what_is_no_text_is_refused(params, text, length, message):
    with pytest.raises(JaxrnnError, match=message):
        dynamic_surprisals(params, np.array(text), MODEL, pulled(0.1), length=length)

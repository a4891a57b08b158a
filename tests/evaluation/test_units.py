import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.activations import activations
from jaxrnn.evaluation.units import PROPERTIES, find_units
from jaxrnn.network.model import Layer, Params
from jaxrnn.text import Vocabulary

H = 8


def quoted_text(rng, words=300):
    """Prose in which about half of the words are in typographic quotes."""
    quoted = rng.random(words) < 0.5
    return " ".join(f"“{'ab'[n % 2] * (1 + n % 5)}”" if q else "abc"[: 1 + n % 3] for n, q in enumerate(quoted)) + "\n"


def planted(vocabulary, rng):
    """A tanh network by hand: unit 5 is set by “, cleared by ” and otherwise holds; the others see noise."""
    Wxh = rng.normal(size=(len(vocabulary), H))
    Whh = 0.3 * rng.normal(size=(H, H))
    Wxh[:, 5], Whh[:, 5], Whh[5, 5] = 0, 0, 2.5
    Wxh[vocabulary.symbols.index("“"), 5], Wxh[vocabulary.symbols.index("”"), 5] = 9, -9
    V = len(vocabulary)
    arrays = [jnp.asarray(array, jnp.float32) for array in (Wxh, Whh, np.zeros(H), np.zeros((H, V)), np.zeros(V))]
    return Params((Layer(*arrays[:3]),), *arrays[3:])


@pytest.fixture(scope="module")
def reading():
    rng = np.random.default_rng(0)
    text = quoted_text(rng)
    vocabulary = Vocabulary.of(text)
    config = ModelConfig(hidden_size=H, vocab_size=len(vocabulary))
    tokens = jnp.asarray(vocabulary.encode(text), jnp.int32)
    return activations(planted(vocabulary, rng), tokens, config), text


def test_a_planted_unit_is_found_and_scores_perfectly_on_text_it_was_not_chosen_on(reading):
    best, second, *_ = find_units(*reading, "inside quotes")
    assert (best.layer, best.name, best.number, best.sign, best.score) == (0, "h", 5, 1, 1.0)
    assert second.score < 0.9


def test_a_number_is_scored_by_correlation(reading):
    layers, text = reading
    best = find_units(layers, text, lambda text: -2.0 * PROPERTIES["inside quotes"](text))[0]
    assert best.number == 5
    assert best.sign == -1
    assert best.score > 0.95


def test_noise_scores_as_chance_on_the_held_out_part_although_some_unit_fits_it(reading):
    _, text = reading
    many = [{"h": np.random.default_rng(1).normal(size=(len(text), 500))}]
    coin = np.random.default_rng(2).random(len(text)) < 0.5
    best = find_units(many, text, coin)[0]
    assert best.fit_score > 0.54
    assert abs(best.score - 0.5) < 0.05
    number = find_units(many, text, np.random.default_rng(3).normal(size=len(text)))[0]
    assert number.fit_score > 0.08
    assert abs(number.score) < 0.08


@pytest.mark.parametrize("sign", [1, -1])
def test_the_threshold_and_the_sign_predict_the_property(sign):
    flags = np.random.default_rng(0).random(200) < 0.3
    values = sign * np.where(flags, 0.7, 0.1)[:, None]
    (unit,) = find_units([{"c": values}], "x" * 200, flags, names=["c"])
    assert unit.sign == sign
    np.testing.assert_array_equal(sign * values[:, 0] > sign * unit.threshold, flags)


def test_balanced_accuracy_is_the_mean_of_both_fractions_predicted_right():
    fit = np.array([False] * 4 + [True] * 4)
    rest = np.array([False] * 6 + [True] * 2)
    values = np.concatenate([fit * 1.0, [0, 0, 0, 0, 0, 1, 1, 0]])[:, None]
    (unit,) = find_units([{"h": values}], "x" * 16, np.concatenate([fit, rest]))
    assert unit.score == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert unit.fit_score == 1


def test_a_constant_unit_scores_as_chance():
    flags = np.array([True, False] * 10)
    (unit,) = find_units([{"h": np.zeros((20, 1))}], "x" * 20, flags)
    assert unit.score == unit.fit_score == 0.5
    (unit,) = find_units([{"h": np.zeros((20, 1))}], "x" * 20, flags * 1.0)
    assert unit.score == unit.fit_score == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside quotes", 'a"bc"d', [0, 1, 1, 1, 0, 0]),
        ("inside quotes", "“a” b", [1, 1, 0, 0, 0]),
        ("inside quotes", '"a\n\nb', [1, 1, 1, 0, 0]),
        ("line position", "ab\nc", [1, 2, 0, 1]),
        ("capital next", "a Bc", [0, 1, 0, 0]),
        ("bracket depth", "a([b])))(", [0, 1, 2, 2, 1, 0, 0, 0, 1]),
        ("bracket depth", "((\n\na", [1, 2, 2, 0, 0]),
        ("bracket depth", "", []),
        ("capital next", "", []),
    ],
)
def test_a_property_is_what_its_name_says(name, text, expected):
    assert PROPERTIES[name](text).tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("inside quote", "no property 'inside quote'; there are 'inside quotes'"),
        ([True] * 3, r"one value per character, \[8\], got shape \(3,\)"),
        ([True] * 8, "the same for all 4 characters of the first part"),
        ([0, 1, 0, 1, 2, 2, 2, 2], "the same for all 4 characters of the held-out part"),
        (list("abcdefgh"), "true or false, or numbers"),
    ],
)
def test_an_unusable_property_is_refused(target, message):
    with pytest.raises(JaxrnnError, match=message):
        find_units([{"h": np.zeros((8, 2))}], "abcdefgh", target)


def test_activations_of_another_text_or_name_are_refused():
    flags = [True, False] * 4
    with pytest.raises(JaxrnnError, match="T = 8 characters, got"):
        find_units([{"h": np.zeros((9, 2))}], "abcdefgh", flags)
    with pytest.raises(JaxrnnError, match="layer 0 has no 'c'; it has h"):
        find_units([{"h": np.zeros((8, 2))}], "abcdefgh", flags, names=["c"])

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from arrays import init_params

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.categorical import draw_weighted
from jaxrnn.network.model import forward, initial_carry
from jaxrnn.sampling.sample import sample
from jaxrnn.text import document_starts

slow = pytest.mark.slow
V = 12
CONFIG = ModelConfig(vocab_size=V, hidden_size=8, init_scale=1.0)
PARAMS = init_params(jax.random.key(0), CONFIG)
KEY = jax.random.key(7)


forward = jax.jit(forward, static_argnames="config")


def tokens(*values, lanes=1):
    return jnp.tile(jnp.array(values, jnp.int32)[:, None], (1, lanes))


def known_softmax(logits):
    """A network whose logits are always these: it draws 100,000 independent characters in 200 streams."""
    return with_logits(logits, CONFIG), initial_carry(200, CONFIG), tokens(0, lanes=200)


def with_logits(logits, config):
    zeros = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: init_params(KEY, config))
    )
    return zeros._replace(by=np.asarray(logits, np.float32))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_100_000_draws_of_a_known_softmax_pass_a_chi_square_test(temperature):
    logits = np.linspace(-3, 2, V)
    drawn, _ = sample(KEY, *known_softmax(logits), CONFIG, length=500, temperature=temperature)
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=V)
    assert counts.sum() == 100_000
    assert scipy.stats.chisquare(counts, 100_000 * p).pvalue > 1e-3


def truncated(p, top_k=None, top_p=None):
    """The likeliest k, or the fewest that have the probability top_p, renormalised: one token after the other."""
    kept, mass = np.zeros(len(p)), 0.0
    for token in sorted(range(len(p)), key=lambda token: (-p[token], token)):
        if (kept > 0).sum() == (top_k or len(p)) or mass >= (top_p or 2.0):
            break
        kept[token] = p[token]
        mass += p[token]
    return kept / kept.sum()


SHUFFLED = np.random.default_rng(1).permutation(np.linspace(-3, 2, V))


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"top_k": 5}, 5),
        ({"top_k": 5, "temperature": 2.0}, 5),
        ({"top_k": V}, V),
        ({"top_p": 0.9}, 5),
        ({"top_p": 0.9, "temperature": 2.0}, 9),  # of the tempered distribution
        ({"top_p": 0.9, "temperature": 0.5}, 3),
        ({"top_p": 1.0}, V),
        ({"top_k": 3, "top_p": 0.9}, 3),
        ({"top_k": 8, "top_p": 0.9}, 5),
        ({"top_p": 1e-9}, 1),
    ],
    ids=str,
)
def test_100_000_draws_of_the_likeliest_tokens_follow_the_truncated_softmax(values, left):
    drawn, _ = sample(KEY, *known_softmax(SHUFFLED), CONFIG, length=500, **values)
    p = np.exp(SHUFFLED / values.get("temperature", 1.0))
    p = truncated(p / p.sum(), values.get("top_k"), values.get("top_p"))
    assert (p > 0).sum() == left
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=V)
    assert not counts[p == 0].any()
    if left > 1:
        assert scipy.stats.chisquare(counts[p > 0], 100_000 * p[p > 0]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("weights", "values", "left"),
    [
        ([1, 1, 1, 1], {"top_k": 1}, {0}),  # the first of equals, as the greedy one
        ([1, 1, 1, 1], {"top_k": 3}, {0, 1, 2}),
        ([1, 2, 2, 1], {"top_k": 3}, {0, 1, 2}),
        ([1, 1, 1, 1], {"top_p": 0.5}, {0, 1}),  # exactly p is enough
        ([1, 1, 1, 1], {"top_p": 0.51}, {0, 1, 2}),
        ([1, 4, 2, 1], {"top_p": 0.5}, {1}),
        ([1, 4, 2, 1], {"top_p": 0.75}, {1, 2}),
        ([0, 4, 0, 1], {"top_k": 3}, {1, 3}),  # probability zero stays so
        ([0, 4, 0, 1], {"top_p": 1.0}, {1, 3}),
    ],
)
def test_ties_and_edges_of_the_likeliest_tokens(weights, values, left):
    with np.errstate(divide="ignore"):
        logits = np.log(np.pad(np.asarray(weights, float), (0, V - len(weights))))
    drawn, _ = sample(KEY, *known_softmax(logits), CONFIG, length=20, **values)
    assert set(np.unique(drawn).tolist()) == left


def test_the_single_likeliest_token_is_the_greedy_one_whatever_the_temperature():
    arguments = (PARAMS, initial_carry(5, CONFIG), tokens(2, lanes=5) + jnp.arange(5)[None], CONFIG)
    greedy, _ = sample(KEY, *arguments, length=100, greedy=True)
    for values in ({"top_k": 1, "temperature": 3.0}, {"top_p": 1e-6}):
        drawn, _ = sample(KEY, *arguments, length=100, **values)
        np.testing.assert_array_equal(drawn, greedy)


@pytest.mark.slow
def test_a_lane_with_a_key_of_its_own_draws_what_it_would_draw_alone():
    keys = jax.random.split(KEY, 6)
    prime = tokens(4, 1, lanes=6)
    together, _ = sample(keys, PARAMS, initial_carry(6, CONFIG), prime, CONFIG, length=40)
    assert len({tuple(lane) for lane in np.asarray(together).T.tolist()}) == 6
    old_keys = jax.random.key_data(keys)  # as jax.random.PRNGKey makes them
    np.testing.assert_array_equal(
        sample(old_keys, PARAMS, initial_carry(6, CONFIG), prime, CONFIG, length=40)[0], together
    )
    few, _ = sample(keys[:2], PARAMS, initial_carry(2, CONFIG), prime[:, :2], CONFIG, length=40)
    np.testing.assert_array_equal(few, together[:, :2])
    alone, _ = sample(keys[3], PARAMS, initial_carry(1, CONFIG), prime[:, :1], CONFIG, length=40)
    np.testing.assert_array_equal(alone[:, 0], together[:, 3])


@pytest.mark.parametrize("vocab_size", [2, 16, 17, 65, 256, 257, 5000])
def test_a_draw_is_the_place_of_its_number_in_the_cumulative_softmax(vocab_size):
    rng = np.random.default_rng(vocab_size)
    logits = rng.normal(scale=3, size=(300, vocab_size)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.3] = -np.inf  # some are never to be drawn, the first and the last among them
    logits[:150, [0, -1]], logits[:, vocab_size // 2] = -np.inf, 0
    uniform = rng.integers(0, 2**23, 300).astype(np.float32) / 2**23  # as jax.random draws them
    uniform[::3], uniform[1::3] = 0, 1 - 2.0**-23
    drawn = np.asarray(jax.jit(draw_weighted)(jnp.exp(logits - logits.max(axis=-1, keepdims=True)), uniform))
    p = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert p[np.arange(300), drawn].min() > 0
    ends = p.cumsum(axis=1)[np.arange(300), drawn]
    assert np.all(uniform < ends + 1e-5)
    assert np.all(uniform > ends - p[np.arange(300), drawn] - 1e-5)


def test_a_token_without_weight_is_not_drawn_where_rounding_meets_the_end_of_the_one_before():
    rng, lanes = np.random.default_rng(0), np.arange(4096)
    logits = rng.normal(scale=2, size=(4096, 48)).astype(np.float32)
    logits[:, 16:24] = -np.inf  # the first of a block
    p = np.exp(logits.astype(float))
    end = p[:, :16].sum(axis=1) / p.sum(axis=1)
    uniform = (np.round(end * 2**23) / 2**23).astype(np.float32)
    drawn = np.asarray(jax.jit(draw_weighted)(jnp.exp(logits - logits.max(axis=-1, keepdims=True)), uniform))
    assert np.all(logits[lanes, drawn] > -np.inf)


@pytest.mark.parametrize("vocab_size", [2, pytest.param(64, marks=slow), 128, 129, pytest.param(200, marks=slow)])
def test_the_draws_of_a_vocabulary_of_any_size_pass_it_too(vocab_size):
    config = ModelConfig(vocab_size=vocab_size, hidden_size=4)
    logits = np.random.default_rng(vocab_size).normal(size=vocab_size)
    drawn, _ = sample(
        KEY, with_logits(logits, config), initial_carry(200, config), tokens(0, lanes=200), config, length=500
    )
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=vocab_size)
    assert counts.size == vocab_size
    p = np.exp(logits) / np.exp(logits).sum()
    assert scipy.stats.chisquare(counts, 100_000 * p).pvalue > 1e-3


def test_successive_draws_and_streams_are_independent():
    drawn, _ = sample(KEY, *known_softmax(np.zeros(V)), CONFIG, length=500)
    drawn = np.asarray(drawn)
    for series in (drawn, drawn.T):  # from one character to the next, and from one stream to its neighbour
        table = np.zeros((V, V))
        np.add.at(table, (series[:-1], series[1:]), 1)
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_a_symbol_of_probability_zero_is_never_drawn():
    logits = np.full(V, -np.inf)
    logits[[3, 5]] = 0.0
    drawn, _ = sample(KEY, *known_softmax(logits), CONFIG, length=500)
    assert set(np.unique(drawn)) == {3, 5}


@pytest.mark.parametrize("greedy", [False, True])
def test_each_draw_follows_the_networks_own_softmax_of_the_text_so_far(greedy):
    """Two characters, every pair's frequency against the product of the two conditional probabilities."""
    streams = 50_000
    prime = tokens(4, 1, lanes=streams)
    drawn, _ = sample(KEY, PARAMS, initial_carry(streams, CONFIG), prime, CONFIG, length=2, greedy=greedy)
    after = jnp.concatenate([tokens(4, 1, lanes=V), jnp.arange(V)[None]])  # lane i: the prime, then symbol i
    logits, _ = forward(PARAMS, initial_carry(V, CONFIG), after, CONFIG)
    p = np.asarray(jax.nn.softmax(logits), np.float64)
    expected = p[1, 0][:, None] * p[2]
    counts = np.zeros((V, V))
    np.add.at(counts, tuple(np.asarray(drawn)), 1)
    if greedy:
        first = int(expected.sum(axis=1).argmax())
        assert counts[first, int(expected[first].argmax())] == streams
    else:
        often = expected * streams >= 5
        observed = np.append(counts[often], counts[~often].sum())
        expected = np.append(expected[often], expected[~often].sum())
        assert scipy.stats.chisquare(observed, streams * expected / expected.sum()).pvalue > 1e-3


def test_the_same_key_gives_the_same_text_and_another_key_another():
    carry = initial_carry(2, CONFIG)
    texts = [
        sample(jax.random.key(seed), PARAMS, carry, tokens(0, lanes=2), CONFIG, length=50)[0] for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(texts[0], texts[1])
    assert (texts[0] != texts[2]).any()
    assert (texts[0][:, 0] != texts[0][:, 1]).any()


def test_greedy_is_the_limit_of_temperature_to_zero():
    arguments = (PARAMS, initial_carry(5, CONFIG), tokens(2, lanes=5) + jnp.arange(5)[None], CONFIG)
    cold, _ = sample(KEY, *arguments, length=100, temperature=1e-6)
    greedy, _ = sample(KEY, *arguments, length=100, greedy=True)
    np.testing.assert_array_equal(cold, greedy)


def test_priming_with_text_is_running_the_network_over_it():
    prime, carry = tokens(3, 1, 4, 1, 5), initial_carry(1, CONFIG)
    primed, primed_carry = sample(KEY, PARAMS, carry, prime, CONFIG, length=40)
    _, run = forward(PARAMS, carry, prime[:-1], CONFIG)
    by_hand, by_hand_carry = sample(KEY, PARAMS, run, prime[-1:], CONFIG, length=40)
    np.testing.assert_array_equal(primed, by_hand)
    jax.tree.map(np.testing.assert_array_equal, primed_carry, by_hand_carry)


def test_going_on_from_the_returned_carry_is_one_long_greedy_text():
    carry = initial_carry(3, CONFIG)
    prime = tokens(1, lanes=3) + jnp.arange(3)[None]
    whole, end = sample(KEY, PARAMS, carry, prime, CONFIG, length=60, greedy=True)
    first, middle = sample(KEY, PARAMS, carry, prime, CONFIG, length=25, greedy=True)
    second, last = sample(KEY, PARAMS, middle, first[-1:], CONFIG, length=35, greedy=True)
    np.testing.assert_array_equal(whole, np.concatenate([first, second]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), end, last)


@pytest.mark.parametrize("temperature", [0, 1e-45, 1e-38, 1e-31, 1e-30, 1e-20])
def test_a_temperature_near_0_takes_the_likeliest_token(temperature):
    arguments = (PARAMS, initial_carry(2, CONFIG), tokens(1, lanes=2), CONFIG)
    greedy, _ = sample(KEY, *arguments, length=50, greedy=True)
    for values in ({}, {"top_k": 3}, {"top_p": 0.5}):
        cold, _ = sample(KEY, *arguments, length=50, temperature=temperature, **values)
        np.testing.assert_array_equal(cold, greedy)
    traced = jax.jit(lambda value: sample(KEY, *arguments, length=50, temperature=value)[0])
    np.testing.assert_array_equal(traced(float(temperature)), greedy)


@pytest.mark.parametrize("top_p", [1e-45, 1e-38, 1e-10])
def test_a_tiny_top_p_keeps_the_likeliest_token(top_p):
    arguments = (PARAMS, initial_carry(1, CONFIG), tokens(1), CONFIG)
    greedy, _ = sample(KEY, *arguments, length=50, greedy=True)
    np.testing.assert_array_equal(sample(KEY, *arguments, length=50, top_p=top_p)[0], greedy)


@pytest.mark.parametrize(
    "values",
    [
        {},
        pytest.param({"top_k": 3}, marks=slow),
        pytest.param({"top_p": 0.5}, marks=slow),
        {"top_k": 3, "top_p": 0.5},
    ],
    ids=str,
)
def test_other_numbers_are_no_reason_to_compile_again(values):
    from jaxrnn.sampling.sample import _write

    arguments = (KEY, PARAMS, initial_carry(1, CONFIG), tokens(0), CONFIG)
    sample(*arguments, length=13, temperature=1.0, **values)
    before = _write._cache_size()
    others = {"top_k": 2, "top_p": 0.7}
    sample(*arguments, length=13, temperature=0.7, **{name: others[name] for name in values})
    assert _write._cache_size() == before


def test_it_works_inside_a_jitted_function():
    def write(key, temperature, top_k, top_p):
        values = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return sample(key, PARAMS, initial_carry(1, CONFIG), tokens(1, 2), CONFIG, length=20, **values)[0]

    np.testing.assert_array_equal(jax.jit(write)(KEY, 0.8, 5, 0.9), write(KEY, 0.8, 5, 0.9))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top_k must be a whole number from 1 to 12, .* got 0"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": V + 1}, "top_k must be a whole number from 1 to 12, .* got 13"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": -0.5}, "top_p"),
        ({"top_p": 1.1}, r"top_p must be a probability in \(0, 1\], got 1.1"),
        ({"top_p": float("nan")}, "top_p"),
        ({"length": 0}, "length"),
        ({"prime": jnp.zeros((0, 1), jnp.int32)}, "prime"),
        ({"prime": jnp.zeros(3, jnp.int32)}, "prime"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = {"prime": tokens(0), "length": 5, **changed}
    with pytest.raises(JaxrnnError, match=message):
        sample(KEY, PARAMS, initial_carry(1, CONFIG), config=CONFIG, **arguments)


@pytest.mark.parametrize(("separator", "size"), [([0], 5), ([0, 1], 1), ([1, 1], 5)], ids=str)
@pytest.mark.slow
def test_with_documents_the_carry_is_that_of_the_text_read_with_its_starts(separator, size):
    config = ModelConfig(vocab_size=3, hidden_size=6, cell="lstm", init_scale=1.0)
    params = init_params(jax.random.key(1), config)
    carry = jax.tree.map(lambda entry: entry + 0.5, initial_carry(2, config))
    text = jax.random.randint(KEY, (8, 2), 0, 3)
    before, prime = text[: 8 - size], text[8 - size :]
    end = {"separator": jnp.array(separator), "length": 30}
    first, middle = sample(KEY, params, carry, prime, config, before=before, **end)
    whole = jnp.concatenate([text, first])
    second, last = sample(KEY, params, middle, whole[-1:], config, before=whole[-len(separator) : -1], **end)
    whole = np.concatenate([whole, second])
    starts = np.stack([document_starts(lane, np.array(separator)) for lane in whole.T], 1)[8 - size : -1]
    assert starts.sum() > 5
    _, expected = forward(params, carry, whole[8 - size : -1], config, starts=starts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), last, expected)


def test_a_separator_of_the_byte_0xff_is_found_where_it_is():
    config = ModelConfig(vocab_size=256, hidden_size=4, init_scale=3.0)
    params = init_params(jax.random.key(0), config)
    carry = jax.tree.map(lambda entry: entry + 0.9, initial_carry(1, config))
    texts = [
        sample(KEY, params, carry, np.array([[10]], dtype), config, length=6, separator=jnp.array([255, 10]))[0]
        for dtype in (np.uint8, np.int32)
    ]
    np.testing.assert_array_equal(*texts)

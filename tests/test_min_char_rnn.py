import functools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.stats

from jaxrnn import min_char_rnn as page
from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.network import Layer, Params
from jaxrnn.text import batches, load_corpus
from jaxrnn.training import init_train_state, make_train_step


@pytest.fixture(autouse=True)
def _broadcasting():
    """The page adds a bias [V] to logits [T, V] as NumPy would."""
    with jax.numpy_rank_promotion("allow"):
        yield


@functools.cache
def text(length=4000):
    """Real English: its tokens and the number of distinct characters."""
    corpus = load_corpus("python-docs")
    symbols = np.unique(corpus.tokens[20_000 : 20_000 + length])
    return np.searchsorted(symbols, corpus.tokens[20_000 : 20_000 + length]).astype(np.int32), len(symbols)


def to_jax(tree):
    return jax.tree.map(jnp.array, tree)


def assert_near(got, expected):
    """Equal to 1e-6, relative to the largest entry of each array."""
    for a, b in zip(map(np.asarray, got), map(np.asarray, expected), strict=True):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


# At H = 100 and learning rate 0.1 min-char-rnn is chaotic (see tests/training/test_step.py), so it is H = 16 or a
# smaller rate.
@pytest.mark.parametrize(("hidden_size", "learning_rate"), [(16, 0.1), pytest.param(100, 0.01, marks=pytest.mark.slow)])
def test_500_steps_are_those_of_the_oracle_and_of_the_package(hidden_size, learning_rate, x64):
    tokens, vocab_size = text()
    values = oracle.init(np.random.default_rng(0), vocab_size, hidden_size)
    trainer = oracle.Trainer(tokens.tolist(), values, learning_rate=learning_rate)
    optimizer = page.make_optimizer(learning_rate)
    state = page.init_state(to_jax(page.Params(**values)), optimizer)
    model = ModelConfig(vocab_size=vocab_size, hidden_size=hidden_size, dtype="float64")
    config = TrainConfig(model=model, optimizer=OptimizerConfig(learning_rate=learning_rate))
    layer = Layer(values["Wxh"], values["Whh"], values["bh"])
    params = to_jax(Params((layer,), values["Why"], values["by"]))
    package = init_train_state(jax.random.key(0), config)._replace(params=params)
    package_step, T, p = make_train_step(config), page.SEQUENCE_LENGTH, 0
    for number in range(500):
        if p + T + 1 >= len(tokens):
            p, state = 0, state._replace(h=jnp.zeros_like(state.h))
        state, nats = page.train_step(state, tokens[p : p + T], tokens[p + 1 : p + T + 1], optimizer)
        p += T
        package, metrics = package_step(package, jax.tree.map(lambda leaf: leaf[0], batches(tokens, number, 1, config)))
        assert float(nats) == pytest.approx(trainer.step(), rel=1e-6)
        assert float(metrics.loss) == pytest.approx(float(nats), rel=1e-6)
    assert trainer.wraps >= 2
    expected = [trainer.params[name] for name in page.Params._fields]
    memory = [trainer.memory[name] for name in page.Params._fields]
    carried = [trainer.hidden[0], trainer.smooth_loss]
    assert_near(
        [*state.params, *jax.tree.leaves(state.memory), state.h, state.smooth_loss], [*expected, *memory, *carried]
    )
    layer = package.params.layers[0]
    found = [layer.Wxh, layer.Whh, layer.bh, package.params.Why, package.params.by]
    assert_near([*found, package.carry[0][0][0], package.smooth_loss], [*state.params, state.h, state.smooth_loss])


def network(vocab_size=7, scale=50.0):
    params = page.init_params(jax.random.key(3), vocab_size, hidden_size=5)
    return jax.tree.map(lambda leaf: scale * leaf, params), jnp.linspace(-1, 1, 5)


@pytest.mark.slow
def test_its_draws_follow_the_softmax_and_a_key_draws_the_same_sample_again():
    params, h = network()
    logits, _ = jax.jit(page.forward)(params, h, jnp.array([2]))
    draw = jax.vmap(lambda key: page.sample(key, params, h, jnp.array(2), 1)[0])
    tokens = draw(jax.random.split(jax.random.key(0), 100_000))
    weights = np.exp(np.asarray(logits[0], float))
    expected = 100_000 * weights / weights.sum()
    assert expected.min() > 5
    assert scipy.stats.chisquare(np.bincount(tokens, minlength=7), expected).pvalue > 1e-3
    again = [page.sample(jax.random.key(key), params, h, jnp.array(2), 200).tolist() for key in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_a_drawn_character_is_read_before_the_next_and_greedy_takes_the_likeliest():
    params, h = network()
    tokens = page.sample(jax.random.key(0), params, h, jnp.array(2), 30, greedy=True)
    logits, _ = jax.jit(page.forward)(params, h, jnp.array([2, *tokens.tolist()]))  # of each character, what it follows
    np.testing.assert_array_equal(tokens, logits[:-1].argmax(axis=-1))


@pytest.mark.slow
def test_it_trains_on_a_file_and_shows_a_sample_every_100_steps_and_at_the_end(tmp_path):
    (tmp_path / "input.txt").write_text("der Fuß im Walde läuft. " * 20, "utf-8")
    command = [sys.executable, "-m", "jaxrnn.min_char_rnn"]
    options = {"capture_output": True, "encoding": "utf-8", "cwd": tmp_path}
    done = subprocess.run([*command, "input.txt", "--steps", "250"], **options)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("step ")]
    assert [line.split(",")[0] for line in lines] == ["step 0", "step 100", "step 200", "step 250"]
    losses = [float(line.split()[-1]) for line in lines]
    assert losses == sorted(losses, reverse=True)
    (tmp_path / "short.txt").write_text("abc")
    (tmp_path / "bytes.txt").write_bytes(b"\xff" * 100)
    for name, message in (
        ("none.txt", "can't read none.txt"),
        ("short.txt", "3 of 27"),
        ("bytes.txt", "UTF-8"),
    ):
        done = subprocess.run([*command, name], **options)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_it_is_one_page_that_imports_nothing_else_of_the_package():
    source = Path(page.__file__).read_text("utf-8")
    assert len(source.splitlines()) <= 150
    assert "from jaxrnn" not in source
    assert "import jaxrnn" not in source

"""The average of the parameters: what it is, and where it predicts in place of the newest ones."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from arrays import init_params
from small_runs import assert_bit_identical, metrics, run, tiny

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation import evaluate
from jaxrnn.network import loss
from jaxrnn.page import page
from jaxrnn.plots import observe
from jaxrnn.runs import begin_run, load_run_corpus, slices_of
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.text import batches
from jaxrnn.training import init_train_state, make_train_step, sweep
from jaxrnn.training.step import fastest_step, train_step

TOKENS = np.arange(300) * 7 % 11


def config_of(decay, **changes):
    return TrainConfig(model=ModelConfig(hidden_size=8, vocab_size=11), steps=20, average_decay=decay, **changes)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_it_weights_the_parameters_after_each_step_by_powers_of_the_decay(decay):
    config = config_of(decay)
    state, step, history = init_train_state(jax.random.key(0), config), make_train_step(config), []
    jax.tree.map(np.testing.assert_array_equal, state.average, state.params)
    for number in range(20):
        batch = jax.tree.map(lambda part: part[0], batches(TOKENS, number, 1, config))
        state, _ = step(state, batch)
        history.append(jax.tree.map(lambda leaf: np.array(leaf, np.float64), state.params))
        weights = decay ** np.arange(len(history) - 1.0, -1, -1)
        expected = jax.tree.map(lambda *leaves: np.average(leaves, axis=0, weights=weights), *history)  # noqa: B023
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.average, expected)
    assert state.eval_params is state.average


def test_without_it_a_state_has_no_average_and_nothing_is_computed():
    config = config_of(0.0)
    state = init_train_state(jax.random.key(0), config)
    assert state.average is None
    assert state.eval_params is state.params
    batch = jax.tree.map(lambda part: part[0], batches(TOKENS, 0, 1, config))

    def operations(config):
        state = init_train_state(jax.random.key(0), config)
        return len(jax.make_jaxpr(lambda state: train_step(state, batch, config))(state).eqns)

    assert operations(config) < operations(config_of(0.9))
    assert "average" not in repr(state)


def test_training_is_the_same_with_it_of_a_large_vocabulary_too():
    model = ModelConfig(hidden_size=8, vocab_size=500)
    config = TrainConfig(model=model, sequence_length=5, steps=10)
    averaging = dataclasses.replace(config, average_decay=0.9)
    results = []
    for each in (config, averaging):
        state = init_train_state(jax.random.key(0), each)
        step = jax.jit(fastest_step(each, loss, None))
        for number in range(10):
            state, _ = step(state, jax.tree.map(lambda part: part[0], batches(TOKENS, number, 1, each)))
        results.append(state)
    for a, b in zip(*(jax.tree.leaves(state.params) for state in results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    unused = results[1].average.layers[0].Wxh[100:]
    np.testing.assert_allclose(unused, results[1].params.layers[0].Wxh[100:], rtol=1e-6)


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    config = tiny(text, split=(0.6, 0.4), validate_every=12, average_decay=0.9)
    return config, path, run(config, path)[-1]


def test_validations_measure_it(whole):
    config, path, report = whole
    checkpoint = load_checkpoint(path)
    corpus = load_run_corpus(config)
    part = slices_of(corpus, config)["validation"]
    score = [
        evaluate(params, part.tokens, corpus.vocabulary, checkpoint.config.model).nats_per_character
        for params in (checkpoint.state.average, checkpoint.state.params)
    ]
    assert report.validation_loss == pytest.approx(score[0], rel=1e-5)
    assert abs(score[0] - score[1]) > 1e-3
    assert_bit_identical(checkpoint.state, report.state)


def test_it_resumes_bit_for_bit_and_with_no_other_decay(whole, tmp_path):
    config, path, report = whole
    run(config, tmp_path / "cut", leave=8)
    assert_bit_identical(run(config, tmp_path / "cut", resume=True)[-1].state, report.state)
    assert metrics(tmp_path / "cut") == metrics(path)
    with pytest.raises(JaxrnnError, match=r"was trained with average_decay 0.9, not 0.0"):
        run(dataclasses.replace(config, average_decay=0.0), path, resume=True)


def test_a_run_that_begins_with_given_parameters_has_them_as_its_average(text, tmp_path):
    config = tiny(text, average_decay=0.9)
    corpus = load_run_corpus(config)
    params = init_params(jax.random.key(5), dataclasses.replace(config.model, vocab_size=len(corpus.vocabulary)))
    begin_run(params, config, corpus, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, load_checkpoint(tmp_path / "run").state.average, params)


def test_members_of_a_sweep_have_their_own():
    for name, (state, _) in sweep(config_of(0.9), {"seed": [0, 1]}, TOKENS).items():
        alone = sweep(config_of(0.9, seed=int(name[-1])), {}, TOKENS)["run"][0]
        jax.tree.map(np.testing.assert_array_equal, state.average, alone.average)


@pytest.mark.slow
def test_a_page_and_a_figure_are_of_it_unless_they_are_told_otherwise(whole, jaxrnn, tmp_path):
    _, path, _ = whole
    checkpoint = load_checkpoint(path)
    averaged, newest = (
        checkpoint._replace(state=checkpoint.state._replace(params=params, average=None))
        for params in (checkpoint.state.average, checkpoint.state.params)
    )
    assert page(checkpoint, text="the") == page(averaged, text="the") != page(newest, text="the")
    observed = [observe(source, "the").probabilities for source in (checkpoint, averaged, newest)]
    np.testing.assert_array_equal(*observed[:2])
    assert (observed[0] != observed[2]).any()
    for which, expected in {"average": averaged, "last": newest}.items():
        assert jaxrnn(f"page {path} --text the --from {which} --out {tmp_path / 'page.html'}")[0] == 0
        weights = page(expected, text="the").partition('"base64":"')[2].partition('"')[0]
        assert weights in (tmp_path / "page.html").read_text()


def test_commands_predict_with_it_unless_they_are_told_otherwise(whole, jaxrnn, tmp_path, text):
    _, path, report = whole
    bits = report.best.bits_per_character

    def evaluated(flags):
        code, out, err = jaxrnn(f"evaluate {path} --json {flags}")
        assert code == 0, err
        return json.loads(out)["bits_per_character"]

    assert evaluated("") == pytest.approx(bits, rel=1e-5)
    assert evaluated("--from best") == pytest.approx(bits, rel=1e-5)
    newest = evaluated("--from last")
    assert abs(newest - evaluated("--from average")) > 1e-3
    assert evaluated("--from 24") == newest
    assert "averaged with decay 0.9\n" in jaxrnn(f"evaluate {path}")[2]
    assert jaxrnn(f"sample {path} --length 50 --from average")[1] != jaxrnn(f"sample {path} --length 50 --from last")[1]
    run(tiny(text), tmp_path / "plain")
    code, _, err = jaxrnn(f"sample {tmp_path / 'plain'} --from average")
    assert (code, "has no average; train with --average-decay" in err) == (2, True)

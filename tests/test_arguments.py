"""An argument of the wrong kind is found at the call, and the message says what belongs there."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import Corpus, ModelConfig, OptimizerConfig, SampleConfig, TrainConfig, Vocabulary
from jaxrnn.bench import measure
from jaxrnn.config import Count
from jaxrnn.config.fields import check_arguments
from jaxrnn.training.optimizer import make_optimizer

KEY = jax.random.key(0)
CONFIG = TrainConfig(model=ModelConfig(hidden_size=4, vocab_size=3))
MODEL, VOCABULARY, TOKENS = CONFIG.model, Vocabulary("abc"), np.arange(30) % 3
STATE = jaxrnn.init_train_state(KEY, CONFIG)
BATCH = jax.tree.map(lambda part: part[0], jaxrnn.batches(TOKENS, 0, 1, CONFIG))
CHUNK, AVERAGED = jaxrnn.batches(TOKENS, 0, 1, CONFIG), dataclasses.replace(CONFIG, average_decay=0.9)
CHECKPOINT = jaxrnn.Checkpoint(STATE, CONFIG, VOCABULARY, {}, {}, {}, Path("x"))
PARAMS, CARRY, OPTIONS = STATE.params, STATE.carry, SampleConfig(length=3)

WRONG = {
    "fit": [
        (lambda: jaxrnn.fit(MODEL), "config must be a TrainConfig, got a ModelConfig"),
        (lambda: jaxrnn.fit(CONFIG, run_dir=3), "run_dir must be a string or a path or None, got 3"),
        (lambda: jaxrnn.fit(CONFIG, resume="yes"), "resume must be True or False, got 'yes'"),
        (lambda: jaxrnn.fit(CONFIG, devices="two"), "devices must be a whole number or 'all', got 'two'"),
        (
            lambda: jaxrnn.fit(CONFIG, optimizer=optax.adam),
            "optimizer must be a GradientTransformation or None, got a f",
        ),
    ],
    "fit_many": [
        (lambda: jaxrnn.fit_many(MODEL, {"seed": [0]}), "config must be a TrainConfig, got a ModelConfig"),
        (lambda: jaxrnn.fit_many(CONFIG, ["seed"]), "axes must be a dict, got a list"),
        (lambda: jaxrnn.fit_many(CONFIG, {"seed": [0]}, should_stop=1), "should_stop must be a function, got 1"),
    ],
    "begin_run": [
        (
            lambda: jaxrnn.begin_run(STATE, CONFIG, TOKENS, "run"),
            "a Params or a Checkpoint, got a TrainState; give its params",
        )
    ],
    "write": [
        (
            lambda: jaxrnn.write(PARAMS, VOCABULARY, CONFIG, OPTIONS),
            "config must be a ModelConfig, got a TrainConfig; give its model",
        ),
        (lambda: jaxrnn.write(STATE, VOCABULARY, MODEL, OPTIONS), "a Params, got a TrainState; give its params"),
        (lambda: jaxrnn.write(PARAMS, "abc", MODEL, OPTIONS), "vocabulary must be a Vocabulary, got 'abc'"),
        (lambda: jaxrnn.write(PARAMS, VOCABULARY, MODEL, SampleConfig), "got the class SampleConfig"),
        (
            lambda: jaxrnn.write(PARAMS, VOCABULARY, MODEL, OPTIONS, reset_on=None),
            "reset_on must be a string, got None",
        ),
    ],
    "write_many": [
        (lambda: jaxrnn.write_many(PARAMS, VOCABULARY, MODEL, {}), "options must be a SampleConfig, got a d")
    ],
    "sample": [
        (lambda: jaxrnn.sample(KEY, STATE, (), TOKENS[:, None], MODEL, length=3), "params must be a Params, got a Tr"),
        (
            lambda: jaxrnn.sample(KEY, PARAMS, (), TOKENS[:, None], MODEL, length="3"),
            "length must be a whole number, got",
        ),
        (lambda: jaxrnn.sample(KEY, PARAMS, CARRY, [[0]], MODEL, length=3), "prime must be an array, got a list"),
    ],
    "evaluate": [
        (
            lambda: jaxrnn.evaluate(PARAMS, TOKENS, VOCABULARY, CONFIG),
            "config must be a ModelConfig, got a TrainConfig",
        ),
        (
            lambda: jaxrnn.evaluate(PARAMS, TOKENS, VOCABULARY, MODEL, lanes=1.5),
            "lanes must be a whole number, got 1.5",
        ),
        (
            lambda: jaxrnn.evaluate(PARAMS, TOKENS, VOCABULARY, MODEL, starts=[True] * 30),
            "starts must be an array or a DocumentStarts or None, got a list",
        ),
        (
            lambda: jaxrnn.evaluate(PARAMS, "abc", VOCABULARY, MODEL),
            "tokens must be an array, got 'abc'; Vocabulary.encode makes one of a text",
        ),
        (
            lambda: jaxrnn.evaluate(PARAMS, Corpus.from_text("abc"), VOCABULARY, MODEL),
            "tokens must be an array, got a Corpus; give its tokens",
        ),
    ],
    "longest_copy": [
        (lambda: jaxrnn.longest_copy("x", VOCABULARY), "text must be a string or several of them, got a Vocabulary")
    ],
    "activations": [(lambda: jaxrnn.activations(PARAMS, TOKENS, CONFIG), "config must be a ModelConfig, got a TrainC")],
    "page": [
        (lambda: jaxrnn.page.page("run"), "checkpoint must be a Checkpoint, got 'run'"),
        (lambda: jaxrnn.page.page(CHECKPOINT, "run"), "metrics must be a dict or None, got 'run'"),
    ],
    "slices_of": [(lambda: jaxrnn.runs.slices_of("abc", CONFIG), "corpus must be a Corpus, got 'abc'")],
    "load_run_corpus": [(lambda: jaxrnn.runs.load_run_corpus("x"), "config must be a TrainConfig, got 'x'")],
    "reload_corpus": [(lambda: jaxrnn.runs.reload_corpus("run"), "checkpoint must be a Checkpoint, got 'run'")],
    "load_checkpoint": [
        (lambda: jaxrnn.load_checkpoint(3), "path must be a string or a path, got 3"),
        (lambda: jaxrnn.load_checkpoint("run", "gru"), "cell must be a jaxrnn.Cell or None, got 'gru'"),
    ],
    "save_checkpoint": [
        (
            lambda: jaxrnn.save_checkpoint("x", PARAMS, CONFIG, VOCABULARY, corpus={}),
            "state must be a TrainState, got a P",
        )
    ],
    "save_weights": [
        (lambda: jaxrnn.save_weights("x", PARAMS, CONFIG, VOCABULARY), "model must be a ModelConfig, got")
    ],
    "load_weights": [(lambda: jaxrnn.load_weights(None), "path must be a string or a path, got None")],
    "load_corpus": [
        (lambda: jaxrnn.load_corpus(TOKENS), "source must be a string or a path or a list of them, got int64[30]"),
        (
            lambda: jaxrnn.load_corpus("x", vocabulary=TOKENS),
            "vocabulary must be 'characters' or 'bytes', got int64[30]",
        ),
        (
            lambda: jaxrnn.load_corpus("x", vocabulary="words"),
            "vocabulary must be 'characters' or 'bytes', got 'words'",
        ),
    ],
    "from_text": [(lambda: Corpus.from_text(["a"]), "text must be a string or bytes, got a list")],
    "init_params": [(lambda: jaxrnn.init_params(KEY, CONFIG), "config must be a ModelConfig, got a TrainConfig; give")],
    "init_train_state": [
        (lambda: jaxrnn.init_train_state(KEY, MODEL), "config must be a TrainConfig, got a ModelConf")
    ],
    "make_train_step": [(lambda: jaxrnn.make_train_step(MODEL), "config must be a TrainConfig, got a ModelConfig")],
    "make_train_chunk": [(lambda: jaxrnn.make_train_chunk(CONFIG, loss=0.1), "loss must be a function, got 0.1")],
    "batches": [(lambda: jaxrnn.batches(TOKENS, 0, 1, MODEL), "config must be a TrainConfig, got a ModelConfig")],
    "combinations": [(lambda: jaxrnn.combinations(CONFIG, None), "axes must be a dict, got None")],
    "preset": [(lambda: jaxrnn.preset(3), "name must be a string, got 3")],
    "split": [
        (lambda: jaxrnn.split(TOKENS, 0.9), "fractions must be a list of numbers, got 0.9"),
        (lambda: jaxrnn.split(TOKENS, ("a", "b")), "fractions must be a list of numbers, got a tuple"),
    ],
    "make_optimizer": [(lambda: make_optimizer(CONFIG), "config must be an OptimizerConfig, got a TrainConfig; give")],
    "initial_carry": [(lambda: jaxrnn.initial_carry(MODEL, 1), "batch_size must be a whole number, got a ModelConfig")],
}


def test_values_to_sweep_are_a_list():
    with pytest.raises(jaxrnn.JaxrnnError, match="the values of seed must be a list of them, got 3"):
        jaxrnn.fit_many(CONFIG, {"seed": 3})


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [pytest.param(name, *case, id=f"{name}: {case[1]}") for name, cases in WRONG.items() for case in cases],
)
def test_a_wrong_kind_of_argument_is_found_at_the_call(name, call, message):
    with pytest.raises(jaxrnn.JaxrnnError) as caught:
        call()
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


def test_arrays_of_any_library_and_numbers_of_numpy_are_taken():
    def function(array: jax.Array, tokens: np.ndarray, number: float | jax.Array, count: Count, scale: float) -> None:
        check_arguments(function, locals())

    function(TOKENS, jnp.asarray(TOKENS), 0.5, np.int8(3), np.float32(0.5))
    function(PARAMS.by, torch_like := types.SimpleNamespace(shape=(3,), dtype="f4"), PARAMS.by, 1, 1)
    jax.jit(lambda array, scale: function(array, torch_like, scale, 1, scale))(PARAMS.by, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Corpus.from_text("abc", min_count=0), "min_count must be at least 1, got 0"),
        (lambda: jaxrnn.batches(TOKENS, -1, 1, CONFIG), "step must be at least 0, got -1"),
        (lambda: jaxrnn.batches(TOKENS, 0, 0, CONFIG), "num_steps must be at least 1, got 0"),
        (lambda: jaxrnn.initial_carry(0, MODEL), "batch_size must be at least 1, got 0"),
        (lambda: jaxrnn.sample(KEY, PARAMS, CARRY, TOKENS[:, None], MODEL, length=0), "length must be at least 1, got"),
        (lambda: jaxrnn.sample(KEY, PARAMS, CARRY, TOKENS[:, None] + 1, MODEL, length=1), "must be 0 to 2, got 1 to 3"),
        (lambda: jaxrnn.evaluate(PARAMS, TOKENS, VOCABULARY, MODEL, lanes=0), "lanes must be at least 1, got 0"),
        (lambda: measure(lambda x, y: x, 1.0, 1.0, rounds=0), "rounds must be at least 1, got 0"),
        (lambda: jaxrnn.make_mesh(1.0), "devices must be a whole number or 'all', got 1.0"),
        (lambda: jaxrnn.bits_per_character(1.0, 0), "sequence_length must be at least 1, got 0"),
        (lambda: jaxrnn.forward(PARAMS, CARRY, TOKENS[:, None] + 1, MODEL), "must be 0 to 2, got 1 to 3"),
        (
            lambda: jaxrnn.train_chunk(STATE, BATCH, CONFIG),
            r"inputs \[K, T, B\], got shape \(25, 1\); train_step takes",
        ),
        (
            lambda: jaxrnn.evaluate(PARAMS, TOKENS, VOCABULARY, MODEL, starts=TOKENS),
            r"starts must be bool \[30\], as the tokens, got int64\[30\]",
        ),
        (
            lambda: jaxrnn.batches(TOKENS, 0, 1, CONFIG, starts=np.zeros(29, bool)),
            r"starts must be bool \[30\], as the tokens, got bool\[29\]",
        ),
        (lambda: Vocabulary(""), "a vocabulary must have a symbol; give those of a text by Vocabulary.of"),
        (
            lambda: jaxrnn.save_checkpoint("x", STATE, CONFIG, VOCABULARY, corpus={"length": np.int64(3)}),
            "corpus and counters must be plain numbers and strings .*int64.*; convert them",
        ),
        (lambda: SampleConfig(num_samples=3, seed=2**32 - 1), "seed, the first of 3, must be at most 4294967293"),
        (
            lambda: jaxrnn.sample(KEY, PARAMS, CARRY, TOKENS[:1, None], MODEL, length=1, temperature=1e39),
            "temperature must be from 0 .* to 1e.30",
        ),
        (lambda: measure(lambda x, y: x, 1.0, 1.0, seconds=0), "seconds must be a finite number above 0, got 0"),
        (lambda: jaxrnn.evaluate(PARAMS, TOKENS % 2, Vocabulary("ab"), MODEL), "has 2 symbols, and the network 3"),
        (lambda: next(jaxrnn.write(PARAMS, Vocabulary("abcd"), MODEL, OPTIONS)), "has 4 symbols, and the network 3"),
        (lambda: jaxrnn.activations(PARAMS, TOKENS + 1, MODEL), "must be 0 to 2, got 1 to 3"),
        (lambda: jaxrnn.sweep(CONFIG, {"seed": [0]}, TOKENS + 1), "must be 0 to 2, got 1 to 3"),
        (lambda: jaxrnn.plots.loss_curves(["a", "b"]), "takes run directories, or columns of read_metrics, got a list"),
        (lambda: jaxrnn.plots.loss_curves("run", {"loss": TOKENS}), "or columns of read_metrics, got a dict"),
        (lambda: jaxrnn.longest_copy("abc", b"abc"), "text must be a string or several of them, got b'abc'"),
        (lambda: Vocabulary.of("abc", min_count="2"), "of: min_count must be a whole number, got '2'"),
        (
            lambda: jaxrnn.find_units([{"h": np.zeros((4, 2))}], "abab", [np.nan, 1, 0, 1]),
            "the property must be finite everywhere",
        ),
        (lambda: jaxrnn.plots.gate_saturation([]), "the cell has no gates"),
        (lambda: VOCABULARY.encode(5), "a vocabulary is of str or bytes, got 5"),
        (lambda: Vocabulary.of(b"ab").encode(TOKENS), r"a vocabulary is of str or bytes, got int64\[30\]"),
        (
            lambda: jaxrnn.sample(jax.random.split(KEY, 2), PARAMS, CARRY, TOKENS[:1, None], MODEL, length=1),
            r"keys must be one, or one for each of the 1 lanes, got shape \(2,\)",
        ),
        (
            lambda: jaxrnn.sample(KEY, PARAMS, CARRY, TOKENS[:1, None], MODEL, length=1, temperature=jnp.ones(2)),
            r"temperature must be one number for all lanes, got shape \(2,\); use jax.vmap",
        ),
        (lambda: jaxrnn.train_step(STATE, CHUNK, CONFIG), r"inputs \[T, B\], got shape \(1, 25, 1\); make_train_chunk"),
        (lambda: jaxrnn.make_train_step(CONFIG)(STATE, CHUNK), r"inputs \[T, B\], got shape \(1, 25, 1\)"),
        (
            lambda: jaxrnn.train_step(STATE, jax.tree.map(lambda part: jnp.stack([part] * 2, -1), BATCH), CONFIG),
            r"inputs \[T, B\], got shape \(25, 1, 2\)",
        ),
        (
            lambda: jaxrnn.train_step(STATE, BATCH._replace(inputs=BATCH.inputs.repeat(4, 1)), CONFIG),
            "the carry of the state has 1 lanes, and the batch 4",
        ),
        (
            lambda: jaxrnn.make_train_step(dataclasses.replace(CONFIG, optimizer=OptimizerConfig("adam")))(
                STATE, BATCH
            ),
            "the state is of another optimizer than adam; begin with one of that",
        ),
        (lambda: jaxrnn.train_step(STATE, BATCH, AVERAGED), "average_decay is 0.9; begin with a state that was made"),
        (
            lambda: jaxrnn.train_step(jaxrnn.init_train_state(KEY, AVERAGED), BATCH, CONFIG),
            "average_decay is 0.0; begin with a state that was made with it",
        ),
        (
            lambda: jaxrnn.save_checkpoint("x", STATE, AVERAGED, VOCABULARY, corpus={}),
            "the state is of another configuration: average.layers.0.Wxh must be .*, got nothing",
        ),
        (
            lambda: jaxrnn.save_checkpoint(
                "x", jaxrnn.init_train_state(KEY, CONFIG, optimizer=optax.lion(1e-3)), CONFIG, VOCABULARY, corpus={}
            ),
            r'of another configuration: opt_state.*has OptimizerConfig\(name="custom"\)',
        ),
        (lambda: jaxrnn.fit(CONFIG, "abc" * 99, resume=True), "resume needs run_dir"),
        (lambda: jaxrnn.fit(CONFIG, "abc" * 99, resume=True, overwrite=True, run_dir="x"), "overwrite replaces it"),
        (
            lambda: jaxrnn.fit_many(CONFIG, {"seed": [0]}, "abc" * 99, resume=True, overwrite=True, run_dir="x"),
            "resume continues what is in run_dir, and overwrite replaces it",
        ),
        (
            lambda: jaxrnn.fit(dataclasses.replace(CONFIG, min_count=3), Corpus.from_text("abc" * 99)),
            "min_count is 3, but text-in-memory was read with 1; leave it out, or load the corpus with it",
        ),
        (
            lambda: jaxrnn.fit(dataclasses.replace(CONFIG, vocabulary="bytes"), Corpus.from_text("abc" * 99)),
            "vocabulary is 'bytes', but text-in-memory was read with 'characters'",
        ),
    ],
)
def test_an_argument_out_of_its_range_is_found_at_the_call(call, message):
    with pytest.raises(jaxrnn.JaxrnnError, match=message):
        call()


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (TOKENS, r"give Corpus\.from_tokens\(tokens, vocabulary\)"),
        ("novle.txt", "there is no file novle.txt; give a text"),
    ],
    ids=["tokens", "the name of no file"],
)
def test_what_is_no_corpus_leads_to_one(corpus, message):
    with pytest.raises(jaxrnn.JaxrnnError, match=message):
        jaxrnn.fit(CONFIG, corpus)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import LSTM, TANH, Cell, ModelConfig, OptimizerConfig, SampleConfig, TrainConfig, Vocabulary
from jaxrnn.training.step import Metrics


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(cell="gru", init="fan_in", dropout=0.5, vocab_size=65),
        OptimizerConfig(name="adam", learning_rate=0.004),
        TrainConfig(),
        TrainConfig(model=ModelConfig(hidden_size=7), split=(0.9, 0.1), validate_every=10, steps=20),
        SampleConfig(prompt="To be", top_k=3),
    ],
)
def test_the_repr_of_a_configuration_rebuilds_it_and_is_short(config):
    assert eval(repr(config)) == config
    assert len(repr(config)) < 330


def test_the_repr_of_a_configuration_shows_sizes_and_changes_from_the_defaults():
    shown = repr(TrainConfig(model=ModelConfig(cell="lstm", dropout=0.1), steps=7))
    assert "cell='lstm', hidden_size=100, num_layers=1, dropout=0.1" in shown
    assert "steps=7" in shown
    assert "decay_rate" not in shown


def test_a_cell_shows_its_update_and_no_address():
    def my_update(projected, recurrent, carry):
        return carry

    cell = Cell(gates=2, init_carry=TANH.init_carry, update=my_update)
    assert repr(cell) == "Cell(gates=2, update=my_update)"
    assert "0x" not in repr(ModelConfig(cell=LSTM))


def test_parameters_and_states_show_shapes_and_scalars():
    config = TrainConfig(model=ModelConfig(hidden_size=8, vocab_size=5), optimizer=OptimizerConfig(name="adam"))
    state = jaxrnn.init_train_state(jax.random.key(0), config)
    layer = "Layer(Wxh=float32[5, 8], Whh=float32[8, 8], bh=float32[8])"
    assert repr(state.params) == f"Params(layers=({layer},), Why=float32[8, 5], by=float32[5])"
    shown = repr(state)
    assert shown.startswith("TrainState(step=0, smooth_loss=40.2359, params=Params(")
    assert "opt_state_size=315" in shown  # two of everything, and a count
    assert len(shown) < 300
    assert "Wxh=(5, 8)" in repr(jax.tree.map(jnp.shape, state.params))  # what is no array is itself


def test_traced_and_donated_arrays_show_their_shapes():
    seen = []

    def step(metrics):
        seen.append(repr(metrics))
        return jax.tree.map(lambda value: value + 1, metrics)

    before = Metrics(jnp.float32(1.5), jnp.zeros(3))
    assert repr(before) == "Metrics(loss=1.5, smooth_loss=float32[3])"
    jax.jit(step, donate_argnums=0)(before)
    assert seen == ["Metrics(loss=float32[], smooth_loss=float32[3])"]
    assert repr(before) == "Metrics(loss=float32[], smooth_loss=float32[3])"


def test_a_vocabulary_shows_its_size_and_first_symbols():
    assert repr(Vocabulary.of("banana")) == "Vocabulary(3 characters: 'abn')"
    many = repr(Vocabulary.of("".join(map(chr, range(0x4E00, 0x4E00 + 5000)))))
    assert many.startswith("Vocabulary(5,000 characters: '一丁")
    assert many.endswith(" and 4,900 more)")
    assert "one of them for all others" in repr(Vocabulary.of("banana", min_count=2))


def test_batches_slices_and_units_have_short_reprs():
    tokens = np.arange(1000) % 7
    batch = jaxrnn.batches(tokens, 0, 3, TrainConfig(batch_size=2))
    assert repr(batch) == "Batch(inputs=int32[3, 25, 2], targets=int32[3, 25, 2], reset=bool[3])"
    assert repr(jaxrnn.split(tokens, (0.9, 0.1))["validation"]) == "Slice(validation, characters 900-1,000)"
    unit = jaxrnn.Unit(0, "h", 5, score=1 / 3, fit_score=2 / 3, sign=1, threshold=None)
    assert repr(unit) == "Unit(layer=0, name='h', number=5, score=0.333333, fit_score=0.666667, sign=1)"


@pytest.mark.slow
def test_reports_and_checkpoints_show_the_step(tmp_path):
    (tmp_path / "verse.txt").write_text("to be or not to be " * 50)
    config = TrainConfig(model=ModelConfig(hidden_size=4), steps=2, sample_length=5)
    corpus = jaxrnn.load_corpus(tmp_path / "verse.txt")
    *_, report = jaxrnn.fit(config, corpus, run_dir=tmp_path / "run")
    assert repr(report).startswith("Report(step=2, loss=")
    assert "state" not in repr(report)
    assert report.config.model.vocab_size == len(corpus.vocabulary)
    shown = repr(jaxrnn.load_checkpoint(tmp_path / "run"))
    assert shown.startswith("Checkpoint(state=TrainState(step=2, ")
    assert "hidden_size=4" in shown
    assert "Vocabulary(7 characters: ' benort')" in shown
    assert len(shown) < 900

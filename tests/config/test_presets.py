from operator import attrgetter

import jax
import numpy as np
import pytest

from jaxrnn.config import TrainConfig, from_json, to_json, with_settings
from jaxrnn.config.dial import choose_network
from jaxrnn.config.presets import PRESET_FACTS, PRESETS, adapted, preset
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import batches
from jaxrnn.training.schedule import learning_rate


def test_the_documented_presets_exist_and_the_first_is_the_default():
    assert list(PRESETS) == ["min-char-rnn", "char-rnn", "quick", "best"]
    assert preset("min-char-rnn") == TrainConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_saved_and_run(name):
    config = preset(name)
    assert from_json(TrainConfig, to_json(config)) == config
    rate = learning_rate(config.optimizer, config.steps)
    assert callable(rate) == (config.optimizer.schedule != "constant")


def test_char_rnn_has_char_rnns_settings():
    config = preset("char-rnn")
    assert (config.model.cell, config.model.num_layers, config.model.hidden_size) == ("lstm", 2, 128)
    assert (config.sequence_length, config.batch_size) == (50, 50)
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.rms_decay) == ("rmsprop", 0.002, 0.95)
    assert (optimizer.clip, optimizer.clip_value) == ("value", 5.0)


@pytest.mark.parametrize(("name", "seconds"), [("quick", 55), ("best", 592)])
def test_quick_and_best_are_what_the_dial_chooses_for_a_minute_and_for_ten(name, seconds):
    # Of 2 x 256 and 2 x 384 units (with dropout), symbols per second on two cores of an Intel Xeon (Sapphire Rapids).
    speeds = {5: 84_000.0, 6: 22_000.0}
    choice = choose_network(1_115_394, 65, seconds, speeds, {"split": (0.9, 0.1)})
    assert preset(name) == with_settings(choice.config, {"vocab_size": None})


def test_char_rnns_epochs_are_those_of_nine_tenths_of_tinyshakespeare():
    config = preset("char-rnn")
    tokens = np.zeros(1_115_394 * 9 // 10, np.uint8)
    epochs = np.flatnonzero(batches(tokens, 0, config.steps, config).reset)  # where each begins
    assert len(epochs) == 50
    rate = jax.jit(learning_rate(config.optimizer, config.steps))
    # after ten whole epochs each has 0.97 times the rate of the one before, from its first step to its last
    for number in (0, 1, 9, 10, 11, 30, 49):
        expected = pytest.approx(0.002 * 0.97 ** max(0, number - 9), rel=1e-5)
        assert float(rate(epochs[number])) == expected
        assert float(rate([*epochs, config.steps][number + 1] - 1)) == expected


def test_each_preset_has_its_facts():
    assert PRESET_FACTS.keys() == PRESETS.keys()
    assert all(len(facts.writes) < 76 for facts in PRESET_FACTS.values())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"steps": 1}, {"steps": 20}, {"steps": 10**6}, {"validate_every": 0}, {"split": (1.0,)}, {"patience": 0}],
)
def test_an_adapted_preset_goes_with_other_settings(name, settings):
    config = with_settings(adapted(preset(name), settings), settings)
    learning_rate(config.optimizer, config.steps)  # raises if the warm-up is too long
    kept = ("optimizer.warmup_steps", "validate_every", "patience")
    assert settings or config == preset(name)
    if settings == {"steps": 10**6}:
        assert all(attrgetter(field)(config) == attrgetter(field)(preset(name)) for field in kept)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("charrnn", "did you mean char-rnn?"),
        ("Quick", "did you mean quick?"),
        ("gpt", "there are min-char-rnn, char-rnn"),
    ],
)
def test_an_unknown_preset_is_refused_with_a_hint(name, hint):
    with pytest.raises(JaxrnnError) as caught:
        preset(name)
    assert f"no such preset: {name}; {hint}" in str(caught.value)

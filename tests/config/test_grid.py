import dataclasses

import pytest

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.config.grid import SWEEPABLE, combinations, value_of, with_settings
from jaxrnn.errors import JaxrnnError


def test_every_combination_is_a_configuration_named_after_its_values():
    config = TrainConfig(steps=7, optimizer=OptimizerConfig(clip_value=2.0))
    members = combinations(config, {"learning_rate": [0.03, 0.1], "hidden_size": (8, 16), "seed": range(2)})
    assert len(members) == 8
    assert list(members)[:3] == [
        "learning_rate=0.03,hidden_size=8,seed=0",
        "learning_rate=0.03,hidden_size=8,seed=1",
        "learning_rate=0.03,hidden_size=16,seed=0",
    ]
    optimizer = OptimizerConfig(clip_value=2.0, learning_rate=0.1)
    expected = TrainConfig(steps=7, seed=1, optimizer=optimizer, model=ModelConfig(hidden_size=16))
    assert members["learning_rate=0.1,hidden_size=16,seed=1"] == expected
    assert combinations(config, {}) == {"run": config}


def test_a_setting_that_there_is_not_is_named_with_the_one_that_is_meant():
    with pytest.raises(JaxrnnError, match="no such setting: hidden_sise; did you mean hidden_size"):
        with_settings(TrainConfig(), {"hidden_sise": 8})


def test_the_settings_of_the_network_and_its_training_can_be_swept():
    config = TrainConfig()
    assert all(value_of(config, name) == value_of(TrainConfig(), name) for name in SWEEPABLE)
    assert {"cell", "dropout", "optimizer", "momentum", "seed", "batch_size"} <= SWEEPABLE.keys()
    assert not {"dtype", "vocab_size", "corpus", "split", "log_every", "keep"} & SWEEPABLE.keys()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"learning_rat": [0.1]}, "learning_rat can't be swept; these can: sequence_length"),
        ({"corpus": ["a", "b"]}, "corpus can't be swept"),
        ({"seed": []}, "seed has no values"),
        ({"learning_rate": [0.1, -1]}, "learning_rate must be a finite number above 0, got -1"),
        ({"hidden_size": [8, 8.5]}, "hidden_size must be a whole number"),
        ({"seed": range(101), "hidden_size": range(1, 101)}, "combine to 10,100 models"),
        ({"cell": ["tanh", object()]}, "a user-defined cell can't be swept"),
        ({"optimizer": ["adam", "custom"]}, "a user-defined optimizer can't be swept"),
        # Values that clash.
        ({"learning_rate": [0.1, 0.3, 0.1]}, "learning_rate=0.1 is listed twice"),
        ({"seed": [1, 2, 1]}, "seed=1 is listed twice"),
        ({"learning_rate": [None, 0.1]}, "learning_rate=None and learning_rate=0.1 are the same run"),
        ({"momentum": [0.5, 0.9]}, "momentum=0.5 and momentum=0.9 are the same run"),
        ({"optimizer": ["sgd", "adagrad"], "momentum": [0.5, 0.9]}, "optimizer=adagrad,momentum=0.5 and optimizer="),
        ({"clip": ["none", "value"], "clip_value": [1, 5]}, "clip=none,clip_value=1.0 and clip=none,clip_value=5.0"),
        ({"decay_rate": [0.5, 0.9]}, "the same run"),
        ({"final_fraction": [0.5, 0.9]}, "the same run"),
        ({"init": ["fan_in"], "init_scale": [0.1, 0.2]}, "the same run"),
        ({"optimizer": ["adam", "adamw"], "weight_decay": [0.1]}, "the same run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_settings_that_cannot_be_swept_and_equal_runs_are_refused(axes, words):
    with pytest.raises(JaxrnnError) as error:
        combinations(TrainConfig(), axes)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("optimizer", "axes"),
    [
        ({"name": "sgd"}, {"momentum": [0.5, 0.9]}),
        ({"schedule": "exponential"}, {"decay_rate": [0.5, 0.9]}),
        ({"schedule": "cosine"}, {"final_fraction": [0.5, 0.9]}),
        ({"name": "rmsprop"}, {"rms_decay": [0.5, 0.9]}),
        ({}, {"optimizer": ["adam", "adamw"]}),  # their weight decays differ
        ({}, {"warmup_steps": [0, 10]}),
    ],
    ids=str,
)
def test_values_that_make_a_difference_are_accepted(optimizer, axes):
    config = dataclasses.replace(TrainConfig(), optimizer=OptimizerConfig(**optimizer))
    assert len(combinations(config, axes)) == 2

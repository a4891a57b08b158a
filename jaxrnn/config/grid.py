"""Grids of configurations: every combination of the values of some settings."""

import itertools
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from jaxrnn.config.fields import check_arguments, in_short
from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError, did_you_mean

Axes = Mapping[str, Iterable[Any]]  # values by the name of a setting

_MAX_COMBINATIONS = 10_000
SETTINGS = {  # the path of each setting in a TrainConfig, by the name of its flag
    **{field.name: field.name for field in fields(TrainConfig) if field.name not in ("model", "optimizer")},
    **{field.name: f"model.{field.name}" for field in fields(ModelConfig)},
    **{field.name: f"optimizer.{field.name}" for field in fields(OptimizerConfig) if field.name != "name"},
    "optimizer": "optimizer.name",
}
TEXT_RULES = ("vocabulary", "encoding", "normalize", "min_count", "join", "symbols")  # how a text becomes tokens
SWEEPABLE = {
    name: path
    for name, path in SETTINGS.items()
    if name in ("sequence_length", "batch_size", "steps", "seed")
    or ("." in path and name not in ("dtype", "vocab_size"))
}


def combinations(config: TrainConfig, axes: Axes) -> dict[str, TrainConfig]:
    """Return a configuration for each combination of values, named after them; the last axis changes fastest.

    Example:
        >>> list(combinations(TrainConfig(), {"learning_rate": [0.03, 0.1], "seed": range(1)}))
        ['learning_rate=0.03,seed=0', 'learning_rate=0.1,seed=0']

    Args:
        config: the settings that are not swept.
        axes: the values of each swept setting, by the name of its flag: a field of ModelConfig or OptimizerConfig
            ("optimizer" is the update rule), "seed", "batch_size", "sequence_length" or "steps".

    Raises:
        JaxrnnError: a setting can't be swept, a value is out of range, or two combinations are the same run.
    """
    check_arguments(combinations, locals())
    if single := [name for name, values in axes.items() if not isinstance(values, Iterable)]:
        raise JaxrnnError(f"the values of {single[0]} must be a list of them, got {in_short(axes[single[0]])}")
    grid = {name: list(values) for name, values in axes.items()}
    for name, options in grid.items():
        if name not in SWEEPABLE:
            raise JaxrnnError(f"{name} can't be swept; these can: {', '.join(SWEEPABLE)}")
        if not options:
            raise JaxrnnError(f"{name} has no values to sweep; give at least one")
        if "custom" in options or (name == "cell" and not all(isinstance(value, str) for value in options)):
            raise JaxrnnError(f"a user-defined {name} can't be swept; sweep built-in ones, or use it for all")
    count = math.prod(map(len, grid.values()))
    if count > _MAX_COMBINATIONS:
        raise JaxrnnError(f"these values combine to {count:,} models; the maximum is {_MAX_COMBINATIONS:,}")
    members: dict[str, TrainConfig] = {}
    names: dict[TrainConfig, str] = {}
    for values in itertools.product(*grid.values()):
        member = with_settings(config, dict(zip(grid, values, strict=True)))
        name = ",".join(f"{axis}={value_of(member, axis)}" for axis in grid) or "run"
        if name in members:
            raise JaxrnnError(f"{name} is listed twice; leave one of them out")
        if (other := names.setdefault(_effective(member), name)) != name:
            raise JaxrnnError(f"{other} and {name} are the same run, as they differ in unused settings; leave one out")
        members[name] = member
    return members


def value_of(config: TrainConfig, setting: str) -> Any:
    """Return the value of a setting, by the name of its flag."""
    return operator.attrgetter(SETTINGS[setting])(config)


def with_settings(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration with other values of some settings, by the names of their flags.

    Example:
        >>> with_settings(TrainConfig(), {"hidden_size": 8, "optimizer": "adam"}).optimizer.name
        'adam'
    """
    parts: dict[str, dict[str, Any]] = {"": {}, "model": {}, "optimizer": {}}
    for setting, value in values.items():
        if setting not in SETTINGS:
            raise JaxrnnError(
                f"no such setting: {setting}; {did_you_mean(setting, SETTINGS, 'they are named as flags')}"
            )
        part, _, name = SETTINGS[setting].rpartition(".")
        parts[part][name] = value
    return replace(
        config,
        **parts[""],
        model=replace(config.model, **parts["model"]),
        optimizer=replace(config.optimizer, **parts["optimizer"]),
    )


def _effective(config: TrainConfig) -> TrainConfig:
    """Return the configuration with its unused settings at their defaults: equal ones are the same run."""
    model, optimizer = config.model, config.optimizer
    if model.init == "fan_in":
        model = replace(model, init_scale=1.0)
    model = replace(model, dropout=model.output_rates[0], output_dropout=model.output_rates[-1])
    if optimizer.name == "custom":
        return replace(config, model=model)
    uses = {
        "momentum": optimizer.name == "sgd",
        "rms_decay": optimizer.name == "rmsprop",
        "beta1": optimizer.name in ("adam", "adamw"),
        "beta2": optimizer.name in ("adam", "adamw"),
        "clip_value": optimizer.clip != "none",
        "final_fraction": optimizer.schedule == "cosine",
        **dict.fromkeys(("decay_from", "decay_every", "decay_rate"), optimizer.schedule == "exponential"),
    }
    values = {name: getattr(OptimizerConfig(), name) for name, is_used in uses.items() if not is_used}
    values |= {"learning_rate": optimizer.peak_learning_rate, "weight_decay": optimizer.decay}
    if optimizer.name == "adamw":
        values["name"] = "adam"  # which differs only in its default weight decay
    return replace(config, model=model, optimizer=replace(optimizer, **values))

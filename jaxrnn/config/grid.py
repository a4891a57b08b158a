"""Lists of values, and the configurations that they combine to."""

import dataclasses
import itertools
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError

Axes = Mapping[str, Iterable[Any]]  # values by the name of a setting

_MOST = 10_000  # combinations


_PARTS = ("model", "optimizer")


def _paths() -> dict[str, str]:
    """Return where each setting stands in a TrainConfig, by the name of its flag."""
    return {
        **{field.name: field.name for field in dataclasses.fields(TrainConfig) if field.name not in _PARTS},
        **{field.name: f"model.{field.name}" for field in dataclasses.fields(ModelConfig)},
        **{field.name: f"optimizer.{field.name}" for field in dataclasses.fields(OptimizerConfig)},
        "optimizer": "optimizer.name",
    }


_OF_TRAINING = ("sequence_length", "batch_size", "steps", "seed")
SETTINGS = {name: path for name, path in _paths().items() if name != "name"}
SWEEPABLE = {
    name: path
    for name, path in SETTINGS.items()
    if name in _OF_TRAINING or ("." in path and name not in ("dtype", "vocab_size"))
}


def combinations(config: TrainConfig, axes: Axes) -> dict[str, TrainConfig]:
    """Return a configuration for each combination of values, by a name that says them; the last axis changes fastest.

    Example:
        >>> list(combinations(TrainConfig(), {"learning_rate": [0.03, 0.1], "seed": range(1)}))
        ['learning_rate=0.03,seed=0', 'learning_rate=0.1,seed=0']

    Args:
        config: gives everything that is not swept.
        axes: values by the name of a setting, which is that of its flag: numbers of the optimizer ("optimizer" is its
            rule), of the network, "seed", "batch_size", "sequence_length", "steps".

    Raises:
        JaxrnnError: a setting can't be swept, a value is out of its range, or two combinations are the same run.
    """
    values = {name: list(several) for name, several in axes.items()}
    for name, several in values.items():
        if name not in SWEEPABLE:
            raise JaxrnnError(f"{name} can't be swept; what can: {', '.join(SWEEPABLE)}")
        if not several:
            raise JaxrnnError(f"{name} has no values to sweep; give one at least")
        if "custom" in several or (name == "cell" and not all(isinstance(value, str) for value in several)):
            raise JaxrnnError(f"a user-defined {name} can't be swept; sweep built-in ones, or use it for all")
    count = math.prod(map(len, values.values()))
    if count > _MOST:
        raise JaxrnnError(f"these values combine to {count:,} models; give values for {_MOST:,} at most")
    members: dict[str, TrainConfig] = {}
    same: dict[TrainConfig, str] = {}
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        member = with_settings(config, chosen)
        name = ",".join(f"{axis}={value_of(member, axis)}" for axis in chosen) or "run"
        if name in members:
            raise JaxrnnError(f"{name} is listed twice; leave one of them out")
        if (other := same.setdefault(_in_effect(member), name)) != name:
            raise JaxrnnError(
                f"{other} and {name} are one and the same run, as what differs has no effect there; leave one out"
            )
        members[name] = member
    return members


def value_of(config: TrainConfig, axis: str) -> Any:
    """Return the value of a setting, by its name in an axis."""
    return operator.attrgetter(SWEEPABLE[axis])(config)


def with_settings(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration with other values, by the names of their flags.

    Example:
        >>> with_settings(TrainConfig(), {"hidden_size": 8, "optimizer": "adam"}).optimizer.name
        'adam'
    """
    parts: dict[str, dict[str, Any]] = {"": {}, "model": {}, "optimizer": {}}
    for setting, value in values.items():
        part, _, name = SETTINGS[setting].rpartition(".")
        parts[part][name] = value
    return dataclasses.replace(
        config,
        **parts[""],
        model=dataclasses.replace(config.model, **parts["model"]),
        optimizer=dataclasses.replace(config.optimizer, **parts["optimizer"]),
    )


def _in_effect(config: TrainConfig) -> TrainConfig:
    """Return the configuration with nothing in it that changes nothing: two of the same are the same run."""
    model, optimizer = config.model, config.optimizer
    if optimizer.name == "custom":
        return config
    unused = {
        "momentum": optimizer.name != "sgd",
        "rms_decay": optimizer.name != "rmsprop",
        "beta1": optimizer.name not in ("adam", "adamw"),
        "beta2": optimizer.name not in ("adam", "adamw"),
        "clip_value": optimizer.clip == "none",
        "final_fraction": optimizer.schedule != "cosine",
        **dict.fromkeys(("decay_from", "decay_every", "decay_rate"), optimizer.schedule != "exponential"),
    }
    used = {name: getattr(OptimizerConfig(), name) for name, is_unused in unused.items() if is_unused}
    rate, decay = optimizer.peak_learning_rate, optimizer.decay
    name = "adam" if optimizer.name == "adamw" else optimizer.name  # which differ in their usual weight decay alone
    return dataclasses.replace(
        config,
        optimizer=dataclasses.replace(optimizer, name=name, learning_rate=rate, weight_decay=decay, **used),
        model=dataclasses.replace(model, init_scale=1.0) if model.init == "fan_in" else model,
    )

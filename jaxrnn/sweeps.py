"""Many models in one program: what lists of settings combine to, and a training chunk for all that share shapes."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.text import Batch, Tokens, batches
from jaxrnn.training import Metrics, TrainState, init_train_state, train_chunk

Axes = Mapping[str, Iterable[Any]]
SweepChunk = Callable[[Sequence[TrainState], Batch], tuple[list[TrainState], list[Metrics]]]

_MOST = 10_000  # members of a sweep
# What the program takes as arguments; every other setting is a part of it, but for those of the initial state.
_ARGUMENTS = (
    *("learning_rate", "clip_value", "momentum", "rms_decay", "beta1", "beta2"),
    *("weight_decay", "final_fraction", "decay_rate"),
)


def _sweepable() -> dict[str, str]:
    """Return what can be swept, by the name of its flag: where it stands in a TrainConfig."""
    model = [field.name for field in dataclasses.fields(ModelConfig) if field.name not in ("dtype", "vocab_size")]
    optimizer = [field.name for field in dataclasses.fields(OptimizerConfig) if field.name != "name"]
    return {
        **{name: name for name in ("sequence_length", "batch_size", "steps", "seed")},
        **{name: f"model.{name}" for name in model},
        "optimizer": "optimizer.name",
        **{name: f"optimizer.{name}" for name in optimizer},
    }


SWEEPABLE = _sweepable()


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
        if name == "cell" and not all(isinstance(value, str) for value in several):
            raise JaxrnnError("a cell of your own can't be one of several; sweep names of cells, or give it to all")
    count = int(np.prod([len(several) for several in values.values()], dtype=object))
    if count > _MOST:
        raise JaxrnnError(f"these values combine to {count:,} models; give values for {_MOST:,} at most")
    members: dict[str, TrainConfig] = {}
    same: dict[TrainConfig, str] = {}
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        member = _with(config, chosen)
        name = ",".join(f"{axis}={getattr_path(member, SWEEPABLE[axis])}" for axis in chosen) or "run"
        if name in members:
            raise JaxrnnError(f"{name} is listed twice; leave one of them out")
        if (other := same.setdefault(_in_effect(member), name)) != name:
            raise JaxrnnError(
                f"{other} and {name} are one and the same run, as what differs has no effect there; leave one out"
            )
        members[name] = member
    return members


def getattr_path(config: Any, path: str) -> Any:
    """Return what stands at a path such as model.hidden_size."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _with(config: TrainConfig, chosen: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration with other values, by the names of their flags."""
    parts: dict[str, dict[str, Any]] = {"": {}, "model": {}, "optimizer": {}}
    for axis, value in chosen.items():
        part, _, name = SWEEPABLE[axis].rpartition(".")
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


def program_of(config: TrainConfig) -> TrainConfig:
    """Return what the program of a member is made of: members of which it is the same train together."""
    optimizer = config.optimizer
    arguments = {name: getattr(OptimizerConfig(), name) for name in _ARGUMENTS}
    arguments |= {"learning_rate": 1.0, "weight_decay": 1.0 if optimizer.decays else 0.0}
    return dataclasses.replace(
        config,
        seed=0,
        model=dataclasses.replace(config.model, init="normal", init_scale=1.0),
        optimizer=dataclasses.replace(optimizer, **arguments),
    )


def groups(members: Mapping[str, TrainConfig]) -> list[list[str]]:
    """Return the names of the members that train together, group after group."""
    by_program: dict[TrainConfig, list[str]] = {}
    for name, config in members.items():
        by_program.setdefault(program_of(config), []).append(name)
    return list(by_program.values())


def init_members(configs: Sequence[TrainConfig]) -> list[TrainState]:
    """Return the states before the first step, each as `init_train_state` makes it of a key from the member's seed."""

    @partial(jax.jit, static_argnames="config")
    def init(seed: jax.typing.ArrayLike, config: TrainConfig) -> TrainState:
        return init_train_state(jax.random.key(seed), config)

    return [
        init(np.uint32(config.seed), dataclasses.replace(program_of(config), model=config.model)) for config in configs
    ]


def make_sweep_chunk(configs: Sequence[TrainConfig]) -> SweepChunk:
    """Return the chunk of many models, (their states, batches) -> (their states, their metrics [K]).

    It is the pure training chunk, vmapped over states and numbers of the optimizer; one compilation for all. On a CPU
    `lax.map` stands for `vmap`, and a thread for each core trains its part of the models: XLA's product of many small
    matrices is no faster there than one after the other, and so each model has the very bits of its run alone.

    Args:
        configs: the members, of one group.
    """
    on_cpu = jax.default_backend() == "cpu"
    size = -(-len(configs) // (_cores() if on_cpu else 1))
    # Every part has the same size, or there would be two programs; the last member stands in for what is missing.
    parts = [range(begin, begin + size) for begin in range(0, len(configs), size)]
    places = [[min(place, len(configs) - 1) for place in part] for part in parts]
    arguments = _arguments(configs)
    pool = ThreadPoolExecutor(len(parts)) if len(parts) > 1 else None
    compiled = set()

    @jax.jit
    def chunk(
        states: tuple[TrainState, ...], arguments: dict[str, jax.Array], batches: Batch
    ) -> tuple[tuple[TrainState, ...], tuple[Metrics, ...]]:
        def member(one: tuple[TrainState, dict[str, Any]]) -> tuple[TrainState, Metrics]:
            state, values = one
            optimizer = dataclasses.replace(configs[0].optimizer, **values)
            return train_chunk(state, batches, dataclasses.replace(configs[0], optimizer=optimizer))

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        many = lax.platform_dependent((stacked, arguments), cpu=partial(lax.map, member), default=jax.vmap(member))
        after, metrics = (tuple(jax.tree.map(lambda leaf, k=k: leaf[k], part) for k in range(size)) for part in many)
        return after, metrics

    def train(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        def part(places: list[int]) -> tuple[Any, Any]:
            chosen = {name: values[places] for name, values in arguments.items()}
            return jax.block_until_ready(chunk(tuple(states[place] for place in places), chosen, batches))

        length = len(batches.reset)
        # The first time one after the other: both would compile it.
        done = list(map(part, places)) if pool is None or length not in compiled else list(pool.map(part, places))
        compiled.add(length)
        count = len(configs)
        after, metrics = (list(itertools.chain(*(part[which] for part in done)))[:count] for which in (0, 1))
        return after, metrics

    return train


def _arguments(configs: Sequence[TrainConfig]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the numbers of the optimizer that differ, [N]; those that don't stay constants of the program."""
    dtype = np.dtype(configs[0].model.dtype)
    found = {
        name: [
            getattr(config.optimizer, {"learning_rate": "peak_learning_rate", "weight_decay": "decay"}.get(name, name))
            for config in configs
        ]
        for name in _ARGUMENTS
    }
    return {name: np.asarray(values, dtype) for name, values in found.items() if len(set(values)) > 1}


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sweep(config: TrainConfig, axes: Axes, tokens: Tokens) -> dict[str, tuple[TrainState, Metrics]]:
    """Train a model for each combination of values, and return their last states and their metrics [steps], by name.

    A few lines on top of the training chunk; `fit_many` also reports, samples, validates and keeps run directories.

    Example:
        >>> tokens = np.arange(200) % 7
        >>> config = TrainConfig(model=ModelConfig(hidden_size=4, vocab_size=7), steps=20)
        >>> {name: metrics.loss.shape for name, (_, metrics) in sweep(config, {"seed": [0, 1]}, tokens).items()}
        {'seed=0': (20,), 'seed=1': (20,)}

    Args:
        config: gives everything that is not swept; `model.vocab_size` must be set.
        axes: values by the name of a setting, as `combinations` takes them.
        tokens: int [N], the encoded text.
    """
    members = combinations(config, axes)
    results: dict[str, tuple[TrainState, Metrics]] = {}
    for names in groups(members):
        configs = [members[name] for name in names]
        chunk, states, losses = make_sweep_chunk(configs), init_members(configs), []
        for step in range(0, configs[0].steps, configs[0].chunk_length):
            num_steps = min(configs[0].chunk_length, configs[0].steps - step)
            states, metrics = chunk(states, batches(tokens, step, num_steps, configs[0]))
            losses.append(jax.device_get(metrics))
        whole = [
            jax.tree.map(lambda *parts: np.concatenate(parts), *of_member) for of_member in zip(*losses, strict=True)
        ]
        results |= dict(zip(names, zip(states, whole, strict=True), strict=True))
    return {name: results[name] for name in members}

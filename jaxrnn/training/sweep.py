"""Many models in one program: which ones share it, and the training chunk of all of them."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.config import OptimizerConfig, TrainConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.config.grid import Axes, combinations
from jaxrnn.distributed.cores import available_cores
from jaxrnn.text import Batch, Tokens, batches
from jaxrnn.text.vocabulary import check_tokens
from jaxrnn.training.step import Metrics, TrainState, init_train_state, train_chunk

SweepChunk = Callable[[Sequence[TrainState], Batch], tuple[list[TrainState], list[Metrics]]]

# Settings that the program takes as arguments; all others but those of the initial state are compiled in. That includes
# beta1, beta2, rms_decay and final_fraction: optax subtracts them from 1, exactly in Python but not in float32.
_ARGUMENTS = {name: name for name in ("clip_value", "momentum", "decay_rate")}  # by name, the attribute with its value
_ARGUMENTS |= {"learning_rate": "peak_learning_rate", "weight_decay": "decay"}


def program_of(config: TrainConfig) -> TrainConfig:
    """Return the configuration that a member's program is compiled for: members that share it train together."""
    optimizer = config.optimizer
    arguments = {name: getattr(OptimizerConfig(), name) for name in _ARGUMENTS}
    arguments |= {"learning_rate": 1.0, "weight_decay": 1.0 if optimizer.decays else 0.0}
    return dataclasses.replace(
        config,
        seed=0,
        model=dataclasses.replace(config.model, init="normal", init_scale=1.0),
        optimizer=dataclasses.replace(optimizer, **arguments),
    )


def group_by_program(members: Mapping[str, TrainConfig]) -> list[list[str]]:
    """Return the names of the members that one program trains, group after group."""
    by_program: dict[TrainConfig, list[str]] = {}
    for name, config in members.items():
        by_program.setdefault(program_of(config), []).append(name)
    return list(by_program.values())


def init_members(configs: Sequence[TrainConfig]) -> list[TrainState]:
    """Return the states before the first step, each from `init_train_state` with the member's seed."""
    return [
        init_train_state(
            jax.random.key(np.uint32(config.seed)), dataclasses.replace(program_of(config), model=config.model)
        )
        for config in configs
    ]


def train_chunk_of_many(
    states: TrainState, arguments: Mapping[str, jax.Array], batches: Batch, config: TrainConfig
) -> tuple[TrainState, Metrics]:
    """Train N models on K batches: `train_chunk`, vmapped over their states and over numbers of their optimizers.

    On a CPU `lax.map` replaces `vmap`: a product of many small matrices is no faster there than one after the other,
    and each model has the same bits as in a run of its own.

    Every leaf of the states, before and after, has a leading axis N. The arguments are [N] each, by the name of a field
    of `OptimizerConfig`; the batches are the same for all models, and the metrics [N, K].
    """

    def member(one: tuple[TrainState, dict[str, Any]]) -> tuple[TrainState, Metrics]:
        state, values = one
        optimizer = dataclasses.replace(config.optimizer, **values)
        return train_chunk(state, batches, dataclasses.replace(config, optimizer=optimizer))

    return lax.platform_dependent((states, arguments), cpu=partial(lax.map, member), default=jax.vmap(member))


def make_sweep_chunk(configs: Sequence[TrainConfig]) -> SweepChunk:
    """Return the compiled chunk of many models, (their states, batches) -> (their states, their metrics [K]).

    On a CPU, where a model keeps one core busy, one thread per core trains its part of the models. States are not
    stacked and not donated. The members are of one group.
    """
    is_cpu, arguments = jax.default_backend() == "cpu", _arguments(configs)
    threads = available_cores() if is_cpu else 1
    pool = ThreadPoolExecutor(threads)
    compiled: dict[int, Any] = {}

    def parts_of(size: int) -> list[tuple[np.ndarray, dict[str, jax.Array]]]:
        """Return the members of each part, int [size], and their arguments."""
        # All parts have one size, and so one program; the last one repeats the last member.
        parts = np.minimum(np.arange(0, len(configs), size)[:, None] + np.arange(size), len(configs) - 1)
        return [(part, {name: jnp.asarray(values[part]) for name, values in arguments.items()}) for part in parts]

    by_thread = parts_of(-(-len(configs) // threads))
    # XLA removes a loop over one step, and then compiles its body differently inside a loop over members than alone.
    of_one_step = parts_of(1) if is_cpu else by_thread

    @jax.jit
    def chunk(states: tuple[TrainState, ...], arguments: dict[str, jax.Array], batches: Batch) -> Any:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        many = train_chunk_of_many(stacked, arguments, batches, configs[0])
        return [jax.tree.map(lambda leaf, k=k: leaf[k], many) for k in range(len(states))]

    def train(states: Sequence[TrainState], batches: Batch) -> tuple[list[TrainState], list[Metrics]]:
        batches = jax.device_put(batches)
        length = len(batches.reset)
        parts = of_one_step if length == 1 else by_thread
        inputs = [(tuple(states[member] for member in part), own, batches) for part, own in parts]
        if length not in compiled:  # in this thread, as JAX's settings may be thread-local
            compiled[length] = chunk.lower(*inputs[0]).compile()
        results = pool.map(lambda part: jax.block_until_ready(compiled[length](*part)), inputs)
        after, metrics = zip(*itertools.islice(itertools.chain(*results), len(configs)), strict=True)
        return list(after), list(metrics)

    return train


def _arguments(configs: Sequence[TrainConfig]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the optimizer settings that differ between members, [N] each; equal ones stay constants of the program."""
    dtype = np.dtype(configs[0].model.dtype)
    members = {name: [getattr(config.optimizer, value) for config in configs] for name, value in _ARGUMENTS.items()}
    return {name: np.asarray(values, dtype) for name, values in members.items() if len(set(values)) > 1}


def sweep(config: TrainConfig, axes: Axes, tokens: Tokens) -> dict[str, tuple[TrainState, Metrics]]:
    """Train a model for each combination of values, and return their last states and their metrics [steps], by name.

    `axes` maps the name of a setting to its values, as for `combinations`; `config` gives everything else, and its
    `model.vocab_size` must be set. The text is int [N]. `fit_many` also reports, samples, validates and keeps run
    directories.

    Example:
        >>> tokens = np.arange(200) % 7
        >>> from jaxrnn.config import ModelConfig
        >>> config = TrainConfig(model=ModelConfig(hidden_size=4, vocab_size=7), steps=20)
        >>> {name: metrics.loss.shape for name, (_, metrics) in sweep(config, {"seed": [0, 1]}, tokens).items()}
        {'seed=0': (20,), 'seed=1': (20,)}
    """
    check_arguments(sweep, locals())
    check_tokens(tokens, config.model.vocab_size)
    members = combinations(config, axes)
    results: dict[str, tuple[TrainState, Metrics]] = {}
    for names in group_by_program(members):
        configs = [members[name] for name in names]
        chunk, states, losses = make_sweep_chunk(configs), init_members(configs), []
        for step in range(0, configs[0].steps, configs[0].chunk_length):
            num_steps = min(configs[0].chunk_length, configs[0].steps - step)
            states, metrics = chunk(states, batches(tokens, step, num_steps, configs[0]))
            losses.append(jax.device_get(metrics))
        for name, state, parts in zip(names, states, zip(*losses, strict=True), strict=True):
            results[name] = state, jax.tree.map(lambda *values: np.concatenate(values), *parts)
    return {name: results[name] for name in members}

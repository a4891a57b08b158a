"""The programs of a training run: compiled side by side, before they are first called."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig
from jaxrnn.distributed.mesh import on_one, whole
from jaxrnn.evaluation.score import default_lanes, score, window_length
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.network.model import initial_carry
from jaxrnn.runs.material import Material
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Batch, Tokens, position
from jaxrnn.training.step import (
    Loss,
    Metrics,
    TrainState,
    batch_sharding,
    init_train_state,
    make_train_chunk,
    state_sharding,
)

TrainChunk = Callable[[TrainState, Batch], tuple[TrainState, Metrics, jax.Array]]


class SampleStart(NamedTuple):
    """What a sample goes on from.

    Attributes:
        prime: int32 [P, 1].
        new: bool [], whether the carry before it is the initial one, not that of training.
        before: int32 [k - 1, 1], what stands before `prime`, where there are documents; else None.
    """

    prime: Any
    new: Any
    before: Any


# The state to begin from, the training chunk, and what draws a sample of (state, SampleStart).
Programs = tuple[TrainState, TrainChunk, Callable[..., jax.Array]]


def prepare_programs(
    config: TrainConfig,
    material: Material,
    saved: TrainState | None,
    step: int,
    next_step: int,
    loss: Loss = cross_entropy,
    mesh: Mesh | None = None,
) -> Programs:
    """Return the state to begin from, the training chunk, and the function that draws a sample.

    The chunk returns the state, what was measured, and whether all numbers of the state are finite.

    What they call first is compiled here, side by side: when each is first called, one after the other, takes longer.
    With a mesh the state lies on it; a sample is drawn by one device, of what `on_one` gives of the state.
    """
    placed, placed_chunk = _placed(mesh) if mesh else ({}, {})
    init = jax.jit(partial(init_state, config=config), **placed)
    chunk = make_train_chunk(config, loss, mesh)
    train_chunk: Any = jax.jit(partial(_train_chunk, chunk=chunk), donate_argnums=0, **placed_chunk)
    draw_sample: Any = make_sampler(config, material)
    seed = np.uint32(config.seed)
    state = jax.eval_shape(init, seed)
    with ThreadPoolExecutor() as pool:  # what fails here fails again, and is heard, when it is called
        if not saved:
            pool.submit(init.lower(seed).compile)
        if step < config.steps:
            pool.submit(train_chunk.lower(state, material.batches(step, next_step - step, config, mesh)).compile)
        at_end = not config.sample_every
        if mesh:
            own = dataclasses.replace(config, batch_size=config.batch_size // mesh.size)
            state = jax.eval_shape(partial(init_state, config=own), seed)
        if jax.process_index() == 0:
            pool.submit(draw_sample.lower(state, sample_start(config, material, step, at_end)).compile)
        if material.validation and not mesh:
            pool.submit(_lowered_score(state, len(material.validation.tokens), config).compile)
        if saved and mesh:
            saved = spread(saved, mesh)
        return saved or init(seed), train_chunk, draw_sample


def _placed(mesh: Mesh) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where on a mesh lies what the initial state's program and the training chunk take and return."""
    state, everywhere = state_sharding(mesh), whole(mesh)
    chunk = {
        "in_shardings": (state, batch_sharding(mesh, 2)),
        "out_shardings": (state, everywhere, everywhere),
    }
    return {"out_shardings": state}, chunk


def spread(state: TrainState, mesh: Mesh) -> TrainState:
    """Return a state that lies on one device on a mesh instead; each process has the same."""
    # As NumPy arrays, which belong to no device; a key becomes one of those by its data.
    plain = jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))

    def with_key(state: TrainState) -> TrainState:
        return state._replace(key=jax.random.wrap_key_data(state.key))

    return jax.jit(with_key, out_shardings=state_sharding(mesh))(plain)


def gathered(state: TrainState, mesh: Mesh | None) -> TrainState:
    """Return a state on one device of each process; they all have to ask for it."""
    return on_one(jax.jit(lambda state: state, out_shardings=whole(mesh))(state)) if mesh else state


def make_sampler(config: TrainConfig, material: Material) -> Callable[..., jax.Array]:
    """Return the jitted function that draws a sample of (state, SampleStart)."""
    separator = material.separator if len(material.separator) else None
    return jax.jit(partial(_draw_sample, config=config, separator=separator))


def _train_chunk(
    state: TrainState, batches: Batch, chunk: Callable[..., tuple[TrainState, Metrics]]
) -> tuple[TrainState, Metrics, jax.Array]:
    state, metrics = chunk(state, batches)
    return state, metrics, all_finite(state)


def all_finite(state: TrainState) -> jax.Array:
    """Return whether the parameters, the optimizer's memory and the carry hold finite numbers only, bool []."""
    leaves = jax.tree.leaves((state.params, state.opt_state, state.carry))
    numbers = jnp.concatenate([leaf.ravel() for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)])
    # 0 times infinity or NaN is NaN. One product compiles 0.1 s sooner than a reduction of what isfinite says of each.
    return jnp.isfinite(jnp.vdot(numbers, jnp.zeros_like(numbers)))


def _lowered_score(state: TrainState, count: int, config: TrainConfig) -> Any:
    lanes = default_lanes(count - 1)
    shape = window_length(lanes, config.model), lanes
    batch = Batch(np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.asarray(False), np.zeros(shape, np.bool_))
    return score.lower(state.params, initial_carry(config.model, lanes), batch, config.model)


def init_state(seed: jax.typing.ArrayLike, config: TrainConfig) -> TrainState:
    """Return the state before the first step."""
    return init_train_state(jax.random.key(seed), config)


def sample_start(config: TrainConfig, material: Material, step: int, at_end: bool) -> SampleStart:
    """Return what a sample after `step` steps goes on from: the prompt at the end, else the next character of the text.

    Where there are documents, the prompt begins one: the separator's last symbol stands before it.
    """
    separator, text = material.separator, material.train.tokens

    def column(tokens: Tokens) -> np.ndarray[Any, np.dtype[np.int32]]:
        return tokens.astype(np.int32)[:, None]

    if config.prompt and at_end:
        prompt = material.corpus.vocabulary.encode(config.prompt)
        prime = np.concatenate([separator[-1:], prompt])
        return SampleStart(column(prime), np.asarray(True), column(separator[:-1]) if len(separator) else None)
    batch = material.batches(step, 1, config)
    before = None
    if len(separator):
        tail = len(separator) - 1
        place = position(len(text), step, config)
        read = text[max(0, place - tail) : place].astype(np.int32)  # -1 is no symbol: nothing stands there
        before = column(np.concatenate([np.full(tail, -1), read])[len(read) :])
    return SampleStart(batch.inputs[0, :1, :1], batch.reset[0], before)


def _draw_sample(
    state: TrainState, start: SampleStart, config: TrainConfig, separator: Tokens | None
) -> jax.Array:  # fmt: skip
    """Return what the network writes now, before the update of the next step: tokens [sample_length]."""
    initial = initial_carry(config.model, 1)
    carry = jax.tree.map(lambda new, entry: jnp.where(start.new, new, entry[:1]), initial, state.carry)
    key = jax.random.fold_in(state.key, state.step)
    tokens, _ = sample(
        key,
        state.params,
        carry,
        start.prime,
        config.model,
        length=config.sample_length,
        separator=None if separator is None else jnp.asarray(separator, jnp.int32),
        before=start.before,
    )
    return tokens[:, 0]

"""The programs of a training run, which are compiled at the same time before the first call of each."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, on_first_device
from jaxrnn.evaluation.score import default_lanes, score, window_length
from jaxrnn.network.model import initial_carry
from jaxrnn.runs.data import RunData
from jaxrnn.runs.trainer import Run, WriteSample
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Batch, Tokens
from jaxrnn.text.batch import position
from jaxrnn.training.step import (
    CHUNK_LANES,
    STATE_LANES,
    Metrics,
    Optimizer,
    TrainState,
    init_train_state,
    make_train_chunk,
)

TrainChunk = Callable[[TrainState, Batch], tuple[TrainState, Metrics, jax.Array]]


class Programs(NamedTuple):
    """What the training loop needs.

    Attributes:
        state: the state to begin or resume from, on the mesh if there is one.
        train_chunk: trains on K batches; returns the state, the metrics [K], and whether the state is finite.
        write_sample: writes a sample.
    """

    state: TrainState
    train_chunk: TrainChunk
    write_sample: WriteSample


def prepare_programs(run: Run, next_step: int) -> Programs:
    """Return the programs of a run whose first chunk ends with `next_step`.

    Those that it calls first are compiled here, each in a thread: one after the other takes longer.
    """
    config, mesh, saved = run.config, run.mesh, run.checkpoint and run.checkpoint.state
    placed, placed_chunk = _placed(mesh) if mesh else ({}, {})
    init = jax.jit(partial(init_state, config=config, optimizer=run.optimizer), **placed)
    chunk = make_train_chunk(config, loss=run.loss, optimizer=run.optimizer, mesh=mesh)
    train_chunk: Any = jax.jit(partial(_train_chunk, chunk=chunk), donate_argnums=0, **placed_chunk)
    sampler = Sampler(config, run.data, mesh)
    with ThreadPoolExecutor() as pool:
        for lowered in _first_programs(run, next_step, init, train_chunk, sampler):
            pool.submit(lowered.compile)  # an error here is raised again by the call
        state = init(np.uint32(config.seed)) if saved is None else spread(saved, mesh) if mesh else saved
        return Programs(state, train_chunk, sampler.write)


def _first_programs(run: Run, next_step: int, init: Any, train_chunk: Any, sampler: "Sampler") -> Iterator[Any]:
    """Lower the programs that a run calls first."""
    config, data, mesh, step = run.config, run.data, run.mesh, run.first_step
    seed = np.uint32(config.seed)
    state = jax.eval_shape(init, seed)
    if not run.checkpoint:
        yield init.lower(seed)
    if step < config.steps:
        yield train_chunk.lower(state, data.batches(step, next_step - step, config, mesh))
    if mesh:  # one device draws samples, from its own lanes
        own = dataclasses.replace(config, batch_size=config.batch_size // mesh.size)
        state = jax.eval_shape(partial(init_state, config=own, optimizer=run.optimizer), seed)
    if jax.process_index() == 0:
        yield sampler.draw.lower(state, sampler.start(step, at_end=not config.sample_every))
    if data.validation and not mesh:
        yield _lowered_score(state, len(data.validation.tokens), config)


def _placed(mesh: Mesh) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where on a mesh lies what the initial state's program and the training chunk take and return."""
    state, everywhere = by_lanes(mesh, STATE_LANES), by_lanes(mesh, NO_LANES)
    chunk = {
        "in_shardings": (state, by_lanes(mesh, CHUNK_LANES)),
        "out_shardings": (state, everywhere, everywhere),
    }
    return {"out_shardings": state}, chunk


def spread(state: TrainState, mesh: Mesh) -> TrainState:
    """Return a state that lies on one device on a mesh instead; each process has the same."""
    # As NumPy arrays, which belong to no device; a key becomes one of those by its data.
    plain = jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))

    def with_key(state: TrainState) -> TrainState:
        return state._replace(key=jax.random.wrap_key_data(state.key))

    return jax.jit(with_key, out_shardings=by_lanes(mesh, STATE_LANES))(plain)


def _train_chunk(
    state: TrainState, batches: Batch, chunk: Callable[..., tuple[TrainState, Metrics]]
) -> tuple[TrainState, Metrics, jax.Array]:
    state, metrics = chunk(state, batches)
    return state, metrics, all_finite(state)


def all_finite(state: TrainState) -> jax.Array:
    """Return whether the parameters, the optimizer's state and the carry hold finite numbers only, bool []."""
    leaves = jax.tree.leaves((state.params, state.opt_state, state.carry))
    numbers = jnp.concatenate([leaf.ravel() for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)])
    # 0 times infinity or NaN is NaN. One product compiles 0.1 s faster than isfinite and a reduction of each leaf.
    return jnp.isfinite(jnp.vdot(numbers, jnp.zeros_like(numbers)))


def _lowered_score(state: TrainState, count: int, config: TrainConfig) -> Any:
    lanes = default_lanes(count - 1)
    shape = window_length(lanes, config.model), lanes
    batch = Batch(np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.asarray(False), np.zeros(shape, np.bool_))
    return score.lower(state.params, initial_carry(lanes, config.model), batch, config.model)


def init_state(seed: jax.typing.ArrayLike, config: TrainConfig, optimizer: Optimizer | None) -> TrainState:
    """Return the state before the first step."""
    return init_train_state(jax.random.key(seed), config, optimizer=optimizer)


class SampleStart(NamedTuple):
    """What a sample starts from.

    Attributes:
        prime: int32 [P, 1], the tokens to read first.
        new: bool [], whether the carry before them is the initial one, not that of training.
        before: int32 [k - 1, 1], the tokens before `prime`, where there are documents; else None.
    """

    prime: Any
    new: Any
    before: Any


class Sampler:
    """Writes the samples of a run.

    Attributes:
        draw: the jitted function that draws tokens [sample_length] of (state, SampleStart).
    """

    def __init__(self, config: TrainConfig, data: RunData, mesh: Mesh | None = None) -> None:
        """Compile nothing yet."""
        self._config, self._data, self._mesh = config, data, mesh
        separator = data.separator if len(data.separator) else None
        self.draw: Any = jax.jit(partial(_draw_sample, config=config, separator=separator))

    def write(self, state: TrainState, step: int, at_end: bool) -> str | None:
        """Return a sample after `step` steps; at the end of the run with its prompt. Of many processes one writes."""
        if jax.process_index() != 0:
            return None
        start = self.start(step, at_end)
        tokens = np.asarray(self.draw(on_first_device(state) if self._mesh else state, start))
        if self._config.prompt and at_end:
            tokens = np.concatenate([start.prime[len(self._data.separator[-1:]) :, 0], tokens])
        return self._data.corpus.vocabulary.decode(tokens)

    def start(self, step: int, at_end: bool) -> SampleStart:
        """Return what a sample starts from: at the end the prompt, if there is one; else the next character.

        Where there are documents, the prompt begins one: the separator's last symbol stands before it.
        """
        config, data, separator = self._config, self._data, self._data.separator
        if config.prompt and at_end:
            prompt = data.corpus.vocabulary.encode(config.prompt)
            prime = np.concatenate([separator[-1:], prompt])
            return SampleStart(_column(prime), np.asarray(True), _column(separator[:-1]) if len(separator) else None)
        batch, before = data.batches(step, 1, config), None
        if len(separator):
            text, length = data.train.tokens, len(separator) - 1
            end = position(len(text), step, config)
            tail = text[max(0, end - length) : end].astype(np.int32)
            before = _column(np.concatenate([np.full(length - len(tail), -1), tail]))  # -1, no symbol: nothing there
        return SampleStart(batch.inputs[0, :1, :1], batch.reset[0], before)


def _column(tokens: Tokens) -> np.ndarray[Any, np.dtype[np.int32]]:
    return tokens.astype(np.int32)[:, None]


def _draw_sample(
    state: TrainState, start: SampleStart, config: TrainConfig, separator: Tokens | None
) -> jax.Array:  # fmt: skip
    """Return what the network writes now, before the update of the next step: tokens [sample_length]."""
    initial = initial_carry(1, config.model)
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

"""The programs of a training run, which are compiled at the same time, and the number of steps of its chunks."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, on_first_device
from jaxrnn.evaluation.score import default_lanes, score, window_length
from jaxrnn.network.cells import get_cell
from jaxrnn.network.model import initial_carry
from jaxrnn.runs.run import Run
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Batch
from jaxrnn.text.batch import position
from jaxrnn.training.jitted import CHUNK_LANES, STATE_LANES, make_train_chunk
from jaxrnn.training.step import Metrics, TrainState, init_train_state

TrainChunk = Callable[[TrainState, Batch], tuple[TrainState, Metrics, jax.Array]]
SECONDS = 2.0  # the most that a chunk of several steps should take: a run that is asked to stop finishes its chunk


def step_flops(config: TrainConfig) -> float:
    """Return the number of operations in a training step's matrix products, without the readout's if V is unknown."""
    model = config.model
    weights = get_cell(model.cell).gates * model.hidden_size**2 * (2 * model.num_layers - 1)
    weights += model.hidden_size * (model.vocab_size or 0)
    return 6.0 * weights * config.sequence_length * config.batch_size  # per weight: forward 2, backward 4


class ChunkLimit:
    """The largest number of steps in a chunk: `chunk_length`, or fewer if those would take too long.

    It is estimated from the size of the model, and lowered if a chunk takes much longer. Nothing that is trained
    depends on it: a chunk is a scan of the same step.

    Attributes:
        steps: the limit.
    """

    def __init__(self, config: TrainConfig, models: int = 1) -> None:
        """Estimate the seconds of a training step: its matrix products, and the cost of each time step."""
        rate = 5e10 if jax.default_backend() == "cpu" else 5e12
        seconds = step_flops(config) / rate + config.sequence_length * config.model.num_layers * 3e-6
        self.steps = max(1, min(config.chunk_length, int(SECONDS / (models * seconds))))
        self._config = config
        self._compiled: set[int] = set()  # lengths

    def next_step(self, step: int) -> int:
        """Return the step that the chunk after `step` ends with: at most the next one after which something is due.

        The steps until then are cut into chunks of nearly equal length, so that few lengths are compiled.
        """
        config = self._config
        intervals = (config.log_every, config.sample_every, config.checkpoint_every, config.validate_every)
        boundary = min(config.steps, *(step - step % every + every for every in intervals if every))
        count = math.ceil((boundary - step) / self.steps)
        return step + math.ceil((boundary - step) / count)

    def batches_after(self, step: int, run: Run) -> Batch:
        """Return the batches of the chunk that follows a step, on the run's mesh if it has one."""
        return run.batches(step, self.next_step(step) - step, run.mesh)

    def lower(self, steps: int, seconds: float) -> None:
        """Lower the limit if a chunk took too long; the first one of a length does not count, as it was compiled."""
        if steps in self._compiled and seconds > 2 * SECONDS and jax.process_count() == 1:  # others have the same limit
            self.steps = max(1, int(steps * SECONDS / seconds))
        self._compiled.add(steps)


def prepare_programs(run: Run, limit: ChunkLimit) -> tuple[TrainState, TrainChunk, "Sampler"]:
    """Return the state to begin or resume from, the jitted training chunk, and the sampler of a run.

    The chunk also returns whether the state is finite, bool []. Programs that are called first are compiled here, each
    in a thread: one after the other takes longer.
    """
    config, optimizer, mesh = run.config, run.optimizer, run.mesh
    chunk = make_train_chunk(config, loss=run.loss, optimizer=optimizer, mesh=mesh)

    @jax.jit
    def init(seed: jax.typing.ArrayLike) -> TrainState:
        return init_train_state(jax.random.key(seed), config, optimizer=optimizer)

    def train(state: TrainState, batches: Batch) -> tuple[TrainState, Metrics, jax.Array]:
        state, metrics = chunk(state, batches)
        return state, metrics, all_finite(state)

    shardings = {}
    if mesh:
        inputs, everywhere = by_lanes(mesh, (STATE_LANES, CHUNK_LANES)), by_lanes(mesh, NO_LANES)
        shardings = {"in_shardings": inputs, "out_shardings": (inputs[0], everywhere, everywhere)}
    train_chunk: Any = jax.jit(train, donate_argnums=0, **shardings)
    sampler = Sampler(run)
    with ThreadPoolExecutor() as pool:
        for lowered in _first_programs(run, limit, init, train_chunk, sampler):
            pool.submit(lowered.compile)  # an error here is raised again by the call
        state = run.checkpoint.state if run.checkpoint else init(np.uint32(config.seed))
        return spread(state, mesh) if mesh else state, train_chunk, sampler


def _first_programs(run: Run, limit: ChunkLimit, init: Any, train_chunk: Any, sampler: "Sampler") -> Iterator[Any]:
    """Lower the programs that a run calls first."""
    config, mesh, step = run.config, run.mesh, run.first_step
    state = jax.eval_shape(init, np.uint32(config.seed))
    if not run.checkpoint:
        yield init.lower(np.uint32(config.seed))
    if step < config.steps:
        yield train_chunk.lower(state, limit.batches_after(step, run))
    if jax.process_index() == 0:  # one device draws samples, from its own lanes
        own = partial(initial_carry, config.batch_size // (mesh.size if mesh else 1), config.model)
        start = sampler.start(step, at_end=config.sample_every == 0)
        yield sampler.draw.lower(state._replace(carry=jax.eval_shape(own)), *start)
    if run.validation and not mesh:
        lanes = default_lanes(len(run.validation.tokens) - 1)
        shape = window_length(lanes, config.model), lanes
        tokens, starts = np.zeros(shape, np.int32), np.zeros(shape, np.bool_)
        batch = Batch(tokens, tokens, np.asarray(False), starts)
        yield score.lower(state.params, initial_carry(lanes, config.model), batch, config.model)


def spread(state: TrainState, mesh: Mesh) -> TrainState:
    """Return a state that lies on one device, the same in each process, on a mesh instead."""
    # NumPy arrays belong to no device.
    plain = jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))
    impl = jax.random.key_impl(state.key)

    def with_key(state: TrainState) -> TrainState:
        return state._replace(key=jax.random.wrap_key_data(state.key, impl=impl))

    return jax.jit(with_key, out_shardings=by_lanes(mesh, STATE_LANES))(plain)


_LARGE = 2**18  # numbers: to copy more takes longer than a reduction


def all_finite(tree: Any) -> jax.Array:
    """Return whether the floating-point arrays of a tree hold finite numbers only, bool []."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    large = [jnp.isfinite(leaf).all() for leaf in leaves if leaf.size > _LARGE]
    # 0 times infinity or NaN is NaN. One product compiles 0.1 s faster than a reduction of each leaf.
    numbers = jnp.concatenate([jnp.zeros(1), *(leaf.ravel() for leaf in leaves if leaf.size <= _LARGE)])
    return reduce(jnp.logical_and, large, jnp.isfinite(jnp.vdot(numbers, jnp.zeros_like(numbers))))


class Sampler:
    """Writes the samples of a run.

    Attributes:
        draw: the jitted function that draws tokens [sample_length] from a state and what `start` returns.
    """

    def __init__(self, run: Run) -> None:
        """Compile nothing yet."""
        self._run, config = run, run.config
        separator = jnp.asarray(run.separator, jnp.int32)

        def draw(state: TrainState, prime: Any, is_new: Any, before: Any) -> jax.Array:
            """Return what the network writes now, before the update of the next step."""
            initial = initial_carry(1, config.model)
            carry = jax.tree.map(lambda new, entry: jnp.where(is_new, new, entry[:1]), initial, state.carry)
            key, length = jax.random.fold_in(state.key, state.step), config.sample_length
            documents: Any = {"separator": separator, "before": before}
            return sample(key, state.eval_params, carry, prime, config.model, length=length, **documents)[0][:, 0]

        self.draw: Any = jax.jit(draw)

    def write(self, state: TrainState, step: int, at_end: bool) -> str | None:
        """Return a sample after `step` steps; at the end of the run with its prompt. Of many processes one writes."""
        if jax.process_index() != 0:
            return None
        start = self.start(step, at_end)
        tokens = np.asarray(self.draw(on_first_device(state) if self._run.mesh else state, *start))
        if self._run.config.prompt and at_end:
            tokens = np.concatenate([start[0][len(self._run.separator[-1:]) :, 0], tokens])
        return self._run.corpus.vocabulary.decode(tokens)

    def start(self, step: int, at_end: bool) -> tuple[Any, Any, Any]:
        """Return what a sample starts from: at the end the prompt, if there is one; else the next character.

        Where there are documents, the prompt begins one: the separator's last symbol stands before it.

        Returns:
            The tokens to read first, int32 [P, 1]; whether the carry before them is the initial one, not that of
            training, bool []; and the tokens before them, int32 [k - 1, 1] for a separator of k symbols, or None.
        """
        run, config, separator = self._run, self._run.config, self._run.separator
        if config.prompt and at_end:
            prime = np.concatenate([separator[-1:], run.corpus.vocabulary.encode(config.prompt)])
            before = separator[:-1, None].astype(np.int32) if len(separator) else None
            return prime[:, None].astype(np.int32), np.asarray(True), before
        batch, before = run.batches(step, 1), None
        if len(separator):
            text, length = run.train.tokens, len(separator) - 1
            end = position(len(text), step, config)
            before = np.full((length, 1), -1, np.int32)  # no symbol: nothing is there
            before[max(0, length - end) :, 0] = text[max(0, end - length) : end]
        return batch.inputs[0, :1, :1], batch.reset[0], before

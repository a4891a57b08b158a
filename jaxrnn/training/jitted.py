"""The training step and the chunk, jitted: on one device, or with the lanes split over a mesh."""

from functools import partial
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, check_divides, over_lanes
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.sequential import run_sequentially
from jaxrnn.network import loss as cross_entropy
from jaxrnn.text import Batch
from jaxrnn.training.step import Loss, Metrics, Optimizer, Step, TrainState, fastest_step, train_chunk, train_step


class TrainStep:
    """A jitted function (state, batch) -> (state, metrics) that donates the state."""

    def __init__(self, function: Step, **options: Any) -> None:
        """Jit a function; the options are those of `jax.jit`."""
        self._jitted = jax.jit(function, donate_argnums=0, **options)

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Return the state after and the metrics; raise JaxrnnError if an earlier step took the state's memory."""
        try:
            return self._jitted(state, batch)
        except (RuntimeError, ValueError) as error:
            if "deleted" not in str(error):
                raise
            raise JaxrnnError(
                "this state was donated to an earlier step, which used its memory again; go on with the state that the "
                "step returned, or copy a state before the call: jax.tree.map(jnp.copy, state)"
            ) from None

    def lower(self, state: TrainState, batch: Batch) -> jax.stages.Lowered:
        """Return the program for arguments of these shapes, as `jax.jit(...).lower` does."""
        return self._jitted.lower(state, batch)


def make_train_step(
    config: TrainConfig, *, loss: Loss = cross_entropy, optimizer: Optimizer | None = None, mesh: Mesh | None = None
) -> TrainStep:
    """Return the jitted training step (state, batch) -> (state, metrics); it donates the state.

    Loss and optimizer are those of `train_step`. A mesh, from `make_mesh`, splits the lanes of batch and carry over its
    devices. The loss is then computed for each device's lanes and averaged: a user-defined one must be a mean over
    lanes, as the built-in one is. Its `key` is the same on every device. Raises JaxrnnError if the devices don't divide
    the batch.
    """
    check_arguments(make_train_step, locals())
    if mesh:
        return _on_mesh(partial(train_step, config=config, loss=loss, optimizer=optimizer), config, mesh, BATCH_LANES)
    step = fastest_step(config, loss, optimizer)

    def step_sequentially(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        before = state, Metrics(state.smooth_loss, state.smooth_loss)
        return run_sequentially(lambda before, _: step(before[0], batch), before, ())

    return TrainStep(step_sequentially)


def make_train_chunk(
    config: TrainConfig, *, loss: Loss = cross_entropy, optimizer: Optimizer | None = None, mesh: Mesh | None = None
) -> TrainStep:
    """Return the jitted chunk (state, batches) -> (state, metrics [K]): a scan of the training step, one dispatch.

    It donates the state. K is the leading axis of the batches; each K compiles once. Arguments as in `make_train_step`.
    """
    check_arguments(make_train_chunk, locals())
    if mesh:
        step = partial(train_step, config=config, loss=loss, optimizer=optimizer)
        return _on_mesh(partial(lax.scan, step), config, mesh, CHUNK_LANES)
    return TrainStep(partial(train_chunk, config=config, loss=loss, optimizer=optimizer))


def _on_mesh(step: Step, config: TrainConfig, mesh: Mesh, lanes: Batch) -> TrainStep:
    check_divides(mesh, "batch_size", config.batch_size)
    arguments = STATE_LANES, lanes
    on_own_lanes = over_lanes(step, mesh, arguments, (STATE_LANES, NO_LANES))
    return TrainStep(on_own_lanes, in_shardings=by_lanes(mesh, arguments))


# The lanes' axis in each array of a state, of a batch and of a chunk, as `over_lanes` and `by_lanes` take it.
_FIRST: Any = 0
STATE_LANES = TrainState(NO_LANES, NO_LANES, _FIRST, NO_LANES, NO_LANES, NO_LANES, NO_LANES)
BATCH_LANES, CHUNK_LANES = (Batch(axis, axis, NO_LANES, axis) for axis in (_FIRST + 1, _FIRST + 2))

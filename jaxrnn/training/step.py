"""The training step: a pure function of a state and a batch, jitted; and the chunk, a scan of that same step."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.config.reprs import of_fields
from jaxrnn.distributed.mesh import by_lanes, check_divides, in_groups, out_of_groups, whole
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.sequential import in_order
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.network.model import Carry, Params, draw_kept, init_params, initial_carry
from jaxrnn.text import Batch
from jaxrnn.training.optimizer import make_optimizer
from jaxrnn.training.sparse_rows import on_rows_of_batch


class TrainState(NamedTuple):
    """Everything that a training step changes.

    Attributes:
        params: the parameters.
        opt_state: the optimizer's memory.
        carry: the hidden state after the last step; entries [B, H] for each layer.
        key: where randomness comes from: each use folds in the step, so the key itself stays.
        step: int32 [], steps done.
        smooth_loss: [], the running mean of the loss, in nats per T characters.
    """

    params: Params
    opt_state: optax.OptState
    carry: Carry
    key: jax.Array
    step: jax.Array
    smooth_loss: jax.Array

    def __repr__(self) -> str:
        """Give the step, the loss and the shapes; of the optimizer's memory its size."""
        fields = {"step": self.step, "smooth_loss": self.smooth_loss, **self._asdict()}
        del fields["opt_state"]
        return of_fields(self, **fields, opt_state_size=sum(map(np.size, jax.tree.leaves(self.opt_state))))


class Metrics(NamedTuple):
    """What a step measures; [K] after a chunk. Nats per T characters.

    Attributes:
        loss: of this step's batch, before its update.
        smooth_loss: the running mean, this loss included.
    """

    loss: jax.Array
    smooth_loss: jax.Array

    def __repr__(self) -> str:
        """Give the shapes; of a single step the numbers."""
        return of_fields(self, **self._asdict())


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
Loss = Callable[..., tuple[jax.Array, Carry]]  # called as `jaxrnn.loss` is


# Jitted because a run asks for it in several places: traced once for all of them, and the same bits in each.
@partial(jax.jit, static_argnames="config")
def init_train_state(key: jax.Array, config: TrainConfig) -> TrainState:
    """Return the state before the first step: drawn parameters, empty memory, zero carry, smooth loss T ln V.

    Raises:
        JaxrnnError: the model's `vocab_size` is None.
    """
    params_key, state_key = jax.random.split(key)
    params = init_params(params_key, config.model)
    vocab_size = params.by.shape[0]
    return TrainState(
        params=params,
        opt_state=make_optimizer(config.optimizer, steps=config.steps).init(params),
        carry=initial_carry(config.model, config.batch_size),
        key=state_key,
        step=jnp.zeros((), jnp.int32),
        # The loss of a network that knows nothing and finds all V characters equally likely.
        smooth_loss=jnp.asarray(config.sequence_length * math.log(vocab_size), params.by.dtype),
    )


def train_step(
    state: TrainState, batch: Batch, config: TrainConfig, loss: Loss = cross_entropy, groups: int = 1
) -> tuple[TrainState, Metrics]:
    """Train on one batch: the pure function behind `make_train_step`, for `vmap` and for reading.

    Begin with the initial carry where the batch says so; take the gradient of the loss through all T characters; update
    once. The carry goes on to the next step; its gradient does not.

    Args:
        state: the state before.
        batch: inputs and targets int [T, B], reset bool [], starts bool [T, B] or None.
        config: the run's configuration; static under jit.
        loss: what is made small: `jaxrnn.loss`, or a function of your own that is called and returns as it does.
        groups: of lanes, whose gradients are taken apart from each other and then averaged: one a device.

    Returns:
        The state after, and what was measured.
    """
    initial = initial_carry(config.model, config.batch_size)
    carry = jax.tree.map(lambda new, entry: jnp.where(batch.reset, new, entry), initial, state.carry)
    key = _dropout_key(state) if config.model.dropout else None
    if groups == 1:
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (nats, carry), gradient = value_and_grad(state.params, carry, batch, config.model, key=key)
    else:
        (nats, carry), gradient = _gradient_in_groups(state.params, carry, batch, config.model, key, loss, groups)
    updates, opt_state = make_optimizer(config.optimizer, steps=config.steps).update(
        gradient, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    nats = nats.astype(state.smooth_loss.dtype)  # a loss of the user's own may have another
    smooth_loss = 0.999 * state.smooth_loss + 0.001 * nats
    state = TrainState(params, opt_state, carry, state.key, state.step + 1, smooth_loss)
    return state, Metrics(nats, smooth_loss)


def _gradient_in_groups(
    params: Params,
    carry: Carry,
    batch: Batch,
    config: ModelConfig,
    key: jax.Array | None,
    loss: Loss,
    groups: int,
) -> tuple[tuple[jax.Array, Carry], Params]:
    """Return the loss, the carry and the gradient of a batch that lies on several devices, a group of lanes on each.

    The axis of groups is one that the partitioner can follow through all of it: each device works on its group alone,
    and the means over the groups at the end are all that the devices have to tell each other.
    """
    kept = None if key is None else draw_kept(key, batch.inputs.shape, config)  # as on one device

    def of_group(carry: Carry, batch: Batch, kept: jax.Array | None) -> tuple[tuple[jax.Array, Carry], Params]:
        dropout = {"key": None} if kept is None else {"kept": kept}
        return jax.value_and_grad(loss, has_aux=True)(params, carry, batch, config, **dropout)

    inputs, targets, starts = in_groups((batch.inputs, batch.targets, batch.starts), groups, axis=1)
    (nats, carry), gradient = jax.vmap(of_group, in_axes=(0, Batch(1, 1, None, 1), 2))(
        in_groups(carry, groups, axis=0), Batch(inputs, targets, batch.reset, starts), in_groups(kept, groups, axis=2)
    )
    nats, gradient = jax.tree.map(lambda leaf: leaf.mean(axis=0), (nats, gradient))
    return (nats, out_of_groups(carry, axis=0)), gradient


def train_chunk(
    state: TrainState, batches: Batch, config: TrainConfig, loss: Loss = cross_entropy
) -> tuple[TrainState, Metrics]:
    """Train on K batches: the pure function behind `make_train_chunk`, a scan of `train_step`; metrics [K]."""
    return lax.scan(_fastest_step(config, loss), state, batches)


def _dropout_key(state: TrainState) -> jax.Array:
    """Return the key of this step's dropout; apart from those of samples, which fold the step into the same key."""
    no_step = np.uint32(2**32 - 1)  # steps end at 2**31 - 1
    return jax.random.fold_in(jax.random.fold_in(state.key, no_step), state.step)


def make_train_step(config: TrainConfig, loss: Loss = cross_entropy, mesh: Mesh | None = None) -> TrainStep:
    """Return the jitted training step (state, batch) -> (state, metrics); it donates the state.

    With a mesh, from `sharding.make_mesh`, the lanes of batch and carry are split over its devices. The loss is then
    taken of each device's lanes, and averaged: one of your own must be a mean over lanes, as the built-in one is.

    Raises:
        JaxrnnError: the devices don't divide the batch, or a loss of your own can't have dropout on a mesh.
    """
    if mesh:
        return _on_mesh(_step_on_mesh(config, loss, mesh), mesh, axis=1)
    step = _fastest_step(config, loss)

    def step_in_order(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        nothing = Metrics(jnp.zeros_like(state.smooth_loss), state.smooth_loss)
        return in_order(lambda before, _: step(before[0], batch), (state, nothing), (), never=state.step < 0)

    return jax.jit(step_in_order, donate_argnums=0)


def make_train_chunk(config: TrainConfig, loss: Loss = cross_entropy, mesh: Mesh | None = None) -> TrainStep:
    """Return the jitted chunk (state, batches) -> (state, metrics [K]): a scan of the training step, one dispatch.

    It donates the state too, and may have a mesh. K is the leading axis of the batches; each K compiles once.
    """
    if mesh:
        step = _step_on_mesh(config, loss, mesh)
        return _on_mesh(lambda state, batches: lax.scan(step, state, batches), mesh, axis=2)
    return jax.jit(partial(train_chunk, config=config, loss=loss), donate_argnums=0)


def check_mesh(mesh: Mesh | None, config: TrainConfig, loss: Loss = cross_entropy) -> None:
    """Raise JaxrnnError unless a mesh can train so: its devices divide the batch, and it can have this loss."""
    check_divides(mesh, "batch_size", config.batch_size)
    if mesh and config.model.dropout and loss is not cross_entropy:
        raise JaxrnnError(
            "a loss of your own can't be combined with dropout on several devices; "
            "leave dropout at 0, or train on one device"
        )


def _step_on_mesh(config: TrainConfig, loss: Loss, mesh: Mesh) -> TrainStep:
    check_mesh(mesh, config, loss)
    return partial(train_step, config=config, loss=loss, groups=mesh.size)


def _on_mesh(step: TrainStep, mesh: Mesh, axis: int) -> TrainStep:
    state = state_sharding(mesh)
    placed = state, batch_sharding(mesh, axis)
    return jax.jit(step, in_shardings=placed, out_shardings=(state, whole(mesh)), donate_argnums=0)


def state_sharding(mesh: Mesh) -> TrainState:
    """Return where a state lies on a mesh: the carry by lanes, the rest whole on each device."""
    everywhere: Any = whole(mesh)
    carry: Any = by_lanes(mesh, 0)
    return TrainState(everywhere, everywhere, carry, everywhere, everywhere, everywhere)


def batch_sharding(mesh: Mesh, axis: int) -> Batch:
    """Return where a batch lies on a mesh, its lanes being the axis `axis` (1; 2 in a chunk)."""
    lanes = by_lanes(mesh, axis)
    return Batch(lanes, lanes, whole(mesh), lanes)


def _fastest_step(config: TrainConfig, loss: Loss) -> TrainStep:
    """Return the training step, by way of the rows of Wxh that are in the batch where that is much less than all."""
    positions, vocab_size = config.sequence_length * config.batch_size, config.model.vocab_size or 0
    # Adagrad without decay: a gradient of zero is no update and changes no memory. The others move on, and forget.
    untouched_rows_stay = config.optimizer.name == "adagrad" and not config.optimizer.decays
    # A loss of the user's own may look at the rest of Wxh, or at which symbols they are.
    on_rows = untouched_rows_stay and vocab_size >= 4 * positions and loss is cross_entropy
    step = partial(train_step, config=config, loss=loss)
    return on_rows_of_batch(step) if on_rows else step

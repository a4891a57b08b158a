"""The training step: a pure function of a state and a batch; and the chunk, a scan of that same step."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn.config import TrainConfig
from jaxrnn.config.fields import check_arguments, of_fields, short_repr
from jaxrnn.distributed.mesh import mean_over_devices
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels import uses
from jaxrnn.kernels.sparse_rows import leaves_other_rows, on_rows_of_batch
from jaxrnn.network import Carry, Params, init_params, initial_carry
from jaxrnn.network import loss as cross_entropy
from jaxrnn.text import Batch
from jaxrnn.training.optimizer import make_optimizer


class TrainState(NamedTuple):
    """Everything that a training step changes.

    Attributes:
        params: the parameters.
        opt_state: the optimizer's memory.
        carry: the hidden state after the last step; entries [B, H] for each layer.
        key: the source of randomness; each use folds in the step, so the key itself never changes.
        step: int32 [], steps done.
        smooth_loss: [], the running mean of the loss, in nats per T characters.
        average: the average of the parameters after each step; None: `average_decay` is 0.
    """

    params: Params
    opt_state: optax.OptState
    carry: Carry
    key: jax.Array
    step: jax.Array
    smooth_loss: jax.Array
    average: Params | None = None

    @property
    def eval_params(self) -> Params:
        """The parameters to predict with: their average, where there is one."""
        return self.params if self.average is None else self.average

    def __repr__(self) -> str:
        """Give the step, the loss and the shapes; of the optimizer's memory its size."""
        fields = {"step": self.step, "smooth_loss": self.smooth_loss, **self._asdict()}
        del fields["opt_state"], fields["average"]
        return of_fields(self, **fields, opt_state_size=sum(map(np.size, jax.tree.leaves(self.opt_state))))


@short_repr
class Metrics(NamedTuple):
    """What a step measures, in nats per T characters; [K] after a chunk.

    The loss is that of the batch before its update; the smooth loss is the running mean, this loss included.
    """

    loss: jax.Array
    smooth_loss: jax.Array


Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
Loss = Callable[..., tuple[jax.Array, Carry]]  # called as `jaxrnn.loss` is
Optimizer: TypeAlias = optax.GradientTransformation


def init_train_state(key: jax.Array, config: TrainConfig, *, optimizer: Optimizer | None = None) -> TrainState:
    """Return the state before the first step: drawn parameters, empty memory, zero carry, smooth loss T ln V.

    From the key come the parameters and all later randomness. An `optimizer` takes the place of the one that
    `config.optimizer` describes. Raises JaxrnnError if the model's `vocab_size` is None.
    """
    check_arguments(init_train_state, locals())
    return _init_train_state(key, config, optimizer)


def state_shapes(config: TrainConfig, *, optimizer: Optimizer | None = None) -> TrainState:
    """Return the shapes and types of the arrays of `init_train_state`, none of which is computed."""
    return jax.eval_shape(lambda: init_train_state(jax.random.key(0), config, optimizer=optimizer))


# Jitted because a run asks for it in several places: traced once for all of them, and the same bits in each.
@jax.jit(static_argnames=("config", "optimizer"))
def _init_train_state(key: jax.Array, config: TrainConfig, optimizer: Optimizer | None) -> TrainState:
    params_key, state_key = jax.random.split(key)
    params = init_params(params_key, config.model)
    return TrainState(
        params=params,
        opt_state=(optimizer or make_optimizer(config.optimizer, steps=config.steps)).init(params),
        carry=initial_carry(config.batch_size, config.model),
        key=state_key,
        step=jnp.zeros((), jnp.int32),
        # The loss of a network that knows nothing and finds all V characters equally likely.
        smooth_loss=jnp.asarray(config.sequence_length * math.log(params.by.size), params.by.dtype),
        average=jax.tree.map(jnp.copy, params) if config.average_decay else None,
    )


def train_step(
    state: TrainState,
    batch: Batch,
    config: TrainConfig,
    *,
    loss: Loss = cross_entropy,
    optimizer: Optimizer | None = None,
) -> tuple[TrainState, Metrics]:
    """Train on one batch: the pure function behind `make_train_step`, for `vmap` and for reading.

    Reset the carry where the batch says so; take the gradient of the loss through all T characters; update once. The
    carry goes on to the next step; its gradient does not. What is minimized is `jaxrnn.loss`, or a user-defined `loss`
    with its signature. An `optimizer` takes the place of the one that `config.optimizer` describes. The configuration
    is static under jit.
    """
    _check_fit(state, batch, config)
    if not optimizer:
        optimizer = make_optimizer(config.optimizer, steps=config.steps)
        _check_memory(state, optimizer, config)
    initial = initial_carry(batch.inputs.shape[1], config.model)
    carry = jax.tree.map(lambda new, entry: jnp.where(batch.reset, new, entry), initial, state.carry)
    key = _dropout_key(state) if config.model.has_dropout else None
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    (nats, carry), gradient = value_and_grad(state.params, carry, batch, config.model, key=key)
    nats, gradient = mean_over_devices((nats, gradient))
    with jax.named_scope("update"):
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    nats = nats.astype(state.smooth_loss.dtype)  # a user-defined loss may have another type
    smooth_loss = 0.999 * state.smooth_loss + 0.001 * nats
    step = state.step + 1
    average = None if state.average is None else _moved(state.average, params, config.average_decay, step)
    state = TrainState(params, opt_state, carry, state.key, step, smooth_loss, average)
    return state, Metrics(nats, smooth_loss)


def _check_fit(state: TrainState, batch: Batch, config: TrainConfig) -> None:
    """Raise JaxrnnError unless a state, a batch and a configuration are of the same run, by their shapes."""
    if batch.inputs.ndim != 2:
        raise JaxrnnError(f"a step has inputs [T, B], got shape {batch.inputs.shape}; make_train_chunk takes K batches")
    lanes, B = len(jax.tree.leaves(state.carry)[0]), batch.inputs.shape[1]
    if lanes != B:
        raise JaxrnnError(f"the carry of the state has {lanes} lanes, and the batch {B}; begin with a state for that")
    if (state.average is None) == bool(config.average_decay):
        raise JaxrnnError(f"average_decay is {config.average_decay}; begin with a state that was made with it")


def _check_memory(state: TrainState, optimizer: Optimizer, config: TrainConfig) -> None:
    """Raise JaxrnnError unless the memory in a state is that of an optimizer, which is built in."""
    structures = map(jax.tree.structure, (state.opt_state, jax.eval_shape(optimizer.init, state.params)))
    if len(set(structures)) > 1:
        raise JaxrnnError(f"the state is of another optimizer than {config.optimizer.name}; begin with one of that")


def _moved(average: Params, params: Params, decay: float, step: jax.Array) -> Params:
    """Return the average of the parameters after steps 1 to `step`, the n-th before the newest weighted by decay^n.

    It is corrected for the bias towards its initial value (Kingma and Ba 2014, section 3), so it is usable at any step:

        average += (1 - decay) / (1 - decay^step) * (params - average)
    """
    log_decay = math.log(decay)
    weight = math.expm1(log_decay) / jnp.expm1(step * jnp.asarray(log_decay, params.by.dtype))
    return jax.tree.map(lambda mean, new: mean + weight.astype(new.dtype) * (new - mean), average, params)


def train_chunk(
    state: TrainState,
    batches: Batch,
    config: TrainConfig,
    *,
    loss: Loss = cross_entropy,
    optimizer: Optimizer | None = None,
) -> tuple[TrainState, Metrics]:
    """Train on K batches: the pure function behind `make_train_chunk`, a scan of `train_step`; metrics [K]."""
    if batches.inputs.ndim != 3:
        raise JaxrnnError(f"a chunk has inputs [K, T, B], got shape {batches.inputs.shape}; train_step takes one batch")
    return lax.scan(fastest_step(config, loss, optimizer), state, batches)


def _dropout_key(state: TrainState) -> jax.Array:
    """Return the key of this step's dropout; distinct from those of samples, which fold the step into the same key."""
    no_step = np.uint32(2**32 - 1)  # steps end at 2**31 - 1
    return jax.random.fold_in(jax.random.fold_in(state.key, no_step), state.step)


def fastest_step(config: TrainConfig, loss: Loss, optimizer: Optimizer | None) -> Step:
    """Return the training step; for a large vocabulary, the one that updates only the rows of Wxh in its batch."""
    step: Step = partial(train_step, config=config, loss=loss, optimizer=optimizer)
    # A user-defined loss may look at the rest of Wxh, or at which symbols the inputs are.
    is_sparse = loss is cross_entropy and not optimizer and leaves_other_rows(config)
    return on_rows_of_batch(step) if is_sparse and uses("sparse_rows") else step

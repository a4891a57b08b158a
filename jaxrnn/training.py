"""The training step: a pure function of a state and a batch, jitted; and the chunk, a scan of that same step."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxrnn.config import TrainConfig
from jaxrnn.loss import loss
from jaxrnn.model import Carry, Params, init_params, initial_carry
from jaxrnn.optimizer import make_optimizer
from jaxrnn.text import Batch


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


class Metrics(NamedTuple):
    """What a step measures; [K] after a chunk. Nats per T characters.

    Attributes:
        loss: of this step's batch, before its update.
        smooth_loss: the running mean, this loss included.
    """

    loss: jax.Array
    smooth_loss: jax.Array


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


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
        opt_state=make_optimizer(config.optimizer).init(params),
        carry=initial_carry(config.model, config.batch_size),
        key=state_key,
        step=jnp.zeros((), jnp.int32),
        # The loss of a network that knows nothing and finds all V characters equally likely.
        smooth_loss=jnp.asarray(config.sequence_length * math.log(vocab_size), params.by.dtype),
    )


def make_train_step(config: TrainConfig) -> TrainStep:
    """Return the jitted training step (state, batch) -> (state, metrics); it donates the state.

    One step: zero the carry where the batch says so, the gradient of the loss through all T characters, one update of
    the optimizer. The carry goes on to the next step; its gradient does not.
    """
    return jax.jit(_train_step(config), donate_argnums=0)


def make_train_chunk(config: TrainConfig) -> TrainStep:
    """Return the jitted chunk (state, batches) -> (state, metrics [K]): a scan of the training step, one dispatch.

    It donates the state. K is the leading axis of the batches; each K compiles once.
    """
    step = _train_step(config)
    return jax.jit(lambda state, batches: lax.scan(step, state, batches), donate_argnums=0)


def _train_step(config: TrainConfig) -> TrainStep:
    optimizer = make_optimizer(config.optimizer)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        carry = jax.tree.map(lambda entry: jnp.where(batch.reset, 0, entry), state.carry)
        (nats, carry), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, carry, batch, config.model)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        smooth_loss = 0.999 * state.smooth_loss + 0.001 * nats
        params = optax.apply_updates(state.params, updates)
        state = TrainState(params, opt_state, carry, state.key, state.step + 1, smooth_loss)
        return state, Metrics(nats, smooth_loss)

    return train_step

"""A training step that updates only those rows of the first Wxh that its batch looks up, for a large vocabulary.

Rows whose token is absent have a gradient of zero, and Adagrad then leaves them and its memory exactly as they are. The
plain twin is the step itself, which updates all V rows.

Earns (time of a step without / with, V 5,000, tanh B 1 T 25 H 100): 1.25 on Intel Sapphire Rapids, 1.24 on AMD Zen 5.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from jaxrnn.config import TrainConfig
from jaxrnn.text import Batch

State = TypeVar("State", bound=Any)  # a TrainState
Measured = TypeVar("Measured")


def leaves_other_rows(config: TrainConfig) -> bool:
    """Return whether a step leaves most rows as they are: those of tokens that its batch lacks."""
    # Adagrad without decay: a zero gradient changes neither row nor memory. Other rules move the row or decay memory.
    is_no_update = config.optimizer.name == "adagrad" and not config.optimizer.decays
    is_no_update = is_no_update and not config.average_decay  # an average moves in every row
    return is_no_update and (config.model.vocab_size or 0) >= 4 * config.sequence_length * config.batch_size


def on_rows_of_batch(step: Callable[[State, Batch], tuple[State, Measured]]) -> Callable[..., tuple[State, Measured]]:
    """Return a training step that computes the same as `step`, but updates only the rows that its batch looks up.

    The optimizer of `step` must leave a row, and its memory of that row, unchanged where the gradient is zero. `step`
    itself sees a vocabulary of T*B symbols: each token is replaced by the position where it first occurs in the batch,
    and its row of Wxh is at that position.
    """

    def step_on_rows(state: State, batch: Batch) -> tuple[State, Measured]:
        tokens = batch.inputs.reshape(-1)
        first = (tokens[:, None] == tokens[None, :]).argmax(axis=1)  # [T*B]
        before = state.params, state.opt_state

        def is_params(node: Any) -> bool:  # also what the optimizer remembers of each parameter
            return isinstance(node, type(state.params))

        def take_rows(node: Any) -> Any:
            return _with_Wxh(node, node.layers[0].Wxh[tokens]) if is_params(node) else node

        def put_rows(node: Any, after: Any) -> Any:
            if not is_params(node):
                return after
            return _with_Wxh(after, node.layers[0].Wxh.at[tokens].set(after.layers[0].Wxh[first]))

        params, opt_state = jax.tree.map(take_rows, before, is_leaf=is_params)
        small = state._replace(params=params, opt_state=opt_state)
        after, metrics = step(small, batch._replace(inputs=first.reshape(batch.inputs.shape)))
        params, opt_state = jax.tree.map(put_rows, before, (after.params, after.opt_state), is_leaf=is_params)
        return after._replace(params=params, opt_state=opt_state), metrics

    return step_on_rows


def _with_Wxh(params: Any, Wxh: jax.Array) -> Any:
    first, *above = params.layers
    return params._replace(layers=(first._replace(Wxh=Wxh), *above))

"""A training step that touches only those rows of the first Wxh that its batch looks up, of a large vocabulary."""

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn.network.model import Params
from jaxrnn.text import Batch

Step = Callable[[Any, Batch], tuple[Any, Any]]  # (TrainState, Batch) -> (TrainState, Metrics)


def on_rows_of_batch(step: Step) -> Step:
    """Return what does the same as a training step, but updates only the rows that the batch looks up.

    To the step itself the inputs are a vocabulary of T*B symbols: each token is known by the place where it first
    stands in the batch, and its row stands there.

    Args:
        step: whose optimizer leaves a row as it is, and forgets nothing of it, where the gradient is zero.
    """

    def step_on_rows(state: Any, batch: Batch) -> tuple[Any, Any]:
        tokens = batch.inputs.reshape(-1)
        first = (tokens[:, None] == tokens[None, :]).argmax(axis=1)  # [T*B]

        def take(params: Params) -> Params:
            return _with_Wxh(params, params.layers[0].Wxh[tokens])

        def put(params: Params, rows: Params) -> Params:
            return _with_Wxh(rows, params.layers[0].Wxh.at[tokens].set(rows.layers[0].Wxh[first]))

        whole = state.params, state.opt_state
        small = dict(zip(("params", "opt_state"), _map_params(take, whole), strict=True))
        after, metrics = step(state._replace(**small), batch._replace(inputs=first.reshape(batch.inputs.shape)))
        params, opt_state = _map_params(put, whole, (after.params, after.opt_state))
        return after._replace(params=params, opt_state=opt_state), metrics

    return step_on_rows


def _with_Wxh(params: Params, Wxh: jax.Array) -> Params:
    first, *above = params.layers
    return params._replace(layers=(first._replace(Wxh=Wxh), *above))


def _map_params(function: Callable[..., Params], tree: Any, *rest: Any) -> Any:
    """Apply `function` to what is shaped like the parameters in a tree: they themselves, the optimizer's memory."""

    def is_params(node: Any) -> bool:
        return isinstance(node, Params)

    def apply(node: Any, *others: Any) -> Any:
        return function(node, *others) if is_params(node) else (others[0] if others else node)

    return jax.tree.map(apply, tree, *rest, is_leaf=is_params)

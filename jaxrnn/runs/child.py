"""Fine-tuning: the first state of a run that begins from a checkpoint of another one, on another text."""

import dataclasses

import jax
import numpy as np
import optax

from jaxrnn.config import TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import Optimizer, TrainState, init_train_state

_NEW = 0.01  # standard deviation of the weights of new symbols; their biases are 0


def child_state(
    parent: Checkpoint,
    config: TrainConfig,
    vocabulary: Vocabulary,
    *,
    fresh_memory: bool = False,
    optimizer: Optimizer | None = None,
) -> TrainState:
    """Return the state at step 0 with the parameters and the optimizer's memory of a checkpoint.

    Where the vocabulary has symbols that the parent lacks, their rows of Wxh and columns of Why are drawn, small, from
    the seed, and the optimizer's memory of them is fresh; all others keep their bits. Schedules begin again.

    Raises JaxrnnError if the network or the vocabulary is another one, or if the optimizer's memory does not fit.
    """
    theirs, ours = parent.config.model, config.model
    names = ("cell", "hidden_size", "num_layers", "dtype")
    pairs = {name: (getattr(theirs, name), getattr(ours, name)) for name in names}
    for name, (then, now) in {"vocabulary": (parent.vocabulary.kind, vocabulary.kind), **pairs}.items():
        if then != now:
            raise JaxrnnError(f"{parent.file} is of a network with {name} {then}, not {now}; leave {name} out")
    if not set(parent.vocabulary.symbols) <= set(vocabulary.symbols):
        raise JaxrnnError(
            f"the corpus must have the symbols of {parent.file}; load it with symbols=checkpoint.vocabulary.symbols"
        )
    small = dataclasses.replace(config, model=dataclasses.replace(ours, init="normal", init_scale=_NEW))
    fresh = init_train_state(jax.random.key(np.uint32(config.seed)), small, optimizer=optimizer)
    index = {symbol: token for token, symbol in enumerate(vocabulary.symbols)}
    tokens = np.array([index[symbol] for symbol in parent.vocabulary.symbols])

    def widened(new: jax.Array, old: jax.Array) -> jax.Array:
        axes = [axis for axis, size in enumerate(new.shape) if size != old.shape[axis]]
        return new.at[(slice(None),) * axes[0] + (tokens,)].set(old) if axes else old

    state = fresh._replace(params=jax.tree.map(widened, fresh.params, parent.state.params))
    if fresh_memory:
        return state
    new, structure = jax.tree.flatten(fresh.opt_state, is_leaf=_is_schedule)
    old = [leaf for leaf in jax.tree.leaves(parent.state.opt_state, is_leaf=_is_schedule) if not _is_schedule(leaf)]
    then, now = parent.config.optimizer.name, config.optimizer.name
    if then != now or len(old) != sum(not _is_schedule(leaf) for leaf in new):
        raise JaxrnnError(
            f"{parent.file} has the memory of the optimizer {then}, not {now}; begin with a fresh one: --fresh-memory"
        )
    leaves = iter(old)
    memory = [leaf if _is_schedule(leaf) else widened(leaf, next(leaves)) for leaf in new]
    return state._replace(opt_state=jax.tree.unflatten(structure, memory))


def _is_schedule(value: object) -> bool:
    return isinstance(value, optax.ScaleByScheduleState)

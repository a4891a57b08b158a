"""The same training chunk as people write it with flax, haiku and equinox: their cells, optax, jax.jit, lax.scan.

The characters go in as one-hot vectors. A function for each library takes the configuration of the network and the
arrays of one of our layers, and returns the library's parameters for that layer, and its loop over time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn.bench.timing import LeftOut, Program
from jaxrnn.bench.workload import Workload
from jaxrnn.config import ModelConfig
from jaxrnn.network import initial_carry
from jaxrnn.network.cells import get_cell
from jaxrnn.network.model import Layer
from jaxrnn.training import make_optimizer

Loop = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array]]  # parameters, carry, inputs [T, B, N] -> carry, hidden


def library_program(name: str, workload: Workload) -> Program:
    """Return the training chunk of our workload in "flax", "haiku" or "equinox"."""
    config, model = workload.config, workload.config.model
    ours = workload.initial_state().params
    make = {"flax": _flax, "haiku": _haiku, "equinox": _equinox}[name]
    layers, loops = zip(*(make(model, layer) for layer in ours.layers), strict=True)
    carries = initial_carry(config.batch_size, model)
    initial = [carry if len(carry) > 1 else carry[0] for carry in carries]  # zeros: their order is the same
    optimizer = workload.optimizer or make_optimizer(config.optimizer, steps=config.steps)

    def loss(params: Any, carry: Any, batch: Any) -> tuple[jax.Array, Any]:
        layers, Why, by = params
        hidden, last = jax.nn.one_hot(batch.inputs, workload.vocab_size, dtype=model.dtype), []
        for layer, entry, loop in zip(layers, carry, loops, strict=True):
            entry, hidden = loop(layer, entry, hidden)
            last.append(entry)
        nats = optax.softmax_cross_entropy_with_integer_labels(hidden @ Why + by[None, None], batch.targets)
        return nats.sum(axis=0).mean(), last

    def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        params, opt_state, carry = state
        carry = jax.tree.map(lambda new, entry: jnp.where(batch.reset, new, entry), initial, carry)
        (nats, carry), gradient = jax.value_and_grad(loss, has_aux=True)(params, carry, batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, carry), nats

    params = jax.tree.map(jnp.array, (layers, ours.Why, ours.by))
    chunk = jax.jit(partial(lax.scan, step), donate_argnums=0)
    state = jax.tree.map(jnp.array, (params, optimizer.init(params), initial))
    return Program(chunk, state, [workload.batches], config.chunk_length, losses=lambda nats: nats)


def _flax(model: ModelConfig, layer: Layer) -> tuple[Any, Loop]:
    from flax import nnx

    options: Any = {"dtype": np.dtype(model.dtype), "param_dtype": np.dtype(model.dtype), "rngs": nnx.Rngs(0)}
    relu = partial(nnx.SimpleCell, activation_fn=jax.nn.relu)
    kinds: Any = {"tanh": nnx.SimpleCell, "relu": relu, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
    cell = kinds[model.cell](len(layer.Wxh), model.hidden_size, **options)
    # The biases as we have them: the GRU has two, the LSTM one, beside the product with the hidden state.
    biases = (None, layer.bh) if model.cell == "lstm" else (layer.bh, layer.bhh)
    for name, W, bias in zip(("dense_i", "dense_h"), (layer.Wxh, layer.Whh), biases, strict=True):
        linear = nnx.Linear(*W.shape, use_bias=bias is not None, **options)
        linear.kernel = nnx.Param(W)
        linear.bias = nnx.Param(bias) if bias is not None else linear.bias
        setattr(cell, name, linear)
    graph, params = nnx.split(nnx.RNN(cell, time_major=True, return_carry=True, rngs=False))
    return params, lambda params, carry, inputs: nnx.merge(graph, params)(inputs, initial_carry=carry)


def _haiku(model: ModelConfig, layer: Layer) -> tuple[Any, Loop]:
    import haiku as hk

    cell = get_cell(model.cell)

    def core(inputs: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The cells that haiku lacks, or has in another form; their state is h."""
        width = cell.gates * model.hidden_size
        recurrent = hk.Linear(width, with_bias=cell.recurrent_bias, name="hidden")(h)
        (h,) = cell.update(hk.Linear(width, name="input")(inputs), recurrent, (h,))
        return h, h

    def loop(carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        is_lstm = model.cell == "lstm"
        state = hk.LSTMState(*carry) if is_lstm else carry
        hidden, state = hk.dynamic_unroll(hk.LSTM(model.hidden_size) if is_lstm else core, inputs, state)
        return tuple(state) if is_lstm else state, hidden

    if model.cell == "lstm":
        i, f, g, o = jnp.split(jnp.concatenate([layer.Wxh, layer.Whh, layer.bh[None]]), 4, axis=1)
        both = jnp.concatenate([i, g, f.at[-1].add(-1), o], axis=1)  # haiku adds 1 to the bias of f
        params = {"lstm/linear": {"w": both[:-1], "b": both[-1]}}
    else:
        bias = {} if layer.bhh is None else {"b": layer.bhh}
        params = {"input": {"w": layer.Wxh, "b": layer.bh}, "hidden": {"w": layer.Whh, **bias}}
    transformed: Any = hk.without_apply_rng(hk.transform(loop))
    return params, transformed.apply


def _equinox(model: ModelConfig, layer: Layer) -> tuple[Any, Loop]:
    import equinox as eqx

    kinds: Any = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}
    if model.cell not in kinds:
        raise LeftOut("it has no such cell")
    cell = kinds[model.cell](len(layer.Wxh), model.hidden_size, key=jax.random.key(0), dtype=np.dtype(model.dtype))
    weights, second = {"weight_ih": layer.Wxh.T, "weight_hh": layer.Whh.T, "bias": layer.bh}, None
    if layer.bhh is not None:  # our GRU has two biases of the gates r and z, and equinox's one
        second, weights["bias_n"] = jnp.split(layer.bhh, [2 * model.hidden_size])
    cell = eqx.tree_at(lambda cell: [getattr(cell, name) for name in weights], cell, list(weights.values()))

    def loop(params: Any, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        cell, second = params
        if second is not None:
            cell = eqx.tree_at(lambda cell: cell.bias, cell, cell.bias + jnp.pad(second, (0, model.hidden_size)))

        def step(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            carry = jax.vmap(cell)(x, carry)
            return carry, carry[0] if model.cell == "lstm" else carry

        return lax.scan(step, carry, inputs)

    return (cell, second), loop

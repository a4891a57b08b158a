"""The machine's own limits, measured through JAX on the device that trains, and the floor they put under a step.

Each is a loop in one compiled program: its iterations wait for each other, and are too many for the call to matter.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.bench.timing import Contender, Timing, repeated
from jaxrnn.bench.workload import Workload
from jaxrnn.kernels.matmul import times_matrix
from jaxrnn.network.cells import get_cell

SECONDS = 0.04  # per measurement and round


class Limits(NamedTuple):
    """What the machine can do in seconds per step, and the floor."""

    recurrent: Timing  # a product [B, H] x [H, G*H] that waits for the previous one, the mean of both directions
    products: Timing  # all other products of a step
    update: Timing  # the optimizer's bytes, moved at the rate of x = x / 2 + y with arrays of the parameters' size
    update_bytes: int
    floor: Timing  # 2 T recurrent + products + update


class LimitRace:
    """The measurements as contenders of a race, and what their timings mean."""

    def __init__(self, workload: Workload) -> None:
        """Compile and warm up."""
        self.workload = workload
        model, B = workload.config.model, workload.config.batch_size
        cell, H, V, rows = get_cell(model.cell), model.hidden_size, workload.vocab_size, workload.batches.inputs[0].size
        dtype, random = np.dtype(model.dtype), np.random.default_rng(0)
        self.width = cell.gates * H
        self.params_size = (V + H + 1 + cell.recurrent_bias) * self.width + (H + 1) * V
        normal: Any = partial(random.standard_normal, dtype=dtype)

        # Each direction has a loop of its own, as in training: a small matrix then stays in the nearest cache.
        def next_h(Whh: Any, h: Any) -> Any:
            return reduce(jnp.add, jnp.split(times_matrix(Whh, B)(h), cell.gates, axis=1))

        def previous_h(Whh: Any, h: Any) -> Any:
            return times_matrix(Whh, B, transposed=True)(jnp.concatenate([h] * cell.gates, axis=1))

        def products(constants: Any, state: Any) -> Any:
            # Logits, and the gradients of hidden states, Why and Whh: all products that do not wait for h_tm1.
            (Why, d_gates), (hidden, _, _) = constants, state
            logits = hidden @ Why
            return logits @ Why.T, hidden.T @ logits, hidden.T @ d_gates

        # Of ones and zeros, unknown to the compiler: a chain of products with them neither grows nor vanishes.
        Whh, Why = np.tile(np.eye(H, dtype=dtype) / cell.gates, cell.gates), np.eye(H, V, dtype=dtype)
        readout = normal((rows, H)), np.zeros((H, V), dtype), np.zeros((H, self.width), dtype)
        self.contenders: dict[str, Contender] = {
            "forward": _loop(next_h, Whh, normal((B, H))),
            "backward": _loop(previous_h, Whh, normal((B, H))),
            "products": _loop(products, (Why, normal((rows, self.width))), readout),
            "triad": _loop(lambda y, x: 0.5 * x + y, normal(self.params_size), normal(self.params_size)),
        }

    def limits(self, timings: dict[str, Timing]) -> Limits:
        """Return the limits from the timings of `contenders`, round by round."""
        forward, backward, products, triad = (np.array(timings[name].rounds) for name in self.contenders)
        config, V, inputs = self.workload.config, self.workload.vocab_size, self.workload.batches.inputs
        rows = float(np.mean([len(np.unique(batch)) for batch in inputs]))
        values = update_values(config.optimizer.name, self.params_size, self.width, V, rows)
        recurrent, update = (forward + backward) / 2, triad * values / (3 * self.params_size)
        floor = 2 * config.sequence_length * recurrent + products + update
        update_bytes = values * np.dtype(config.model.dtype).itemsize
        return Limits(Timing.of(recurrent), Timing.of(products), Timing.of(update), update_bytes, Timing.of(floor))


def update_values(optimizer: str, params_size: int, width: int, vocab_size: int, rows: float) -> int:
    """Return how many numbers the optimizer has to read and write.

    Adagrad reads a gradient, a memory and a parameter and writes the latter two; where the gradient is zero, as in the
    rows of Wxh whose character is absent, there is nothing to do. Adam has two memories and always moves everything.
    """
    if optimizer == "adam":
        return 7 * params_size
    return 5 * (params_size - math.floor((vocab_size - rows) * width))


def _loop(body: Callable[[Any, Any], Any], constants: Any, state: Any) -> Contender:
    """Return a contender that repeats `state = body(constants, state)`, in seconds per repetition."""
    program = jax.jit(
        lambda constants, state, count: lax.fori_loop(0, count, lambda _, state: body(constants, state), state),
        donate_argnums=1,
    )
    constants, state = jax.device_put(constants), jax.device_put(state)

    def run(count: int) -> None:
        nonlocal state
        state = jax.block_until_ready(program(constants, state, count))

    run(1)  # compiles
    return repeated(run, SECONDS)

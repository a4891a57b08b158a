"""The machine's own limits, measured through JAX on the device that trains, and the floor that they put under a step.

Every measurement is a loop inside one compiled program whose iterations wait for each other, long enough that the call
itself does not count.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.bench.timing import Contender, Timing, repeated
from jaxrnn.bench.workload import Array, Workload, vocabulary_size
from jaxrnn.kernels.matmul import times_matrix
from jaxrnn.network.cells import get_cell

SECONDS = 0.04  # that a measurement takes in each round
_LARGE = 2**26  # bytes of an array that no cache holds


class Limits(NamedTuple):
    """What the machine can do, and the floor.

    Attributes:
        recurrent: seconds of a product [B, H] x [H, G*H] that waits for the one before, the mean of both directions.
        products: seconds of all other products of a step.
        products_flop: their floating-point operations.
        update: seconds to move the optimizer's bytes.
        update_bytes: how many.
        bandwidth: bytes a second of x = x / 2 + y with arrays of the parameters' size.
        memory_bandwidth: the same with arrays of 64 MB.
        peak: floating-point operations a second in a large product.
        peak_size: N of that product, [N, N] x [N, N].
        floor: seconds; 2 T recurrent + products + update.
    """

    recurrent: Timing
    products: Timing
    products_flop: int
    update: Timing
    update_bytes: int
    bandwidth: Timing
    memory_bandwidth: Timing
    peak: Timing
    peak_size: int
    floor: Timing


class LimitRace:
    """The measurements as contenders of a race, and what their timings mean."""

    def __init__(self, workload: Workload) -> None:
        """Compile and warm up."""
        self.workload = workload
        model, T, B = workload.config.model, workload.config.sequence_length, workload.config.batch_size
        cell, H, V = get_cell(model.cell), model.hidden_size, vocabulary_size(model)
        width = cell.gates * H
        dtype, random = jnp.dtype(model.dtype), np.random.default_rng(0)

        def orthogonal(rows: int, columns: int) -> Array:
            # A reflection, or a part of one: a chain of products by it and its transpose neither grows nor dies out.
            v = random.standard_normal(max(rows, columns))
            v /= np.linalg.norm(v)
            return (np.eye(rows, columns) - 2 * np.outer(v[:rows], v[:columns])).astype(dtype)

        def normal(*shape: int) -> Array:
            return random.standard_normal(shape).astype(dtype)

        self.params_size = (V + H + 1 + cell.recurrent_bias) * width + (H + 1) * V

        def forwards(Whh: Any, h: Any) -> Any:
            return times_matrix(Whh, B)(h)

        def backwards(Whh: Any, d_gates: Any) -> Any:
            return times_matrix(Whh, B, transposed=True)(d_gates)

        # Whh: for each gate the same orthogonal matrix, divided so that the chain below neither grows nor dies out.
        scale = cell.gates ** (0.5 if B > 1 else 1.0)
        Whh, h = (np.tile(orthogonal(H, H), cell.gates) / scale).astype(dtype), normal(B, H)
        self.recurrent: dict[str, Contender]
        if B > 1:
            self.recurrent = {"both ways": _loop(lambda Whh, h: backwards(Whh, forwards(Whh, h)), Whh, h)}
        else:  # each direction in a loop of its own, as in training: a matrix then stays in the nearest cache

            def next_h(Whh: Any, h: Any) -> Any:
                return reduce(jnp.add, jnp.split(forwards(Whh, h), cell.gates, axis=1))

            def previous_h(Whh: Any, h: Any) -> Any:
                return backwards(Whh, jnp.concatenate([h] * cell.gates, axis=1))

            self.recurrent = {"forwards": _loop(next_h, Whh, h), "backwards": _loop(previous_h, Whh, h)}
        readout = (normal(T * B, H), np.zeros((H, V), dtype), np.zeros((H, width), dtype))
        products = _loop(_products, (orthogonal(H, V), normal(T * B, width)), readout)
        large = _LARGE // dtype.itemsize
        self.contenders: dict[str, Contender] = {
            **self.recurrent,
            "products": products,
            "triad": _loop(_triad, normal(self.params_size), normal(self.params_size)),
            "large triad": _loop(_triad, normal(large), normal(large)),
        }
        self.peak_size = 512
        while True:
            peak = _loop(lambda Q, x: x @ Q, orthogonal(self.peak_size, self.peak_size), normal(*[self.peak_size] * 2))
            if peak() > 0.01 or self.peak_size >= 8192:
                break
            self.peak_size *= 2
        self.contenders["peak"] = peak

    def limits(self, timings: dict[str, Timing]) -> Limits:
        """Return the limits from the timings of `contenders`, round by round."""
        seconds = {name: np.array(timings[name].rounds) for name in self.contenders}
        config = self.workload.config
        H, V, T = config.model.hidden_size, vocabulary_size(config.model), config.sequence_length
        width, itemsize = get_cell(config.model.cell).gates * H, jnp.dtype(config.model.dtype).itemsize
        moved = update_values(config.optimizer.name, self.params_size, width, V, self.workload.rows()) * itemsize
        recurrent = np.sum([seconds[name] for name in self.recurrent], axis=0) / 2
        bandwidth = 3 * self.params_size * itemsize / seconds["triad"]
        update = moved / bandwidth
        return Limits(
            recurrent=Timing.of(recurrent),
            products=Timing.of(seconds["products"]),
            products_flop=2 * T * config.batch_size * H * (3 * V + width),
            update=Timing.of(update),
            update_bytes=moved,
            bandwidth=Timing.of(bandwidth),
            memory_bandwidth=Timing.of(3 * _LARGE / seconds["large triad"]),
            peak=Timing.of(2 * self.peak_size**3 / seconds["peak"]),
            peak_size=self.peak_size,
            floor=Timing.of(2 * T * recurrent + seconds["products"] + update),
        )


def update_values(optimizer: str, params_size: int, width: int, vocab_size: int, rows: float) -> int:
    """Return how many numbers the optimizer has to read and write.

    Adagrad reads a gradient, a memory and a parameter and writes the latter two; where the gradient is zero, as in the
    rows of Wxh whose character is absent, there is nothing to do. Adam has two memories, and moves everything always.
    """
    if optimizer == "adam":
        return 7 * params_size
    return 5 * (params_size - math.floor((vocab_size - rows) * width))


def _products(constants: tuple[Any, Any], state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Logits, and the gradients of hidden states, Why and Whh: every product of a step that does not wait for h_tm1."""
    (Why, d_gates), (hidden, _, _) = constants, state
    logits = hidden @ Why
    return logits @ Why.T, hidden.T @ logits, hidden.T @ d_gates


def _triad(y: Any, x: Any) -> Any:
    return 0.5 * x + y


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

    def contender(count: int) -> Contender:
        return repeated(lambda: run(count), count, seconds=0.0)

    count = 1
    while (seconds := contender(count)() * count) < SECONDS / 8:
        count *= 2 if seconds > 1e-4 else 16
    return contender(max(1, round(count * SECONDS / seconds)))

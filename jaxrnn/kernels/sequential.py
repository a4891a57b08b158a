"""Operations of a microsecond, run one after the other."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

State = TypeVar("State")
Inputs = TypeVar("Inputs")


def in_order(body: Callable[[State, Inputs], State], state: State, inputs: Inputs, *, never: jax.Array) -> State:
    """Return body(state, inputs), computed on a CPU inside a loop of one round; for the inside of jit.

    Outside of loops XLA hands the operations of a program to a pool of threads, which takes longer than operations of a
    microsecond do; inside, it runs them one after the other. (One of them may still be split over all the threads.)

    Args:
        body: (state, inputs) -> state of the same shapes and types.
        state: what it begins with; where it is donated, it is changed in place.
        inputs: what else it computes with. Of that alone which it takes from elsewhere is computed before the loop.
        never: bool [], False, but not known to be when the program is compiled: the loop would go.
    """

    def in_a_loop(state: State, inputs: Inputs) -> State:
        def round_of_one(index: jax.Array, before: State) -> State:
            # For all that XLA can tell the inputs change with the index: it can't take anything out of the loop.
            return body(before, lax.optimization_barrier((inputs, index))[0])

        return lax.fori_loop(0, jnp.where(never, 0, 1), round_of_one, state)

    body = jax.jit(body)  # traced once, for both
    return lax.platform_dependent(state, inputs, cpu=in_a_loop, default=body)

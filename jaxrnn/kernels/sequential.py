"""Small operations, run one after the other.

Outside of loops XLA's CPU client hands the operations of a program to a thread pool, which takes longer than an
operation of a microsecond does. Inside a loop it runs them in order on one thread. (A large product is still split over
all threads.) So a program of small operations is put into a loop of one round.

A GPU waits for the command to start each kernel. XLA sends it the kernels of one round of a loop with one command: the
more steps a round has, the fewer commands.

Earns (time without / with): one training step a call, tanh B 1 T 25 H 100, 1.93 (Intel Sapphire Rapids) and 1.74 (AMD
Zen 5), and a call of `sample` for one character 6.6 (AMD). Eight steps a round (NVIDIA H100, jax 0.11): tanh B 1 T 25
H 100 in chunks 3.7, LSTM B 64 T 128 H 512 1.32, GRU B 32 T 64 H 512 L 2 1.53.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax

from jaxrnn.kernels import uses

Carry = TypeVar("Carry")
State = TypeVar("State")
Inputs = TypeVar("Inputs")


def run_sequentially(body: Callable[[State, Inputs], State], state: State, inputs: Inputs) -> State:
    """Return body(state, inputs), a state of the same shapes and types; on a CPU from inside a loop of one round.

    A state that is donated to the jitted function around this is updated in place. Values that `body` captures from
    outside, instead of reading them from `inputs`, are computed before the loop.
    """
    if not uses("sequential"):
        return body(state, inputs)

    def in_a_loop(state: State, inputs: Inputs) -> State:
        def one_round(index: jax.Array, state: State) -> State:
            # As far as XLA can tell, the inputs change with the index, so it can't move their use out of the loop.
            return body(state, lax.optimization_barrier((inputs, index))[0])

        # XLA would remove a loop that it knows to have one round.
        return lax.fori_loop(0, lax.optimization_barrier(1), one_round, state)

    body = jax.jit(body)  # traced once for both branches
    return lax.platform_dependent(state, inputs, cpu=in_a_loop, default=body)


_STEPS_PER_ROUND = 8  # on a GPU; with 16 no program was faster


def scan(
    step: Callable[[Carry, Any], tuple[Carry, Any]], carry: Carry, inputs: Any, **options: Any
) -> tuple[Carry, Any]:
    """Return lax.scan(step, carry, inputs), a loop over time, with several steps a round where that is faster."""
    steps = 1 if jax.default_backend() == "cpu" or not uses("sequential") else _STEPS_PER_ROUND
    return lax.scan(step, carry, inputs, unroll=steps, **options)

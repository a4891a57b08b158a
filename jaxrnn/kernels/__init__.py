"""How the network is made fast, on a CPU above all: each kernel beside its plain twin, the expression that it equals.

The rest of the package says what is computed; a kernel says how XLA is made to do it fast. Each module states at its
top what its kernel earns, as time without it / time with it. `jaxrnn bench kernels` measures that on your machine.

    kernel        its plain twin
    unroll        network.recurrence: a `lax.scan` that JAX differentiates
    matmul        h @ W inside a loop, a.T @ b after it
    sequential    the body itself, without a loop around it; a `lax.scan` of one step a round
    categorical   a cumulative sum over all tokens
    bernoulli     `jax.random.bernoulli`, of which each device takes its lanes
    lookup        W[tokens], whose gradient a GPU adds up in any order
    sparse_rows   the training step, with a dense update of Wxh
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

from jaxrnn.errors import JaxrnnError

__all__ = ["KERNELS", "plain", "uses"]

KERNELS = ("unroll", "matmul", "sequential", "categorical", "bernoulli", "lookup", "sparse_rows")

# Part of the key of JAX's caches, as `jax.default_matmul_precision` is: where it differs, functions are traced again.
_plain: Any = jax.make_user_context(default_value=frozenset())


@contextlib.contextmanager
def plain(*names: str) -> Iterator[None]:
    """Trace with the plain twins of these kernels; without names, of all. Raises JaxrnnError for an unknown name.

    Example:
        >>> with plain("unroll"):
        ...     uses("unroll"), uses("matmul")
        (False, True)
    """
    for name in names:
        if name not in KERNELS:
            raise JaxrnnError(f"no such kernel: {name}; there are {', '.join(KERNELS)}")
    with _plain(_plain.value | frozenset(names or KERNELS)):
        yield


def uses(name: str) -> bool:
    """Return whether a kernel is to be traced, rather than its plain twin; under `jax.disable_jit` the twins run."""
    return bool(name not in _plain.value) and not jax.config.jax_disable_jit  # type: ignore[attr-defined]

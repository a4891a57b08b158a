"""Checks of how text may be drawn."""

import math
from typing import TypeGuard, TypeVar

import jax

from jaxrnn.errors import JaxrnnError

Number = TypeVar("Number", bound=float | jax.Array)


def check_draw(
    vocab_size: int, temperature: float | jax.Array, top_k: int | jax.Array | None, top_p: float | jax.Array | None
) -> None:
    """Raise JaxrnnError for the first of these that is out of its range; what is traced passes."""
    if is_known(temperature) and not (math.isfinite(temperature) and temperature >= 0):
        raise JaxrnnError(f"temperature must be a finite number from 0 (the likeliest character) on, got {temperature}")
    if is_known(top_k) and top_k not in range(1, vocab_size + 1):
        raise JaxrnnError(f"top_k must be a whole number from 1 to {vocab_size}, what the model knows, got {top_k}")
    if is_known(top_p) and not 0 < top_p <= 1:
        raise JaxrnnError(f"top_p must be a probability in (0, 1], got {top_p}")


def is_known(value: Number | None) -> TypeGuard[Number]:
    """Return whether a value is there, and no tracer."""
    return value is not None and not isinstance(value, jax.core.Tracer)

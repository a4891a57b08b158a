"""Validation while training: the loss on a slice that is not trained on, and the best loss so far."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.errors import NonFiniteError
from jaxrnn.evaluation.score import default_lanes, surprisals_in_parts
from jaxrnn.network.model import Params
from jaxrnn.text import Slice


class Best(NamedTuple):
    """The best validation so far.

    Attributes:
        step: training steps that had been done.
        loss: nats per character.
        since: validations since then, none of which was better.
    """

    step: int
    loss: float
    since: int = 0


def validate(
    params: Params,
    part: Slice,
    config: ModelConfig,
    should_stop: Callable[[], object] = lambda: False,
    mesh: Mesh | None = None,
) -> float | None:
    """Return the loss on a slice, nats per character, read in up to 64 lanes that are split over a mesh.

    Return None as soon as `should_stop`, which is called repeatedly, returns true.

    Raises:
        NonFiniteError: the loss is infinite or not a number.
    """
    lanes = default_lanes(len(part.tokens) - 1)
    parts = surprisals_in_parts(params, part.tokens, config, lanes=lanes, starts=part.starts, mesh=mesh)
    total = 0.0
    for _, nats in parts:
        if should_stop():
            return None
        total += float(nats.sum(dtype=np.float64))
    loss = total / (len(part.tokens) - 1)
    if not math.isfinite(loss):
        raise NonFiniteError("the validation loss is not finite; try a smaller learning_rate or clip_value")
    return loss


def better(best: Best | None, step: int, loss: float) -> Best:
    """Return the best validation after one more."""
    return Best(step, loss) if best is None or loss < best.loss else best._replace(since=best.since + 1)


def to_counters(best: Best | None) -> dict[str, int | float]:
    """Return the counters that a checkpoint keeps of the best validation."""
    return {} if best is None else {f"best_{name}": value for name, value in best._asdict().items()}


def from_counters(counters: Mapping[str, int | float]) -> Best | None:
    """Return the best validation of a checkpoint's counters."""
    if "best_step" not in counters:
        return None
    return Best(int(counters["best_step"]), float(counters["best_loss"]), int(counters["best_since"]))

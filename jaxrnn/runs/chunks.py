"""The number of steps of a dispatch: small enough that a run which is asked to stop does so soon."""

import time

import jax

from jaxrnn.config import TrainConfig
from jaxrnn.network.cells import get_cell

SECONDS = 2.0  # that a dispatch of several steps should take at most


class ChunkLimit:
    """The most steps of a dispatch: `chunk_length`, or fewer of a model so large that they would take many seconds.

    The first limit is estimated from the size of the model. When a dispatch takes much longer, the limit is lowered.
    Nothing that is trained depends on it: a chunk is a scan of the same step.
    """

    def __init__(self, config: TrainConfig, models: int = 1) -> None:
        """Estimate the limit; it stays where several models or processes train in step."""
        self.steps = max(1, min(config.chunk_length, int(SECONDS / (models * _seconds_per_step(config)))))
        self._fixed = models > 1 or jax.process_count() > 1
        self._compiled: set[int] = set()  # lengths
        self._began = 0.0

    def end_of_next(self, step: int, boundary: int) -> int:
        """Return the step that the next chunk ends with, on the way to `boundary` in chunks of nearly equal length."""
        count = -(-(boundary - step) // self.steps)
        return step + -(-(boundary - step) // count)

    def begin(self) -> None:
        """Note that a chunk begins."""
        self._began = time.perf_counter()

    def end(self, steps: int) -> None:
        """Note that it has ended; the first chunk of a length is not counted, as it was compiled too."""
        seconds = time.perf_counter() - self._began
        if steps in self._compiled and seconds > 2 * SECONDS and not self._fixed:
            self.steps = max(1, int(steps * SECONDS / seconds))
        self._compiled.add(steps)


def _seconds_per_step(config: TrainConfig) -> float:
    """Estimate the seconds of a training step: its matrix products, and the cost of each time step."""
    model, on_cpu = config.model, jax.default_backend() == "cpu"
    hidden_size, vocab_size = model.hidden_size, model.vocab_size or 0
    gates = get_cell(model.cell).gates
    weights = gates * hidden_size**2 * (2 * model.num_layers - 1) + hidden_size * vocab_size
    flops = 6 * weights * config.sequence_length * config.batch_size  # per weight: forward 2, backward 4
    return flops / (5e10 if on_cpu else 5e12) + config.sequence_length * model.num_layers * 3e-6

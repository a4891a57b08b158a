"""How many steps go into one dispatch: few enough that who asks a run to stop need not wait for long."""

import time

import jax

from jaxrnn.config import TrainConfig
from jaxrnn.network.cells import get_cell

SECONDS = 2.0  # that a dispatch should take at most, if it has more than one step


class ChunkLimit:
    """The most steps in a dispatch: `chunk_length`, or fewer of a model so large that they would take seconds.

    The first limit is an estimate from the model's size. Where a dispatch takes much longer than that, the limit falls.
    It changes nothing that is trained: a chunk is a scan of the same step.
    """

    def __init__(self, config: TrainConfig, models: int = 1) -> None:
        """Estimate it. Models or processes that train in step have chunks of one length: their limit stays."""
        self.steps = max(1, min(config.chunk_length, int(SECONDS / (models * _seconds_a_step(config)))))
        self._stays = models > 1 or jax.process_count() > 1
        self._known: set[int] = set()
        self._began = 0.0

    def end_of_next(self, step: int, boundary: int) -> int:
        """Return the step that the next chunk ends with, on the way to `boundary` in chunks of nearly equal length."""
        count = -(-(boundary - step) // self.steps)
        return step + -(-(boundary - step) // count)

    def begin(self) -> None:
        """Note that a chunk begins."""
        self._began = time.perf_counter()

    def end(self, steps: int) -> None:
        """Note that it has ended; the first one of its length was compiled too, and tells nothing."""
        seconds = time.perf_counter() - self._began
        if steps in self._known and seconds > 2 * SECONDS and not self._stays:
            self.steps = max(1, int(steps * SECONDS / seconds))
        self._known.add(steps)


def _seconds_a_step(config: TrainConfig) -> float:
    """Return about how long a training step takes: the matrix products, and what each step in time costs anyway."""
    model, on_cpu = config.model, jax.default_backend() == "cpu"
    hidden_size, vocab_size = model.hidden_size, model.vocab_size or 0
    gates = get_cell(model.cell).gates
    weights = gates * hidden_size**2 * (2 * model.num_layers - 1) + hidden_size * vocab_size
    products = 6 * weights * config.sequence_length * config.batch_size  # forwards 2 for each, backwards 4
    return products / (5e10 if on_cpu else 5e12) + config.sequence_length * model.num_layers * 3e-6

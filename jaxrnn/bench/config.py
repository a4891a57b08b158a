"""The configuration of a benchmark: a training run, and how it is measured."""

import dataclasses
from typing import Any

from jaxrnn.config import ModelConfig, TrainConfig, with_settings
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError

_MAX_CHARACTERS = 10**8  # in memory at a time


class BenchError(JaxrnnError):
    """A benchmark that cannot be trusted or finished: a contender computes something else, or a process failed."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """A workload; the defaults are those of min-char-rnn."""

    training: TrainConfig = TrainConfig(model=ModelConfig(vocab_size=65))  # noqa: RUF009, it is frozen
    """The training run, with `model.vocab_size`."""
    optimizer: Any = None
    """A user-defined optax.GradientTransformation, where `training.optimizer` is "custom"."""
    devices: int = 1
    """Devices that share the lanes of `step` and the streams of `sample`; the largest number in `devices`."""
    repeats: int | None = None
    """Rounds, each measures everything once; 15, or 9 in sweep, devices, 7 in kernels, 5 in startup, scaling."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_in(self.training.model.vocab_size, "[2, 1000000]", "vocab_size")
        check_in(self.repeats, "[1, 1000000]", "repeats")
        check_in(self.devices, "[1, 1000]", "devices")  # each device of a CPU takes at least one thread
        if self.training.chunk_length * self.characters > _MAX_CHARACTERS:
            product = "chunk_length x sequence_length x batch_size"
            raise JaxrnnError(f"{product} must be at most {_MAX_CHARACTERS:,}; reduce chunk_length")

    @property
    def characters(self) -> int:
        """Characters per training step, T*B."""
        return self.training.sequence_length * self.training.batch_size

    def changed(self, **settings: Any) -> "BenchConfig":
        """Return this configuration with other settings of the training run, by the names of their flags."""
        return dataclasses.replace(self, training=with_settings(self.training, settings))

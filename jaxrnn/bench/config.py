"""The configuration of a benchmark: one small dataclass, the flags of `jaxrnn bench`."""

import dataclasses
from typing import Literal

from jaxrnn.config import TrainConfig, with_settings
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError

_MAX_CHARACTERS = 10**8  # in memory at a time


class BenchError(JaxrnnError):
    """A benchmark that cannot be trusted or finished: a reference computes something else, or a process failed."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """A workload; the defaults are those of min-char-rnn."""

    cell: Literal["tanh", "gru", "lstm"] = "tanh"
    """Recurrent cell."""
    hidden_size: int = 100
    """Units in the layer (H)."""
    sequence_length: int = 25
    """Characters per lane in a training step (T)."""
    batch_size: int = 1
    """Lanes (B)."""
    vocab_size: int = 65
    """Distinct symbols (V)."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and arithmetic; the NumPy reference always computes in float64."""
    products: Literal["full", "bfloat16"] = "full"
    """Type of the factors of matrix products; with bfloat16, the suite `step` measures full ones too."""
    optimizer: Literal["adagrad", "adam"] = "adagrad"
    """Optimizer."""
    chunk_length: int = 100
    """Training steps per call (K)."""
    devices: int = 1
    """Devices that share the lanes of `step` and the streams of `sample`; the largest number in `devices`."""
    repeats: int | None = None
    """Rounds, each measures everything once; 15, or 9 in sweep, devices, 7 in kernels, 5 in startup, scaling."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        self.train_config()
        check_in(self, "[1, 1000000]", "vocab_size", "repeats")
        check_in(self, "[1, 1000]", "devices")  # each device of a CPU takes at least one thread
        if self.chunk_length * self.characters > _MAX_CHARACTERS:
            product = "chunk_length x sequence_length x batch_size"
            raise JaxrnnError(f"{product} must be at most {_MAX_CHARACTERS:,}; reduce chunk_length")

    @property
    def characters(self) -> int:
        """Characters per training step, T*B."""
        return self.sequence_length * self.batch_size

    def train_config(self) -> TrainConfig:
        """Return the training run that does this work; the only place where one is made."""
        settings = ("cell", "hidden_size", "sequence_length", "batch_size", "vocab_size", "dtype", "products")
        values = {name: getattr(self, name) for name in (*settings, "optimizer", "chunk_length")}
        return with_settings(TrainConfig(), values)

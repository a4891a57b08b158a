"""What a benchmark runs: one small dataclass, the flags of `jaxrnn bench`."""

import dataclasses
from typing import Literal

from jaxrnn.config import CellName, ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError

_MOST = 10**8  # characters in memory at a time


class BenchError(JaxrnnError):
    """A benchmark that can't be trusted or finished: a reference computes something else, or a process failed."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """A workload; the defaults are min-char-rnn's."""

    cell: CellName = "tanh"
    """Recurrent cell."""
    hidden_size: int = 100
    """Units in the layer (H)."""
    sequence_length: int = 25
    """Characters of each lane in a training step (T)."""
    batch_size: int = 1
    """Lanes (B)."""
    vocab_size: int = 65
    """Distinct symbols (V)."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and arithmetic; the NumPy reference always computes in float64."""
    products: Literal["full", "bfloat16"] = "full"
    """Factors of matrix products, as in training; with bfloat16, the step with full ones is measured beside it."""
    optimizer: Literal["adagrad", "adam"] = "adagrad"
    """The rule by which a gradient becomes an update."""
    chunk_length: int = 100
    """Training steps in one dispatch to the device (K)."""
    devices: int = 1
    """Devices that the lanes of `step` and the streams of `sample` are split over; the most of them in `devices`."""
    streams: tuple[int, ...] = (1, 16, 64, 256)
    """Streams of characters drawn side by side, in the suite `sample`."""
    models: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Models that are trained side by side, in the suite `sweep`."""
    sample_length: int = 1000
    """Characters of a stream in one dispatch, in the suite `sample`."""
    repeats: int | None = None
    """Rounds in which everything is measured once; by default 15, 9 for sweep and devices, 5 for startup, scaling."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        self.train_config()
        named = [(name, getattr(self, name)) for name in ("vocab_size", "devices", "sample_length", "repeats")]
        several = [(name, value) for name in ("streams", "models") for value in getattr(self, name)]
        for name, value in [*named, *several]:
            most = 1000 if name == "devices" else 10**6  # a device of a CPU takes a thread at least
            if value is not None and not 1 <= value <= most:
                raise JaxrnnError(f"{name} must be from 1 to {most:,}, got {value}")
        if self.chunk_length * self.sequence_length * self.batch_size > _MOST:
            raise JaxrnnError(
                f"chunk_length x sequence_length x batch_size must be at most {_MOST:,}; make chunk_length smaller"
            )
        if max(self.streams, default=1) * self.sample_length > _MOST:
            raise JaxrnnError(f"streams x sample_length must be at most {_MOST:,}; make sample_length smaller")
        for name in ("streams", "models"):
            if not getattr(self, name):
                raise JaxrnnError(f"{name} must have one number at least, such as --{name} 1 64")

    def train_config(self) -> TrainConfig:
        """Return the training run that does this work; the only place where one is made."""
        return TrainConfig(
            model=ModelConfig(
                cell=self.cell,
                hidden_size=self.hidden_size,
                dtype=self.dtype,
                products=self.products,
                vocab_size=self.vocab_size,
            ),
            optimizer=OptimizerConfig(name=self.optimizer),
            sequence_length=self.sequence_length,
            batch_size=self.batch_size,
            chunk_length=self.chunk_length,
        )

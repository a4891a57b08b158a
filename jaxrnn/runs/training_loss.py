"""Means of the training loss: numbers that can be compared with each other and with a validation; without JAX."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxrnn.config import TrainConfig
from jaxrnn.runs.metrics import without_start


class Epochs(NamedTuple):
    """Passes over the training slice; their means compare like with like, as each is over the same text."""

    done: float  # how many, such as 2.1
    last_bits_per_character: float | None  # the mean loss of the steps of the newest whole epoch; None: there is none
    before_bits_per_character: float | None  # that of the whole epoch before it


class TrainingLoss:
    """Means of the losses of training steps, computed in float64 and kept in the counters of a checkpoint.

    The running mean is exponential and does not depend on a starting value:

        mean_t = s_t / w_t,  s_t = d_t s_(t-1) + loss_t,  w_t = d_t w_(t-1) + 1,  d_t = 1 - 1/window_t

    The window is a fiftieth of the run's steps, or a twentieth of the steps so far while these are fewer, as the loss
    falls fast at first; and at least 10 steps.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int = 1) -> None:
        """Begin before the first step."""
        self._bits = 1 / (config.sequence_length * math.log(2))  # bits per character in one nat per T characters
        self._start = math.log2(config.model.vocab_size or 1)
        self._largest_window = max(10.0, config.steps / 50)
        self._steps_per_epoch = steps_per_epoch
        self._step = 0
        self._sums = {"mean": 0.0, "interval": 0.0, "epoch": 0.0}  # nats per T characters
        self._weights = {"mean": 0.0, "interval": 0.0, "epoch": 0.0}  # what the sums are divided by
        self._epochs: dict[str, float] = {}  # "last", "before": nats per T characters

    def begin(self, loss: float) -> None:
        """Begin with the loss of given parameters, in nats per T characters; it is the mean until the first step."""
        self._weights["mean"] = 1e-9
        self._sums["mean"] = self._weights["mean"] * loss

    def resume(self, counters: Mapping[str, float], smooth_loss: float) -> None:
        """Take the counters of a checkpoint; where 0.1.0 left none, take the running mean from the smooth loss."""
        self._step = step = int(counters["step"])
        if "mean_weight" not in counters:
            weight = self._weights["mean"] = min(step, 1 / (1 - self._decays(step, 1)[0]))
            self._sums["mean"] = weight * without_start(smooth_loss, self._start / self._bits, step)
            return
        for name in self._sums:
            self._sums[name], self._weights[name] = (counters.get(f"{name}_{part}", 0.0) for part in ("sum", "weight"))
        self._epochs = {name: counters[f"epoch_{name}"] for name in ("last", "before") if f"epoch_{name}" in counters}

    @property
    def counters(self) -> dict[str, float]:
        """What `resume` takes."""
        sums = {f"{name}_sum": value for name, value in self._sums.items()}
        weights = {f"{name}_weight": value for name, value in self._weights.items()}
        return {**sums, **weights, **{f"epoch_{name}": value for name, value in self._epochs.items()}}

    def add(self, losses: Sequence[float]) -> None:
        """Take the losses of the next steps, nats per T characters."""
        while losses:
            left = self._steps_per_epoch - self._step % self._steps_per_epoch
            self._add_within_epoch(losses[:left])
            losses = losses[left:]

    def _add_within_epoch(self, losses: Sequence[float]) -> None:
        (mean, interval, epoch), weight = self._sums.values(), self._weights["mean"]
        decays = self._decays(self._step + 1, len(losses))
        # One by one: the sums are then the same however the steps are cut into chunks.
        for loss, decay in zip(losses, decays, strict=True):
            mean = decay * mean + loss
            weight = decay * weight + 1.0
            interval += loss
            epoch += loss
        self._sums = {"mean": mean, "interval": interval, "epoch": epoch}
        steps = {name: self._weights[name] + len(losses) for name in ("interval", "epoch")}
        self._weights = {"mean": weight, **steps}
        self._step += len(losses)
        if self._step % self._steps_per_epoch == 0:
            before = {"before": self._epochs["last"]} if "last" in self._epochs else {}
            is_whole = steps["epoch"] == self._steps_per_epoch  # earlier versions left a part of it, or nothing
            self._epochs = {**before, **({"last": epoch / steps["epoch"]} if is_whole else {})}
            self._sums["epoch"] = self._weights["epoch"] = 0.0

    def _decays(self, step: int, count: int) -> list[float]:
        windows = np.clip(np.arange(step, step + count) / 20, 10.0, self._largest_window)
        decays: list[float] = (1 - 1 / windows).tolist()
        return decays

    def end_interval(self) -> None:
        """Begin the interval after a line of the metrics."""
        self._sums["interval"] = self._weights["interval"] = 0.0

    @property
    def mean(self) -> float:
        """The running mean, bits per character; before the first step log2 V, as of a network that knows nothing."""
        return self._mean("mean") if self._weights["mean"] else self._start

    @property
    def interval(self) -> float | None:
        """The mean over the steps since the last line of the metrics, bits per character; None: there is no step."""
        return self._mean("interval") if self._weights["interval"] else None

    @property
    def epochs(self) -> Epochs:
        """The epochs so far."""
        bits = {name: nats * self._bits for name, nats in self._epochs.items()}
        return Epochs(self._step / self._steps_per_epoch, bits.get("last"), bits.get("before"))

    def _mean(self, name: str) -> float:
        return self._sums[name] / self._weights[name] * self._bits

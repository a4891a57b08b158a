"""What the training loop reports between two steps."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxrnn.config import TrainConfig
from jaxrnn.config.fields import of_fields
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.training_loss import Epochs
from jaxrnn.training.step import TrainState


class Best(NamedTuple):
    """The best validation so far."""

    step: int  # training steps that had been done
    loss: float  # nats per character
    since: int = 0  # validations since then, none of which was better
    newest: float | None = None  # the loss of the newest validation, nats per character

    @property
    def bits_per_character(self) -> float:
        """The loss in bits per character."""
        return self.loss / math.log(2)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """A report of `fit` between two training steps.

    Attributes:
        step: training steps done.
        loss: of the last batch, nats per T characters; None before the first step.
        smooth_loss: min-char-rnn's running mean of the loss, which starts at T ln V: nats per T characters.
        bits_per_character: a running mean of the loss that can be compared with others: over at most a fiftieth of
            the run's steps, as `jaxrnn.runs.training_loss` describes. Bits per byte where the vocabulary is of bytes.
        interval_bits_per_character: the mean over the steps since the last line of metrics.jsonl; None at step 0.
        epochs: the passes over the training slice so far, with their means.
        seconds: since `fit` began, compilation included; a resumed run adds those up to its checkpoint.
        sample: a text that the network writes now; None where no sample is due.
        validation_loss: on the validation slice, nats per character; None where no validation is due.
        best: the best validation so far; None before the first.
        finished: whether the run is over: all steps are done, or `patience` validations brought nothing better.
        config: the run's configuration, completed by its corpus: `config.model` is the network's.
        current_state: returns the state while training has not moved on, then None; read `state` instead.
    """

    step: int
    loss: float | None
    smooth_loss: float
    bits_per_character: float
    interval_bits_per_character: float | None
    epochs: Epochs
    seconds: float
    sample: str | None
    validation_loss: float | None
    best: Best | None
    finished: bool
    config: TrainConfig = dataclasses.field(repr=False)
    current_state: Callable[[], TrainState | None] = dataclasses.field(repr=False)

    @functools.cached_property
    def state(self) -> TrainState:
        """The state after `step` steps: a copy, made when it is first read.

        Raises JaxrnnError if it was not read before the next report was taken: training has reused its memory.
        """
        state = self.current_state()
        if state is None:
            raise JaxrnnError(
                f"the state of step {self.step} is gone, as training has moved on; read report.state before you take "
                "the next report: what has been read stays"
            )
        return jax.tree.map(_copy, state)

    def __repr__(self) -> str:
        """Return what there is to report, without the configuration and the state."""
        names = [field.name for field in dataclasses.fields(self) if field.repr]
        return of_fields(self, **{name: getattr(self, name) for name in names})


def _copy(leaf: jax.Array) -> jax.Array:
    """Return a copy on the same devices; one process can make it without the others."""
    shards = [jax.device_put(shard.data, shard.data.sharding, may_alias=False) for shard in leaf.addressable_shards]
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, shards)


def losses_in_words(report: Report) -> list[str]:
    """Return the losses of a report in words: of training, of the newest validation, and of the best one."""
    words, best = [f"{report.bits_per_character:.3f} {report.config.loss_unit}"], report.best
    if best:
        words.append(f"validation {(best.loss if best.newest is None else best.newest) / math.log(2):.3f}")
    if best and best.since:
        words.append(f"best {best.bits_per_character:.3f} after step {best.step:,}")
    return words


def sample_title(report: Report) -> str:
    """Return the line above a sample."""
    return f"---- step {report.step:,}: {report.bits_per_character:.3f} {report.config.loss_unit} ----"

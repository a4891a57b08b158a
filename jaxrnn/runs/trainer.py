"""A run between two chunks of training steps: what is due, what is reported, what is saved."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig
from jaxrnn.errors import NonFiniteError
from jaxrnn.network.loss import bits_per_character
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.chunks import ChunkLimit
from jaxrnn.runs.data import RunData
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.report import Report
from jaxrnn.runs.validation import better, from_counters, validate
from jaxrnn.text import Batch
from jaxrnn.training.step import Loss, Metrics, Optimizer, TrainState

WriteSample = Callable[[TrainState, int, bool], str | None]  # of the state, the step, whether it is the last sample


class Run(NamedTuple):
    """A run that is ready to be trained.

    Attributes:
        config: its configuration, completed by its corpus.
        data: what it trains on and validates with.
        checkpoint: the checkpoint that it resumes; None: it begins.
        directory: where it is kept; None: nowhere.
        mesh: the devices that train it; None: one.
        loss: what is minimized.
        optimizer: a user-defined optimizer; None: the one that the configuration describes.
    """

    config: TrainConfig
    data: RunData
    checkpoint: Checkpoint | None = None
    directory: RunDirectory | None = None
    mesh: Mesh | None = None
    loss: Loss = cross_entropy
    optimizer: Optimizer | None = None

    @property
    def first_step(self) -> int:
        """Training steps that are done when it begins or resumes."""
        return int(self.checkpoint.counters["step"]) if self.checkpoint else 0


class Due(NamedTuple):
    """What is due after a training step."""

    sample: bool
    log: bool
    checkpoint: bool


def is_due(every: int, step: int) -> bool:
    """Return whether a step is a multiple of an interval; an interval of 0 never comes."""
    return every > 0 and step % every == 0


def due_after(step: int, config: TrainConfig, *, finished: bool, validated: bool) -> Due:
    """Return what is due after a step, after which the run may be finished or validated."""
    sample = finished or is_due(config.sample_every, step)
    log = sample or validated or is_due(config.log_every, step)
    return Due(sample, log, checkpoint=finished or (step > 0 and is_due(config.checkpoint_every, step)))


def is_validation_due(step: int, config: TrainConfig) -> bool:
    """Return whether a run with a validation slice is validated after a step."""
    return step > 0 and (step == config.steps or is_due(config.validate_every, step))


def next_step(step: int, config: TrainConfig, limit: ChunkLimit) -> int:
    """Return the step that the chunk after `step` ends with: at most the next one after which something is due."""
    if step >= config.steps:
        return step
    intervals = (config.log_every, config.sample_every, config.checkpoint_every, config.validate_every)
    boundary = min(config.steps, *(step - step % every + every for every in intervals if every))
    return limit.end_of_next(step, boundary)


class Trainer:
    """A run between two chunks of training steps; `fit` has one, `fit_many` one per member.

    The caller trains on `next_batches()` from `state`, and passes the result to `advance`. Then `settle` validates,
    reports and saves what is due.

    Attributes:
        state: the TrainState.
        step: training steps done.
        reported: whether `settle` has been called for this step.
        due: whether a report is due at this step: by an interval, or because the run ends here.
        stopped: whether the run has been asked to stop.
    """

    def __init__(
        self, run: Run, limit: ChunkLimit, state: TrainState, write_sample: WriteSample, began: float
    ) -> None:  # fmt: skip
        """Begin or resume a run at a state; `began` is the `time.perf_counter` of its start."""
        counters = run.checkpoint.counters if run.checkpoint else {}
        self.state, self.step, self.stopped, self.due = state, run.first_step, False, True
        # The checkpoint of an interrupted validation holds the loss of its step, which is still to be reported.
        self.reported, self._loss = run.checkpoint is not None and "loss" not in counters, counters.get("loss")
        self._run, self._limit, self._write_sample = run, limit, write_sample
        self._smooth_loss = float(state.smooth_loss)
        self._validation_loss: float | None = None
        self._best = from_counters(counters)
        self._began = began - counters.get("seconds", 0.0)
        self._ahead: Batch | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the patience has run out."""
        config, best = self._run.config, self._best
        return self.step >= config.steps or bool(config.patience and best and best.since >= config.patience)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.reported and (self.stopped or self.finished)

    def next_batches(self) -> Batch:
        """Return the batches of the next chunk."""
        batches, self._ahead = self._ahead or self._read(self.step), None
        self._limit.begin()
        return batches

    def read_ahead(self, num_steps: int) -> None:
        """Read the batches that follow the next `num_steps` steps; to be called while the device trains on these."""
        step = self.step + num_steps
        self._ahead = self._read(step) if step < self._run.config.steps else None

    def _read(self, step: int) -> Batch:
        config = self._run.config
        return self._run.data.batches(step, next_step(step, config, self._limit) - step, config, self._run.mesh)

    def advance(self, state: TrainState, metrics: Metrics, finite: jax.Array) -> None:
        """Take the result of a chunk: the state, the metrics [K], and whether all numbers of the state are finite.

        Raises:
            NonFiniteError: a number of the state or the loss is not finite.
        """
        losses, smooth_losses = jax.device_get(metrics)
        before = self.step
        self.state, self.step, self.reported = state, before + len(losses), False
        self._limit.end(len(losses))
        self._loss, self._smooth_loss, self._validation_loss = float(losses[-1]), float(smooth_losses[-1]), None
        if not (math.isfinite(self._smooth_loss) and finite):
            raise _not_finite(before, losses, self._smooth_loss, self._run.directory is not None)

    def settle(self, should_stop: Callable[[], object]) -> Report:
        """Validate, report and save what is due after this step; return the report, which may not be `due`.

        Args:
            should_stop: called during a validation, which it can interrupt; the validation is repeated on resume.

        Raises:
            NonFiniteError: the validation loss or a parameter is infinite or not a number.
        """
        run, config, best = self._run, self._run.config, self._best
        if run.data.validation and is_validation_due(self.step, config):
            loss = validate(self.state.params, run.data.validation, config.model, should_stop, run.mesh)
            if loss is None:
                self.stopped = self.reported = self.due = True
                self.save(unreported=self._loss)
                return self.report(with_sample=False, finished=False)
            self._validation_loss, self._best = loss, better(best, self.step, loss)
        validated = self._validation_loss is not None
        finished = self.finished
        due = due_after(self.step, config, finished=finished, validated=validated)
        report, self.due = self.report(due.sample, finished), due.log or self.stopped
        if run.directory:
            if due.log:
                run.directory.log(report)
            if validated and self._best and self._best.step == self.step:
                run.directory.save_best(self.state, self._best, self._seconds)
            if due.checkpoint or self.stopped:
                self.save()
        self.reported = True
        return report

    def report(self, with_sample: bool, finished: bool) -> Report:
        """Return a report on this step."""
        step = self.step
        return Report(
            step,
            self._loss,
            self._smooth_loss,
            bits_per_character(self._smooth_loss, self._run.config.sequence_length),
            self._seconds,
            self._write_sample(self.state, step, finished) if with_sample else None,
            self._validation_loss,
            self._best,
            finished,
            self._run.config,
            lambda: self.state if self.step == step else None,
        )

    def save(self, unreported: float | None = None) -> None:
        """Save a checkpoint, if the run is kept; `unreported` is the loss of a step that is still to be reported."""
        if self._run.directory:
            self._run.directory.save(self.state, self._best, self._seconds, unreported)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._began


def _not_finite(before: int, losses: "np.ndarray[Any, Any]", smooth_loss: float, saved: bool) -> NonFiniteError:
    """Return the error of a chunk that began after step `before`."""
    if math.isfinite(smooth_loss):
        what = f"between steps {before} and {before + len(losses)} a parameter became infinite or not a number"
    else:
        what = f"the loss of step {before + int(np.argmin(np.isfinite(losses)))} is not finite"
    hint = ": --resume goes on from the last checkpoint, which is untouched" if saved else ""
    return NonFiniteError(f"{what}; try a smaller learning_rate or clip_value{hint}")

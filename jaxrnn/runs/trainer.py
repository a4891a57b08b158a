"""A run between two chunks of training steps: what is due, what is reported, what is saved."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.evaluation.score import default_lanes, surprisals_in_parts
from jaxrnn.network import Params
from jaxrnn.runs.programs import Sampler
from jaxrnn.runs.report import Best, Report
from jaxrnn.runs.run import Run
from jaxrnn.runs.training_loss import TrainingLoss
from jaxrnn.text import Slice
from jaxrnn.text.batch import steps_per_epoch
from jaxrnn.text.stream import Progress, silent
from jaxrnn.training.step import Metrics, TrainState


class Trainer:
    """A run between two chunks of training steps; `fit` has one, `fit_many` one per member.

    The caller trains on from `state`, and passes the result to `advance`. Then `settle` validates, reports and saves
    what is due.

    Attributes:
        state: the TrainState.
        step: training steps done.
        reported: whether `settle` has been called for this step.
        due: whether a report is due at this step: by an interval, or because the run ends here.
        stopped: whether the run has been asked to stop.
    """

    def __init__(
        self, run: Run, state: TrainState, sampler: Sampler, began: float, progress: Progress = silent
    ) -> None:
        """Begin or resume a run at a state; `began` is the `time.perf_counter` of its start."""
        counters = run.checkpoint.counters if run.checkpoint else {}
        self.state, self.step, self.stopped, self.due = state, run.first_step, False, True
        # The checkpoint of an interrupted validation holds the loss of its step, which is still to be reported.
        self.reported, self._loss = run.checkpoint is not None and "loss" not in counters, counters.get("loss")
        self._run, self._sampler, self._progress = run, sampler, progress
        self._smooth_loss = float(state.smooth_loss)
        self._training_loss = TrainingLoss(run.config, steps_per_epoch(len(run.train.tokens), run.config))
        if run.checkpoint:
            self._training_loss.resume(counters, self._smooth_loss)
        self._validation_loss: float | None = None
        best: Any = {name: counters[f"best_{name}"] for name in Best._fields if f"best_{name}" in counters}
        self._best = Best(**best) if best else None
        self._began = began - counters.get("seconds", 0.0)

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the patience has run out."""
        config, best = self._run.config, self._best
        return self.step >= config.steps or bool(config.patience and best and best.since >= config.patience)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.reported and (self.stopped or self.finished)

    def advance(self, state: TrainState, metrics: Metrics, finite: jax.Array) -> None:
        """Take the result of a chunk: the state, the metrics [K], and whether all numbers of the state are finite.

        Raises NonFiniteError if a number of the state or the loss is not finite.
        """
        losses, smooth_losses = jax.device_get(metrics)
        before, self.state, self.step = self.step, state, self.step + len(losses)
        self._loss, self._smooth_loss, self._validation_loss = float(losses[-1]), float(smooth_losses[-1]), None
        self.reported = False
        if math.isfinite(self._smooth_loss) and finite:
            self._training_loss.add(losses.tolist())
            return
        what = f"between steps {before} and {self.step} a parameter became infinite or not a number"
        if not math.isfinite(self._smooth_loss):
            what = f"the loss of step {before + int(np.argmin(np.isfinite(losses)))} is not finite"
        directory = self._run.directory
        has_checkpoint = directory and directory.has_checkpoint
        hint = ": --resume continues from the last checkpoint, which is untouched" if has_checkpoint else ""
        raise NonFiniteError(f"{what}; try a smaller learning_rate or clip_value{hint}")

    def settle(self, should_stop: Callable[[], object]) -> Report:
        """Validate, report and save what is due after this step; return the report, which may not be `due`.

        `should_stop` is called during a validation, which it can interrupt; the validation is repeated on resume.
        Raises NonFiniteError if the validation loss is infinite or not a number.
        """
        run, config, step = self._run, self._run.config, self.step
        if run.validation and step > 0 and (step == config.steps or _is_multiple(step, config.validate_every)):
            loss = validate(self.state.eval_params, run.validation, config.model, should_stop, run.mesh, self._progress)
            if loss is None:
                self.save()
                self.stopped = self.reported = self.due = True
                return self.report(with_sample=False, finished=False)
            self._validation_loss, best = loss, self._best
            self._best = Best(step, loss, newest=loss)
            if best and best.loss <= loss:
                self._best = best._replace(since=best.since + 1, newest=loss)
        is_validated, finished = self._validation_loss is not None, self.finished
        with_sample = finished or config.has_sample(step)
        is_logged = with_sample or is_validated or _is_multiple(step, config.log_every)
        report, self.due = self.report(with_sample, finished), is_logged or self.stopped
        if is_logged:
            self._training_loss.end_interval()
            if run.directory:
                run.directory.log(report)
        if run.directory and is_validated and self._best and self._best.step == step:
            run.directory.save_best(self.state, self._counters)
        self.reported = True
        if finished or self.stopped or (step > 0 and _is_multiple(step, config.checkpoint_every)):
            self.save()
        return report

    def report(self, with_sample: bool, finished: bool) -> Report:
        """Return a report on this step."""
        step = self.step
        return Report(
            step,
            self._loss,
            self._smooth_loss,
            self._training_loss.mean,
            self._training_loss.interval,
            self._training_loss.epochs,
            self._seconds,
            self._sampler.write(self.state, step, finished) if with_sample else None,
            self._validation_loss,
            self._best,
            finished,
            self._run.config,
            lambda: self.state if self.step == step else None,
        )

    def save(self) -> None:
        """Save a checkpoint, if the run is kept; for an unreported step also its loss, which is reported on resume."""
        if self._run.directory:
            unreported = {} if self.reported else {"loss": self._loss or 0.0}
            self._run.directory.save(self.state, {**self._counters, **unreported})

    def save_after(self, error: BaseException) -> None:
        """Save after the caller has left the loop or one of their functions has failed, but not after a JaxrnnError."""
        has_begun = self.reported or self._loss is not None
        if has_begun and not isinstance(error, JaxrnnError) and not self.state.step.is_deleted():
            self.save()

    @property
    def _counters(self) -> dict[str, float]:
        best = self._best._asdict() if self._best else {}
        best = {f"best_{name}": value for name, value in best.items() if value is not None}
        return {"seconds": self._seconds, **best, **self._training_loss.counters}

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._began


def _is_multiple(step: int, every: int) -> bool:
    """Return whether a step is a multiple of an interval; an interval of 0 never comes."""
    return every > 0 and step % every == 0


def validate(
    params: Params,
    part: Slice,
    config: ModelConfig,
    should_stop: Callable[[], object] = lambda: False,
    mesh: Mesh | None = None,
    progress: Progress = silent,
) -> float | None:
    """Return the loss on a slice, nats per character, read in up to 64 lanes that are split over a mesh.

    Return None as soon as `should_stop`, which is called repeatedly, returns true. Raises NonFiniteError if the loss is
    infinite or not a number.
    """
    count, total = len(part.tokens) - 1, 0.0
    for _, nats in surprisals_in_parts(params, part.tokens, config, default_lanes(count), part.starts, mesh):
        if should_stop():
            return None
        total += float(nats.sum(dtype=np.float64))
        progress("validating", len(nats), count)
    if not math.isfinite(total):
        raise NonFiniteError("the validation loss is not finite; try a smaller learning_rate or clip_value")
    return total / count

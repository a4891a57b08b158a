"""The training loop as a generator of reports."""

import atexit
import dataclasses
import math
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.checkpoint import Checkpoint
from jaxrnn.config import TrainConfig, to_json
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.loss import bits_per_character
from jaxrnn.processes import PeerError, check_same, together
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.material import Material, load, prepare
from jaxrnn.runs.programs import prepare_programs, sample_start
from jaxrnn.runs.report import Report
from jaxrnn.runs.validation import better, from_counters, validate
from jaxrnn.sharding import Devices, check_divides, make_mesh, on_one
from jaxrnn.text import Corpus


def fit(
    config: TrainConfig,
    corpus: Corpus | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop: Callable[[], object] = lambda: False,
    devices: Devices = 1,
) -> Generator[Report]:
    """Train, and report on it.

    Reports come before the first step, every `log_every` steps, whenever a sample or a validation is due, and at the
    end. A validation reads the parameters and nothing else of the state: it changes nothing that is trained. A sample
    comes from the current hidden state, its first input being the next character of the text; the one at the end goes
    on from `config.prompt` if that is given. Stopping early (leaving the loop, closing the generator) saves a
    checkpoint.

    Example:
        >>> config = TrainConfig(steps=200, log_every=100, sample_every=0, sample_length=10)
        >>> [report.step for report in fit(config)]
        [0, 100, 200]

    Args:
        config: the run.
        corpus: the text; None loads the one that `config.corpus` names.
        run_dir: where to keep the run; None keeps nothing.
        resume: go on with the run in `run_dir`; steps, intervals, patience, chunk length, prompt and the numbers of the
            optimizer may differ from what it began with.
        overwrite: replace the run in `run_dir`.
        stop: asked before the first chunk and after every one; once it returns something true, training saves, reports
            and ends.
        devices: how many to split the lanes over, or "all"; `batch_size` must be a multiple of it.

    Returns:
        A generator that trains while it is read.

    Raises:
        JaxrnnError: at once: the corpus can't be had or is too short, the prompt has characters that the corpus lacks,
            there are not so many devices or they don't divide the batch, or the run directory can't be used.
        NonFiniteError: while training: the loss became infinite or not a number.
    """
    mesh = make_mesh(devices)
    check_divides(mesh, "batch_size", config.batch_size)
    config, material = prepare(config, corpus or load(config))
    run, checkpoint = None, None
    if run_dir is not None:
        run = RunDirectory(Path(run_dir), material.corpus, config, mesh)
        checkpoint = run.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    stop = together(stop)
    check_same(
        {
            "config": to_json(dataclasses.replace(config, corpus="")),  # a path may differ: the text may not
            "the corpus's SHA-256": material.corpus.sha256,
            "the step": str(int(checkpoint.state.step) if checkpoint else 0),
            "JAX": jax.__version__,
        }
    )
    reports = _trained(config, material, checkpoint, run, stop, mesh)
    _close_at_exit(reports)
    return reports


def _close_at_exit(reports: Generator[Report]) -> None:
    """Close a generator that is still open when Python ends: in time, for after that JAX can't be used any more."""

    def close() -> None:
        still_open = reference()
        if still_open is not None:
            still_open.close()

    reference = weakref.ref(reports, lambda _: atexit.unregister(close))
    atexit.register(close)


def _trained(
    config: TrainConfig,
    material: Material,
    checkpoint: Checkpoint | None,
    run: RunDirectory | None,
    stop: Callable[[], object],
    mesh: Mesh | None,
) -> Generator[Report]:
    try:
        yield from _train(config, material, checkpoint, run, stop, mesh)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).splitlines()[0]
        raise PeerError(
            f"another process of the run has ended, or can't be reached ({reason}); start all of them again, "
            "with --resume to go on from the last checkpoint"
        ) from error
    finally:
        if run:
            run.close()


def _train(
    config: TrainConfig,
    material: Material,
    checkpoint: Checkpoint | None,
    run: RunDirectory | None,
    stop: Callable[[], object],
    mesh: Mesh | None,
) -> Generator[Report]:
    fresh = checkpoint is None
    began = time.perf_counter() - (checkpoint.counters.get("seconds", 0.0) if checkpoint else 0.0)
    step = int(checkpoint.state.step) if checkpoint else 0
    best = from_counters(checkpoint.counters) if checkpoint else None

    def due(every: int) -> bool:
        return every > 0 and step % every == 0

    def finished() -> bool:
        return step >= config.steps or bool(config.patience and best and best.since >= config.patience)

    def next_step() -> int:
        intervals = (config.log_every, config.sample_every, config.checkpoint_every, config.validate_every)
        return min(
            config.steps, step + config.chunk_length, *(step - step % every + every for every in intervals if every)
        )

    state, train_chunk, draw_sample = prepare_programs(
        config, material, checkpoint.state if checkpoint else None, step, next_step(), mesh
    )
    loss, validation_loss, smooth_loss = None, None, float(state.smooth_loss)

    def report(with_sample: bool) -> Report:
        text, at_end = None, finished()
        if with_sample and jax.process_index() == 0:  # of many processes one alone writes
            start = sample_start(config, material, step, at_end)
            tokens = np.asarray(draw_sample(on_one(state) if mesh else state, start))
            shown = start.prime[len(material.separator[-1:]) :, 0] if config.prompt and at_end else start.prime[:0, 0]
            text = material.corpus.vocabulary.decode(np.concatenate([shown, tokens]))
        bits = bits_per_character(smooth_loss, config.sequence_length)
        return Report(step, loss, smooth_loss, bits, seconds(), text, validation_loss, best, at_end, state)

    def seconds() -> float:
        return time.perf_counter() - began

    try:
        stopped = bool(stop())
        if fresh or finished() or stopped:  # a run that goes on has reported this step already, unless it was the last
            first = report(with_sample=(fresh and due(config.sample_every)) or finished())
            if run and fresh:
                run.log(first)
            if run and stopped:
                run.save(state, best, seconds())
            yield first
        if not (finished() or stopped):
            ahead = material.batches(step, next_step() - step, config, mesh)
        while not (finished() or stopped):
            before, step = step, next_step()
            state, metrics = train_chunk(state, ahead)
            if step < config.steps:  # read while the device computes
                ahead = material.batches(step, next_step() - step, config, mesh)
            losses, smooth_losses = jax.device_get(metrics)
            loss, smooth_loss = float(losses[-1]), float(smooth_losses[-1])
            if not math.isfinite(smooth_loss):
                bad = before + int(np.argmin(np.isfinite(losses)))
                raise NonFiniteError(
                    f"the loss of step {bad} is not finite; try a smaller learning_rate or clip_value"
                    + (": --resume goes on from the last checkpoint, which is untouched" if run else "")
                )
            validation_loss = None
            if material.validation and (due(config.validate_every) or step == config.steps):
                validation_loss = validate(state.params, material.validation, config.model, mesh)
                best = better(best, step, validation_loss)
            stopped, at_end = bool(stop()), finished()
            logged = due(config.log_every) or due(config.sample_every) or validation_loss is not None or at_end
            latest = report(with_sample=due(config.sample_every) or at_end) if logged or stopped else None
            if run and latest and logged:
                run.log(latest)
            if run and validation_loss is not None and best and best.step == step:
                run.save_best(state, best, seconds())
            if run and (due(config.checkpoint_every) or at_end or stopped):
                run.save(state, best, seconds())
            if latest:
                yield latest
    except GeneratorExit:
        if run and jax.process_count() == 1:  # the others may not be at this step
            run.save(state, best, seconds())
        raise

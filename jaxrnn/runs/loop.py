"""The training loop as a generator of reports."""

import atexit
import dataclasses
import math
import time
import weakref
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrnn.config import TrainConfig, to_json
from jaxrnn.distributed.mesh import Devices, make_mesh, on_one
from jaxrnn.distributed.processes import any_process, check_same, peer_errors
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.network.loss import bits_per_character
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.chunks import ChunkLimit
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.material import Material, load_run_corpus, prepare
from jaxrnn.runs.programs import Programs, prepare_programs, sample_start
from jaxrnn.runs.report import Report
from jaxrnn.runs.validation import better, from_counters, validate
from jaxrnn.text import Batch, Corpus
from jaxrnn.training.step import Loss, check_mesh


def fit(
    config: TrainConfig,
    corpus: Corpus | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], object] = lambda: False,
    loss: Loss = cross_entropy,
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
        should_stop: called before the first chunk, after every chunk, and repeatedly during a validation; once it
            returns true, training saves, reports and ends. A chunk is at most `chunk_length` steps and usually at most
            two seconds, or a single step. An interrupted validation is skipped and repeated on resume.
        loss: what training makes small, and its reports tell of; a function of your own is called and returns as
            `jaxrnn.loss` does. No file holds it, so hand it over again to resume. A validation is always of the
            cross entropy.
        devices: how many to split the lanes over, or "all"; `batch_size` must be a multiple of it. A loss of your own
            must then be a mean over the lanes, and goes without dropout.

    Returns:
        A generator that trains while it is read.

    Raises:
        JaxrnnError: at once: an argument is of another kind, the corpus can't be had or is too short, the prompt has
            characters that the corpus lacks, there are not so many devices or they don't divide the batch, or the run
            directory can't be used.
        NonFiniteError: while training: the loss became infinite or not a number.
    """
    _check_arguments(config, corpus, should_stop, loss)
    mesh = make_mesh(devices)
    check_mesh(mesh, config, loss)
    config, material = prepare(config, corpus or load_run_corpus(config))
    run, checkpoint = None, None
    if run_dir is not None:
        run = RunDirectory(Path(run_dir), material.corpus, config, mesh)
        checkpoint = run.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    should_stop = any_process(should_stop)
    with peer_errors():
        check_same(
            {
                "config": to_json(dataclasses.replace(config, corpus="")),  # a path may differ: the text may not
                "the corpus's SHA-256": material.corpus.sha256,
                "the step": str(int(checkpoint.state.step) if checkpoint else 0),
                "JAX": jax.__version__,
            }
        )
    programs = partial(prepare_programs, loss=loss, mesh=mesh)
    reports = trained(config, material, checkpoint, run, should_stop, programs, mesh=mesh)
    close_at_exit(reports)
    return reports


def _check_arguments(config: object, corpus: object, should_stop: object, loss: object) -> None:
    """Raise JaxrnnError for what is of another kind, before anything is read or compiled."""
    if not isinstance(config, TrainConfig):
        raise JaxrnnError(f"fit needs a TrainConfig first, got {config!r}")
    if not isinstance(corpus, Corpus | None):
        raise JaxrnnError(f"the corpus must be one from jaxrnn.load_corpus, got {type(corpus).__name__}; load it first")
    for name, value in (("should_stop", should_stop), ("loss", loss)):
        if not callable(value):
            raise JaxrnnError(f"{name} must be a function, got {value!r}")


def close_at_exit(reports: Generator[Any]) -> None:
    """Close a generator that is still open when Python ends: in time, for after that JAX can't be used any more."""

    def close() -> None:
        still_open = reference()
        if still_open is not None:
            still_open.close()

    reference = weakref.ref(reports, lambda _: atexit.unregister(close))
    atexit.register(close)


def trained(
    config: TrainConfig,
    material: Material,
    checkpoint: Checkpoint | None,
    run: RunDirectory | None,
    should_stop: Callable[[], object],
    programs: Callable[..., Programs] = prepare_programs,
    limit: ChunkLimit | None = None,
    every_chunk: bool = False,
    mesh: Mesh | None = None,
) -> Generator[Report]:
    """Train a prepared run, and report on it, after every chunk if so asked; `programs` is like `prepare_programs`."""
    try:
        limit = limit or ChunkLimit(config)
        with peer_errors():
            yield from _train(config, material, checkpoint, run, should_stop, programs, limit, every_chunk, mesh)
    finally:
        if run:
            run.close()


def _train(
    config: TrainConfig,
    material: Material,
    checkpoint: Checkpoint | None,
    run: RunDirectory | None,
    should_stop: Callable[[], object],
    programs: Callable[..., Programs],
    limit: ChunkLimit,
    every_chunk: bool,
    mesh: Mesh | None,
) -> Generator[Report]:
    counters = checkpoint.counters if checkpoint else {}
    began = time.perf_counter() - counters.get("seconds", 0.0)
    step, best = int(counters.get("step", 0)), from_counters(counters)
    # A run that was stopped in the middle of a validation has yet to report its step, and remembers its loss.
    reported, loss = checkpoint is not None and "loss" not in counters, counters.get("loss")

    def due(every: int) -> bool:
        return every > 0 and step % every == 0

    def finished() -> bool:
        return step >= config.steps or bool(config.patience and best and best.since >= config.patience)

    def next_step() -> int:
        intervals = (config.log_every, config.sample_every, config.checkpoint_every, config.validate_every)
        boundary = min(config.steps, *(step - step % every + every for every in intervals if every))
        return limit.end_of_next(step, boundary) if boundary > step else step

    state, train_chunk, draw_sample = programs(
        config, material, checkpoint.state if checkpoint else None, step, next_step()
    )
    validation_loss, smooth_loss = None, float(state.smooth_loss)

    def read() -> Batch:
        return material.batches(step, next_step() - step, config, mesh)

    def report(with_sample: bool, at_end: bool) -> Report:
        text = None
        if with_sample and jax.process_index() == 0:  # of many processes one alone writes
            start = sample_start(config, material, step, at_end)
            tokens = np.asarray(draw_sample(on_one(state) if mesh else state, start))
            shown = start.prime[len(material.separator[-1:]) :, 0] if config.prompt and at_end else start.prime[:0, 0]
            text = material.corpus.vocabulary.decode(np.concatenate([shown, tokens]))
        bits = bits_per_character(smooth_loss, config.sequence_length)
        return Report(step, loss, smooth_loss, bits, seconds(), text, validation_loss, best, at_end, config, state)

    def seconds() -> float:
        return time.perf_counter() - began

    try:
        stopped = bool(should_stop())
        if reported and (stopped or finished()):
            yield report(with_sample=finished(), at_end=finished())
        ahead = None
        while not (reported and (stopped or finished())):
            if reported:
                chunk = ahead or read()
                before, step = step, step + len(chunk.reset)
                limit.begin()
                state, metrics, finite = train_chunk(state, chunk)
                ahead = read() if step < config.steps else None  # while the device computes
                losses, smooth_losses = jax.device_get(metrics)
                limit.end(step - before)
                loss, smooth_loss, validation_loss = float(losses[-1]), float(smooth_losses[-1]), None
                if not (math.isfinite(smooth_loss) and finite):
                    raise _not_finite(before, losses, smooth_loss, run is not None)
                stopped, reported = bool(should_stop()), False
            if material.validation and step and (due(config.validate_every) or step == config.steps):
                validation_loss = validate(state.params, material.validation, config.model, should_stop, mesh)
                if validation_loss is None:
                    if run:
                        run.save(state, best, seconds(), unreported=loss)
                    yield report(with_sample=False, at_end=False)
                    return
                best = better(best, step, validation_loss)
            at_end = finished()
            logged = due(config.log_every) or due(config.sample_every) or validation_loss is not None or at_end
            latest = None
            if logged or stopped or every_chunk:
                latest = report(due(config.sample_every) or at_end, at_end)
            if run and latest and logged:
                run.log(latest)
            if run and validation_loss is not None and best and best.step == step:
                run.save_best(state, best, seconds())
            if run and ((step and due(config.checkpoint_every)) or at_end or stopped):
                run.save(state, best, seconds())
            reported = True
            if latest:
                yield latest
    except GeneratorExit:
        if run and jax.process_count() == 1:  # the others may not be at this step
            run.save(state, best, seconds())
        raise


def _not_finite(before: int, losses: "np.ndarray[Any, Any]", smooth_loss: float, saved: bool) -> NonFiniteError:
    """Return the error of a chunk that began after step `before`."""
    if math.isfinite(smooth_loss):
        what = f"between steps {before} and {before + len(losses)} a parameter became infinite or not a number"
    else:
        what = f"the loss of step {before + int(np.argmin(np.isfinite(losses)))} is not finite"
    hint = ": --resume goes on from the last checkpoint, which is untouched" if saved else ""
    return NonFiniteError(f"{what}; try a smaller learning_rate or clip_value{hint}")

"""The training loop as a generator of reports."""

import atexit
import contextlib
import dataclasses
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import jax

from jaxrnn.config import TrainConfig, to_json
from jaxrnn.distributed.mesh import Devices, check_divides, make_mesh
from jaxrnn.distributed.processes import any_process, check_same, peer_errors
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.runs.chunks import ChunkLimit
from jaxrnn.runs.data import load_run_corpus, prepare
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.programs import prepare_programs
from jaxrnn.runs.report import Report
from jaxrnn.runs.trainer import Run, Trainer, next_step
from jaxrnn.text import Corpus
from jaxrnn.training.step import Loss


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
    check_divides(mesh, "batch_size", config.batch_size)
    config, data = prepare(config, corpus or load_run_corpus(config))
    directory, checkpoint = None, None
    if run_dir is not None:
        directory = RunDirectory(Path(run_dir), data.corpus, config, mesh)
        checkpoint = directory.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    should_stop = any_process(should_stop)
    with peer_errors():
        check_same(
            {
                "config": to_json(dataclasses.replace(config, corpus="")),  # a path may differ: the text may not
                "the corpus's SHA-256": data.corpus.sha256,
                "the step": str(int(checkpoint.state.step) if checkpoint else 0),
                "JAX": jax.__version__,
            }
        )
    reports = _train(Run(config, data, checkpoint, directory, mesh), loss, should_stop)
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
    """Close a generator that is still open when Python ends, while JAX can still be used."""

    def close() -> None:
        still_open = reference()
        if still_open is not None:
            still_open.close()

    reference = weakref.ref(reports, lambda _: atexit.unregister(close))
    atexit.register(close)


def _train(run: Run, loss: Loss, should_stop: Callable[[], object]) -> Generator[Report]:
    began, limit = time.perf_counter(), ChunkLimit(run.config)
    with contextlib.closing(run.directory) if run.directory else contextlib.nullcontext(), peer_errors():
        programs = prepare_programs(run, next_step(run.first_step, run.config, limit), loss)
        trainer = Trainer(run, limit, programs.state, programs.write_sample, began)
        try:
            trainer.stopped = bool(should_stop())
            if trainer.over:
                yield trainer.report(with_sample=trainer.finished, finished=trainer.finished)
            while not trainer.over:
                if trainer.reported:
                    batches = trainer.next_batches()
                    result = programs.train_chunk(trainer.state, batches)
                    trainer.read_ahead(len(batches.reset))
                    trainer.advance(*result)
                    trainer.stopped = bool(should_stop())
                report = trainer.settle(should_stop)
                if trainer.due:
                    yield report
        except GeneratorExit:
            if jax.process_count() == 1:  # the others may not be at this step
                trainer.save()
            raise

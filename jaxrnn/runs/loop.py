"""The training loop, as a generator of reports."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxrnn.config import OptimizerConfig, TrainConfig, to_json, with_settings
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import Devices, check_divides, make_mesh
from jaxrnn.distributed.processes import any_process, check_same, peer_errors
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.network.model import Params, check_params
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.checks import check_resume, check_step, check_steps
from jaxrnn.runs.child import child_state
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.iteration import Reports
from jaxrnn.runs.programs import ChunkLimit, all_finite, prepare_programs
from jaxrnn.runs.report import Report
from jaxrnn.runs.run import Run, corpus_of, prepare
from jaxrnn.runs.trainer import Trainer, validate
from jaxrnn.runs.training_loss import TrainingLoss
from jaxrnn.text import Corpus
from jaxrnn.text.stream import Progress, silent
from jaxrnn.training.optimizer import make_optimizer
from jaxrnn.training.step import Loss, Optimizer, init_train_state

_SCORED = 100_000  # characters on which given parameters are scored


def fit(
    config: TrainConfig,
    corpus: Corpus | str | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], object] = lambda: False,
    loss: Loss = cross_entropy,
    optimizer: Optimizer | None = None,
    devices: Devices = 1,
    progress: Progress = silent,
) -> Generator[Report]:
    """Train a network while the returned generator is iterated, with a report now and then.

    Reports come before the first step, every `log_every` steps, whenever a sample or a validation is due, and at the
    end. A validation changes nothing that is trained. A sample starts from the current hidden state and the next
    character of the text; the one at the end starts from `config.prompt` if there is one. Stopping early (an interrupt,
    an error in a function of yours, leaving the loop) saves a checkpoint. A generator that you keep in a variable is
    not closed by leaving the loop: call its `close()`, or it is closed when Python ends.

    Example:
        >>> config = TrainConfig(steps=200, log_every=100, sample_every=0, sample_length=10)
        >>> [report.step for report in fit(config)]
        [0, 100, 200]

    Args:
        config: everything else about the run.
        corpus: the corpus, or a text itself; None loads the corpus that `config.corpus` names.
        run_dir: where to keep the run, as `jaxrnn.runs.directory` describes; None keeps nothing.
        resume: resume the run in `run_dir`; steps, intervals, patience, chunk length, prompt and the numbers of the
            optimizer (but not warmup_steps) may differ from those that it began with.
        overwrite: replace the run in `run_dir`.
        should_stop: called before the first chunk, after every chunk, and repeatedly during a validation; once it
            returns true, training saves, reports and ends. A chunk is at most `chunk_length` steps and usually at most
            two seconds, or a single step. An interrupted validation is skipped and repeated on resume.
        loss: what is minimized and reported: `jaxrnn.loss`, or a user-defined function with its signature. No file
            holds it: pass it again to resume. A validation always measures the cross entropy.
        optimizer: a user-defined optimizer, in place of the one that `config.optimizer` describes, which must be left
            out. No file holds it: pass it again to resume.
        devices: how many devices to split the lanes over, or "all"; `batch_size` must be a multiple of it. A
            user-defined loss must then be a mean over the lanes.
        progress: called with "training", the steps just done (first those before a resume, then those of each chunk)
            and the steps of the whole run; during a validation with "validating", the characters just read, and all.

    Raises:
        JaxrnnError: at once: an argument is of the wrong type, the corpus can't be loaded or is too short, the prompt
            has characters that the corpus lacks, there are too few devices or they don't divide the batch, or the run
            directory can't be used.
        NonFiniteError: while training: the loss became infinite or not a number.
        Interrupted: while training, a KeyboardInterrupt: Ctrl-C has ended it, after its last report.
    """
    if hasattr(corpus, "dtype"):
        raise JaxrnnError("fit takes no array of tokens alone; give Corpus.from_tokens(tokens, vocabulary)")
    check_arguments(fit, locals())
    config = _with_optimizer(config, optimizer)
    check_resume(run_dir, resume, overwrite)
    if not resume:  # it begins from no other run, as `begin_run` would
        config = with_settings(config, {"parent": ""})
    elif run_dir is not None:
        check_steps(Path(run_dir), config.steps)
    mesh = make_mesh(devices)
    check_divides(mesh, "batch_size", config.batch_size)
    run = prepare(config, corpus_of(corpus, config), optimizer)._replace(mesh=mesh, loss=loss)
    check_step(run)
    if run_dir is not None:
        run = run._replace(directory=RunDirectory(Path(run_dir), run, resume=resume, overwrite=overwrite))
    interrupts: list[int] = []
    stops = any_process(lambda: should_stop() or interrupts)
    with peer_errors():
        check_same(
            {
                "config": to_json(dataclasses.replace(run.config, corpus="")),  # a path may differ: the text may not
                "the corpus's SHA-256": run.corpus.sha256,
                "the step": str(run.first_step),
                "JAX": jax.__version__,
            }
        )
    listeners = [progress]

    def tell(activity: str, new: int, total: int) -> None:
        for listener in listeners:  # `watch` adds its own
            listener(activity, new, total)

    return Reports("fit", _train(run, stops, tell), interrupts, run_dir, listeners)


def begin_run(
    source: Params | Checkpoint,
    config: TrainConfig,
    corpus: Corpus,
    run_dir: str | Path,
    *,
    fresh_memory: bool = False,
    optimizer: Optimizer | None = None,
    overwrite: bool = False,
) -> TrainConfig:
    """Make a run directory with a checkpoint of given parameters at step 0, which `fit(..., resume=True)` trains.

    Returns the configuration, completed by the corpus. Raises JaxrnnError if configuration, corpus and checkpoint don't
    fit together, or if the run directory can't be used.

    Args:
        source: the parameters, such as those of `load_weights`, arrays of JAX or NumPy; or a checkpoint of another run,
            to fine-tune it: the optimizer's memory then comes from it too, and the corpus may add symbols.
        config: the configuration; `config.symbols` must have those of a checkpoint's vocabulary.
        corpus: the corpus.
        run_dir: the directory to make.
        fresh_memory: begin with an empty memory of the optimizer, not with that of the checkpoint.
        optimizer: a user-defined optimizer, as in `fit`.
        overwrite: replace the run that is there.
    """
    check_arguments(begin_run, locals())
    config = _with_optimizer(config, optimizer)
    parent = "given parameters"  # if the save fails, resuming must not begin with other parameters
    if isinstance(source, Checkpoint):
        parent = f"{source.file.absolute()}, step {source.counters['step']}"
        if Path(run_dir).resolve() in source.file.resolve().parents:
            raise JaxrnnError(f"{run_dir} holds the checkpoint to begin from, and is kept; choose another --run-dir")
    run = prepare(with_settings(config, {"parent": parent}), corpus, optimizer)
    config = run.config
    if isinstance(source, Checkpoint):
        state = child_state(source, config, corpus.vocabulary, fresh_memory=fresh_memory, optimizer=optimizer)
        params = state.params
    else:
        check_params(source, config.model)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, config.model.dtype), source)
        rule = optimizer or make_optimizer(config.optimizer, steps=config.steps)
        state = init_train_state(jax.random.key(config.seed), config, optimizer=optimizer)
        state = state._replace(params=params, opt_state=rule.init(params))
    if state.average is not None:
        state = state._replace(average=params)
    if not all_finite(state):
        raise NonFiniteError("a parameter is not finite; give others")
    # The training loss begins at the loss of these parameters on the first symbols, not at the loss of guessing.
    sampled = run.train._replace(tokens=run.train.tokens[:_SCORED])
    nats = config.sequence_length * (validate(params, sampled, config.model) or 0.0)
    state = state._replace(smooth_loss=jnp.asarray(nats, state.smooth_loss.dtype))
    training_loss = TrainingLoss(config)
    training_loss.begin(nats)
    with contextlib.closing(RunDirectory(Path(run_dir), run, overwrite=overwrite)) as directory:
        directory.save(state, {"seconds": 0.0, **training_loss.counters})
    return config


def _with_optimizer(config: TrainConfig, optimizer: Optimizer | None) -> TrainConfig:
    """Return a configuration that says whether the optimizer is user-defined."""
    if not optimizer:
        return config
    if config.optimizer not in (OptimizerConfig(), OptimizerConfig(name="custom")):
        raise JaxrnnError("config.optimizer has no effect beside a user-defined optimizer; leave it out")
    return dataclasses.replace(config, optimizer=OptimizerConfig(name="custom"))


def _train(run: Run, should_stop: Callable[[], object], progress: Progress) -> Generator[Report]:
    """Train a run chunk by chunk, each settled before the next; yield the reports that are due."""
    began, limit, ahead = time.perf_counter(), ChunkLimit(run.config), None
    with contextlib.closing(run.directory) if run.directory else contextlib.nullcontext(), peer_errors():
        state, train_chunk, sampler = prepare_programs(run, limit)
        trainer = Trainer(run, state, sampler, began, progress)
        progress("training", trainer.step, run.config.steps)
        try:
            trainer.stopped = bool(should_stop())
            if trainer.over:
                yield trainer.report(with_sample=trainer.finished, finished=trainer.finished)
            while not trainer.over:
                if trainer.reported:  # else the run begins, or its last validation was interrupted
                    chunk_began, before = time.perf_counter(), trainer.step
                    batches = ahead or limit.batches_after(before, run)
                    result = train_chunk(trainer.state, batches)
                    after = before + len(batches.reset)
                    # Read while the device trains.
                    ahead = limit.batches_after(after, run) if after < run.config.steps else None
                    trainer.advance(*result)
                    progress("training", after - before, run.config.steps)
                    limit.lower(after - before, time.perf_counter() - chunk_began)
                    trainer.stopped = bool(should_stop())
                report = trainer.settle(should_stop)
                if trainer.due:
                    yield report
        except (GeneratorExit, Exception) as error:
            if jax.process_count() == 1:  # other processes may be at another step
                trainer.save_after(error)
            raise

"""The training loop as a generator of reports."""

import atexit
import dataclasses
import math
import time
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import TrainConfig
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.loss import bits_per_character
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.report import Report
from jaxrnn.sampling import sample
from jaxrnn.text import Corpus, batches, load_corpus
from jaxrnn.training import TrainState, TrainStep, init_train_state, make_train_chunk


def fit(
    config: TrainConfig,
    corpus: Corpus | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop: Callable[[], object] = lambda: False,
) -> Generator[Report]:
    """Train, and report on it.

    Reports come before the first step, every `log_every` steps, whenever a sample is due, and at the end. A sample
    comes from the current hidden state, its first input being the next character of the text; the one at the end goes
    on from `config.prompt` if that is given. Stopping early (leaving the loop, closing the generator) saves a
    checkpoint.

    Example:
        >>> config = TrainConfig(steps=200, log_every=100, sample_every=0, sample_length=10)
        >>> [report.step for report in fit(config, load_corpus("python-docs"))]
        [0, 100, 200]

    Args:
        config: the run.
        corpus: the text; None loads the one that `config.corpus` names.
        run_dir: where to keep the run; None keeps nothing.
        resume: go on with the run in `run_dir`; steps, intervals, chunk length, optimizer and prompt may differ from
            what it began with.
        overwrite: replace the run in `run_dir`.
        stop: asked after every chunk; once it returns something true, training saves, reports and ends.

    Returns:
        A generator that trains while it is read.

    Raises:
        JaxrnnError: at once: the corpus can't be had or is too short, the prompt has characters that the corpus lacks,
            or the run directory can't be used.
        NonFiniteError: while training: the loss became infinite or not a number.
    """
    corpus = corpus or load_corpus(config.corpus, vocabulary=config.vocabulary, normalize=config.normalize)
    config = completed(config, corpus)
    run, checkpoint = None, None
    if run_dir is not None:
        run = RunDirectory(Path(run_dir), corpus, config)
        checkpoint = run.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    reports = _train(config, corpus, checkpoint.state if checkpoint else None, run, stop)
    _close_at_exit(reports)
    return reports


def completed(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """Return the config with what the corpus gives, after a look at whether the two go together.

    Raises:
        JaxrnnError: they don't, or nothing can be trained with this config.
    """
    if config.model.vocab_size not in (None, len(corpus.vocabulary)):
        raise JaxrnnError(
            f"vocab_size is {config.model.vocab_size}, but {corpus.name} has {len(corpus.vocabulary)} distinct "
            f"{corpus.vocabulary.kind}; leave vocab_size out"
        )
    model = dataclasses.replace(config.model, vocab_size=len(corpus.vocabulary))
    config = dataclasses.replace(
        config, corpus=corpus.source, vocabulary=corpus.vocabulary.kind, normalize=corpus.normalize, model=model
    )
    batches(corpus.tokens, 0, 1, config)  # raises if the text is too short
    corpus.vocabulary.encode(config.prompt)  # raises if it has characters that the corpus lacks
    jax.eval_shape(partial(_init, config=config), np.uint32(config.seed))  # raises if JAX has not been told of float64
    return config


def _close_at_exit(reports: Generator[Report]) -> None:
    """Close a generator that is still open when Python ends: in time, for after that JAX can't be used any more."""

    def close() -> None:
        still_open = reference()
        if still_open is not None:
            still_open.close()

    reference = weakref.ref(reports, lambda _: atexit.unregister(close))
    atexit.register(close)


def _train(
    config: TrainConfig,
    corpus: Corpus,
    saved: TrainState | None,
    run: RunDirectory | None,
    stop: Callable[[], object],
) -> Generator[Report]:
    began, fresh = time.perf_counter(), saved is None
    step = int(saved.step) if saved else 0

    def due(every: int) -> bool:
        return every > 0 and step % every == 0

    def next_step() -> int:
        intervals = (config.log_every, config.sample_every, config.checkpoint_every)
        return min(
            config.steps, step + config.chunk_length, *(step - step % every + every for every in intervals if every)
        )

    state, train_chunk, draw_sample = _prepare(config, corpus, saved, step, next_step())
    loss, smooth_loss = None, float(state.smooth_loss)

    def report(with_sample: bool) -> Report:
        text = None
        if with_sample:
            prime, zero_carry = _sample_start(config, corpus, step)
            tokens = np.asarray(draw_sample(state, prime, zero_carry))
            shown = prime[:, 0] if config.prompt and step == config.steps else prime[:0, 0]
            text = corpus.vocabulary.decode(np.concatenate([shown, tokens]))
        bits = bits_per_character(smooth_loss, config.sequence_length)
        return Report(step, loss, smooth_loss, bits, time.perf_counter() - began, text, state)

    try:
        if fresh or step >= config.steps:  # a run that goes on has reported this step already, unless it was the last
            first = report(with_sample=due(config.sample_every) or step >= config.steps)
            if run and fresh:
                run.log(first)
            yield first
        while step < config.steps:
            before, step = step, next_step()
            state, metrics = train_chunk(state, batches(corpus.tokens, before, step - before, config))
            losses, smooth_losses = jax.device_get(metrics)
            loss, smooth_loss = float(losses[-1]), float(smooth_losses[-1])
            if not math.isfinite(smooth_loss):
                bad = before + int(np.argmin(np.isfinite(losses)))
                raise NonFiniteError(f"the loss of step {bad} is not finite; try a smaller learning_rate or clip_value")
            stopped = bool(stop())
            at_end = step == config.steps
            logged = due(config.log_every) or due(config.sample_every) or at_end
            latest = report(with_sample=due(config.sample_every) or at_end) if logged or stopped else None
            if run and latest and logged:
                run.log(latest)
            if run and (due(config.checkpoint_every) or at_end or stopped):
                run.save(state)
            if latest:
                yield latest
            if stopped:
                return
    except GeneratorExit:
        if run:
            run.save(state)
        raise


def _prepare(
    config: TrainConfig, corpus: Corpus, saved: TrainState | None, step: int, next_step: int
) -> tuple[TrainState, TrainStep, Callable[..., jax.Array]]:
    """Return the state to begin from, the training chunk, and the function that draws a sample.

    What they call first is compiled here, side by side: when each is first called, one after the other, takes longer.
    """
    init = jax.jit(partial(_init, config=config))
    train_chunk: Any = make_train_chunk(config)
    draw_sample = jax.jit(partial(_draw_sample, config=config))
    seed = np.uint32(config.seed)
    state = jax.eval_shape(init, seed)
    with ThreadPoolExecutor() as pool:  # what fails here fails again, and is heard, when it is called
        if step < config.steps:
            pool.submit(train_chunk.lower(state, batches(corpus.tokens, step, next_step - step, config)).compile)
        first_sample = step if config.sample_every else config.steps
        pool.submit(draw_sample.lower(state, *_sample_start(config, corpus, first_sample)).compile)
        return saved or init(seed), train_chunk, draw_sample


def _init(seed: jax.typing.ArrayLike, config: TrainConfig) -> TrainState:
    return init_train_state(jax.random.key(seed), config)


def _sample_start(config: TrainConfig, corpus: Corpus, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a sample after `step` steps goes on from, int32 [P, 1], and whether the carry starts from zero."""
    if config.prompt and step == config.steps:
        return corpus.vocabulary.encode(config.prompt)[:, None].astype(np.int32), np.asarray(True)
    batch = batches(corpus.tokens, step, 1, config)
    return batch.inputs[0, :1, :1], batch.reset[0]


def _draw_sample(state: TrainState, prime: jax.Array, zero_carry: jax.Array, config: TrainConfig) -> jax.Array:
    """Return what the network writes now, before the update of the next step: tokens [sample_length]."""
    carry = jax.tree.map(lambda entry: jnp.where(zero_carry, 0, entry[:1]), state.carry)
    key = jax.random.fold_in(state.key, state.step)
    tokens, _ = sample(key, state.params, carry, prime, config.model, length=config.sample_length)
    return tokens[:, 0]

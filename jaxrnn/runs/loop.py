"""The training loop as a generator of reports."""

import dataclasses
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.config import TrainConfig
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.loss import bits_per_character
from jaxrnn.model import initial_carry
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.report import Report
from jaxrnn.sampling import sample
from jaxrnn.text import Corpus, batches, load_corpus
from jaxrnn.training import TrainState, init_train_state, make_train_chunk


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
    init = jax.jit(init_train_state, static_argnames="config")  # compiled whole, rather than operation by operation
    jax.eval_shape(init, jax.random.key(config.seed), config)  # raises if JAX has not been told of float64
    run, checkpoint = None, None
    if run_dir is not None:
        run = RunDirectory(Path(run_dir), corpus, config)
        checkpoint = run.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    state = checkpoint.state if checkpoint else init(jax.random.key(config.seed), config)
    return _train(config, corpus, state, run, fresh=checkpoint is None, stop=stop)


def _train(
    config: TrainConfig,
    corpus: Corpus,
    state: TrainState,
    run: RunDirectory | None,
    fresh: bool,
    stop: Callable[[], object],
) -> Generator[Report]:
    began = time.perf_counter()
    train_chunk = make_train_chunk(config)
    step, loss, smooth_loss = int(state.step), None, float(state.smooth_loss)

    def due(every: int) -> bool:
        return every > 0 and step % every == 0

    def report(with_sample: bool) -> Report:
        text = _sample_text(config, corpus, state, step) if with_sample else None
        bits = bits_per_character(smooth_loss, config.sequence_length)
        return Report(step, loss, smooth_loss, bits, time.perf_counter() - began, text, state)

    def next_step() -> int:
        intervals = (config.log_every, config.sample_every, config.checkpoint_every)
        return min(
            config.steps, step + config.chunk_length, *(step - step % every + every for every in intervals if every)
        )

    try:
        if fresh or step >= config.steps:  # a run that goes on has reported this step already, unless it was the last
            first = report(with_sample=due(config.sample_every) or step >= config.steps)
            if run and fresh:
                run.log(first)
            yield first
        while step < config.steps:
            before, step = step, next_step()
            state, metrics = train_chunk(state, batches(corpus.tokens, before, step - before, config))
            loss, smooth_loss = float(metrics.loss[-1]), float(metrics.smooth_loss[-1])
            if not math.isfinite(smooth_loss):
                bad = before + int(np.argmin(np.isfinite(metrics.loss)))
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


def _sample_text(config: TrainConfig, corpus: Corpus, state: TrainState, step: int) -> str:
    """Return what the network writes after `step` steps, before the update of the next one."""
    prompt = config.prompt if step == config.steps else ""
    if prompt:
        first, fresh = corpus.vocabulary.encode(prompt), True
    else:
        batch = batches(corpus.tokens, step, 1, config)
        first, fresh = batch.inputs[0, :1, 0], bool(batch.reset[0])
    carry = initial_carry(config.model, 1) if fresh else jax.tree.map(lambda entry: entry[:1], state.carry)
    key = jax.random.fold_in(state.key, step)
    prime = jnp.asarray(first[:, None], jnp.int32)
    tokens, _ = sample(key, state.params, carry, prime, config.model, length=config.sample_length)
    tokens = jnp.concatenate([prime, tokens]) if prompt else tokens
    return corpus.vocabulary.decode(np.asarray(tokens)[:, 0])

"""The training loop as a generator of reports, and the run directory it leaves.

A run directory holds

    config.json      the configuration; `jaxrnn train --config` runs it again
    metrics.jsonl    a line for each report: step, loss, smooth loss, bits per character, seconds
    samples.txt      the samples, each under a line with its step
    checkpoints/     step-NNNNNNNNNN.safetensors, the newest few
"""

import dataclasses
import json
import math
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.checkpoint import Checkpoint, checkpoint_path, commit, list_checkpoints, load_checkpoint, save_checkpoint
from jaxrnn.config import TrainConfig, to_json
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.loss import bits_per_character
from jaxrnn.model import initial_carry
from jaxrnn.sampling import sample
from jaxrnn.text import Corpus, batches, load_corpus
from jaxrnn.training import TrainState, init_train_state, make_train_chunk


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What `fit` tells between two training steps.

    Attributes:
        step: training steps done.
        loss: of the last batch, nats per T characters; None before the first step.
        smooth_loss: its running mean, nats per T characters.
        bits_per_character: the smooth loss in bits per character.
        seconds: since `fit` began (the first chunk compiles, which takes a second or two of them).
        sample: what the network writes now; None where no sample is due.
        state: the state after `step` steps. The next step reuses its memory: copy what you keep beyond this report
            (`jax.tree.map(jnp.copy, report.state.params)`); the last report's state stays.
    """

    step: int
    loss: float | None
    smooth_loss: float
    bits_per_character: float
    seconds: float
    sample: str | None
    state: TrainState = dataclasses.field(repr=False)


def fit(
    config: TrainConfig,
    corpus: Corpus | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
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
    config = dataclasses.replace(config, corpus=corpus.source, vocabulary=corpus.vocabulary.kind, model=model)
    batches(corpus.tokens, 0, 1, config)  # raises if the text is too short
    corpus.vocabulary.encode(config.prompt)  # raises if it has characters that the corpus lacks
    run, checkpoint = None, None
    if run_dir is not None:
        run = _Run(Path(run_dir), corpus, config)
        checkpoint = run.open(resume, overwrite)
    elif resume:
        raise JaxrnnError("resume needs run_dir, the directory of the run to go on with")
    init = jax.jit(init_train_state, static_argnames="config")  # compiled whole, rather than operation by operation
    state = checkpoint.state if checkpoint else init(jax.random.key(config.seed), config)
    return _train(config, corpus, state, run, fresh=checkpoint is None)


def _train(
    config: TrainConfig, corpus: Corpus, state: TrainState, run: "_Run | None", fresh: bool
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

    def next_stop() -> int:
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
            stop = next_stop()
            state, metrics = train_chunk(state, batches(corpus.tokens, step, stop - step, config))
            step, loss, smooth_loss = stop, float(metrics.loss[-1]), float(metrics.smooth_loss[-1])
            if not math.isfinite(smooth_loss):
                bad = step - len(metrics.loss) + int(np.argmin(np.isfinite(metrics.loss)))
                raise NonFiniteError(f"the loss of step {bad} is not finite; try a smaller learning_rate or clip_value")
            at_end = step == config.steps
            with_sample = due(config.sample_every) or at_end
            if with_sample or due(config.log_every):
                latest = report(with_sample)
                if run:
                    run.log(latest)
                    if due(config.checkpoint_every) or at_end:
                        run.save(state)
                yield latest
            elif run and due(config.checkpoint_every):
                run.save(state)
    except GeneratorExit:
        if run:
            run.save(state)
        raise
    finally:
        if run:
            run.close()


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
    return prompt + corpus.vocabulary.decode(np.asarray(tokens)[:, 0])


class _Run:
    """The run directory of a training loop: what it writes, and in which order."""

    def __init__(self, path: Path, corpus: Corpus, config: TrainConfig) -> None:
        self._path, self._corpus, self._config = path, corpus, config
        self._logs: dict[str, IO[str]] = {}
        self._saved_step = -1

    def open(self, resume: bool, overwrite: bool) -> Checkpoint | None:
        """Make the directory ready; return the checkpoint to go on from, None at the beginning of a run."""
        path, checkpoint = self._path, None
        holds_run = (path / "config.json").exists() or bool(list_checkpoints(path / "checkpoints"))
        if resume:
            checkpoint = load_checkpoint(path)
            self._check_same_run(checkpoint)
            self._saved_step = int(checkpoint.state.step)
        elif holds_run and not overwrite:
            raise JaxrnnError(f"{path} holds a run already; go on with it by --resume, or replace it by --overwrite")
        elif path.exists() and not holds_run and (not path.is_dir() or any(path.iterdir())):
            raise JaxrnnError(f"{path} is not a run directory and not empty; choose another --run-dir")
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            config = dataclasses.replace(self._config, model=dataclasses.replace(self._config.model, vocab_size=None))
            if not checkpoint:
                for old in list_checkpoints(path / "checkpoints"):
                    old.unlink()
            for name in ("metrics.jsonl", "samples.txt"):
                log = (path / name).open("a", encoding="utf-8", newline="\n")
                log.truncate(min(log.tell(), checkpoint.counters[name]) if checkpoint else 0)
                self._logs[name] = log
            commit(path / "config.json", (to_json(config) + "\n").encode())
        except OSError as error:
            self.close()
            raise JaxrnnError(f"can't write to {path} ({error.strerror}); choose another --run-dir") from None
        return checkpoint

    def _check_same_run(self, checkpoint: Checkpoint) -> None:
        then, now = checkpoint.config, self._config
        for name in ("model", "sequence_length", "batch_size", "seed", "vocabulary"):
            if getattr(then, name) != getattr(now, name):
                raise JaxrnnError(
                    f"{self._path} was trained with {name} {getattr(then, name)}, not {getattr(now, name)}; "
                    "resume it with what it began with, or begin another run"
                )
        if checkpoint.corpus["sha256"] != self._corpus.sha256:
            raise JaxrnnError(
                f"{self._path} was trained on a text with SHA-256 {checkpoint.corpus['sha256']}, and that of "
                f"{self._corpus.name} is {self._corpus.sha256}; resume it on the same text, or begin another run"
            )

    def log(self, report: Report) -> None:
        """Append a report to metrics.jsonl, and its sample to samples.txt."""
        names = ("step", "loss", "smooth_loss", "bits_per_character", "seconds")
        fields = {name: getattr(report, name) for name in names}
        self._logs["metrics.jsonl"].write(json.dumps(fields) + "\n")
        if report.sample is not None:
            self._logs["samples.txt"].write(f"{sample_title(report)}\n{report.sample}\n\n")
        for log in self._logs.values():
            log.flush()

    def save(self, state: TrainState) -> None:
        """Save a checkpoint unless this step's is there, then remove all but the newest few."""
        step = int(state.step)
        if step == self._saved_step:
            return
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.opt_state, state.carry))):
            raise NonFiniteError(
                f"after step {step} a parameter is not finite; try a smaller learning_rate or clip_value"
            )
        directory = self._path / "checkpoints"
        corpus = {"source": self._corpus.source, "sha256": self._corpus.sha256, "length": len(self._corpus)}
        for log in self._logs.values():  # a checkpoint never knows of more lines than the disk holds
            os.fsync(log.fileno())
        save_checkpoint(
            checkpoint_path(directory, step),
            state,
            self._config,
            self._corpus.vocabulary,
            corpus=corpus,
            counters={name: log.tell() for name, log in self._logs.items()},
        )
        self._saved_step = step
        for old in list_checkpoints(directory)[self._config.keep_checkpoints :]:
            old.unlink()

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs.values():
            log.close()


def new_run_directory(name: str, parent: Path = Path("runs")) -> Path:
    """Return the first of runs/<name>-1, runs/<name>-2, ... that does not exist yet."""
    number = 1
    while (path := parent / f"{name}-{number}").exists():
        number += 1
    return path


def sample_title(report: Report) -> str:
    """Return the line above a sample."""
    return (
        f"---- step {report.step}, smooth loss {report.smooth_loss:.4f}, {report.bits_per_character:.4f} bits/char ----"
    )

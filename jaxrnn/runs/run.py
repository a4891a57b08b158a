"""A run that is ready to be trained: its configuration, its corpus in slices, and what no file holds."""

import dataclasses
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxrnn.config import TEXT_RULES, TrainConfig, with_settings
from jaxrnn.config.fields import check_arguments
from jaxrnn.distributed.mesh import by_lanes, local_lanes
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.network.loss import loss as cross_entropy
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.text import Batch, Corpus, Slice, Tokens, batches, encode_separator, load_corpus, split
from jaxrnn.text.batch import check_length, steps_per_epoch
from jaxrnn.text.documents import DocumentStarts, check_separator
from jaxrnn.text.files import one_line
from jaxrnn.text.stream import Progress, normalized, release_pages, silent
from jaxrnn.text.vocabulary import encode_bytes
from jaxrnn.training.jitted import CHUNK_LANES
from jaxrnn.training.step import Loss, Optimizer, state_shapes

if TYPE_CHECKING:
    from jaxrnn.runs.directory import RunDirectory


class Run(NamedTuple):
    """A run that is ready to be trained."""

    config: TrainConfig  # completed by the corpus
    corpus: Corpus  # the whole text
    train: Slice  # the slice to train on
    validation: Slice | None  # the slice to validate with; None: there is none
    separator: Tokens  # what stands between independent documents, int [k]; k = 0: there are no documents
    mesh: Mesh | None = None  # the devices that train it; None: one
    loss: Loss = cross_entropy  # what is minimized
    optimizer: Optimizer | None = None  # a user-defined one; None: the one that the configuration describes
    directory: "RunDirectory | None" = None  # where it is kept, with the checkpoint that it resumes; None: nowhere

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint that it resumes; None: it begins."""
        return self.directory.checkpoint if self.directory else None

    @property
    def first_step(self) -> int:
        """Training steps that are done when it begins or resumes."""
        return int(self.checkpoint.counters["step"]) if self.checkpoint else 0

    def batches(self, step: int, num_steps: int, mesh: Mesh | None = None) -> Batch:
        """Return a chunk of the training slice, on the mesh if there is one."""
        tokens, lanes = self.train.tokens, local_lanes(mesh, self.config.batch_size)
        chunk = batches(tokens, step, num_steps, self.config, starts=self.train.starts, lanes=lanes)
        release_pages(tokens)  # or a text larger than memory would fill it
        return jax.make_array_from_process_local_data(by_lanes(mesh, CHUNK_LANES), chunk) if mesh else chunk


def slices_of(corpus: Corpus, config: TrainConfig) -> dict[str, Slice]:
    """Return the slices of a corpus by name, with the starts of their documents.

    Raises JaxrnnError if the text has no document boundary, or if the vocabulary lacks a symbol of it.
    """
    check_arguments(slices_of, locals())
    starts = None
    if config.reset_on:
        separator = encode_separator(corpus.vocabulary, config.reset_on)
        check_separator(corpus.tokens, separator, config.reset_on)
        starts = DocumentStarts(corpus.tokens, separator)
    return split(corpus.tokens, config.split, starts=starts, kind=corpus.vocabulary.kind)


def load_run_corpus(config: TrainConfig, progress: Progress = silent, *, verify: bool = False) -> Corpus:
    """Load the corpus that a configuration names, with the settings that it gives."""
    check_arguments(load_run_corpus, locals())
    rules: dict[str, Any] = {name: getattr(config, name) for name in TEXT_RULES}
    return load_corpus(config.corpus, **rules, progress=progress, verify=verify)


def reload_corpus(checkpoint: Checkpoint, progress: Progress = silent) -> Corpus:
    """Load the corpus that a run was trained on; raise JaxrnnError if it is gone, or no longer the same."""
    check_arguments(reload_corpus, locals())
    try:
        corpus, sha256 = load_run_corpus(checkpoint.config, progress), checkpoint.corpus["sha256"]
    except JaxrnnError as error:
        raise JaxrnnError(f"the text of the run can't be read as it was ({error}); restore it") from None
    if corpus.sha256 != sha256:
        before, now = checkpoint.corpus.get("files", {}), dict(corpus.files)
        changes = [name for name in {**before, **now} if before.get(name) != now.get(name)] if before else []
        which = f" ({changes[0]} differs{f', and {len(changes) - 1} more' if changes[1:] else ''})" if changes else ""
        raise JaxrnnError(
            f"{one_line(corpus.source)} is no longer the text of the run{which}: its SHA-256 is {corpus.sha256}, and "
            f"was {sha256}; restore the old text"
        )
    return corpus


def corpus_of(corpus: Corpus | str | None, config: TrainConfig) -> Corpus:
    """Return the corpus of a run: the given one, a text that is given itself, or the one that `config` names."""
    if corpus is None:
        return load_run_corpus(config)
    if isinstance(corpus, Corpus):
        return corpus
    if os.path.exists(corpus):  # noqa: PTH110  (of a text that can't be a path, this is false)
        raise JaxrnnError(f"{corpus} is a file, not a text; load it by jaxrnn.load_corpus({corpus!r})")
    if len(corpus) < 256 and re.fullmatch(r"\S+\.\w{1,5}", corpus):
        raise JaxrnnError(f"there is no file {corpus}; give a text itself, or jaxrnn.load_corpus(path)")
    text = corpus if config.vocabulary == "characters" else encode_bytes(corpus, config.encoding)
    rules = {name: getattr(config, name) for name in ("encoding", "normalize", "min_count", "symbols")}
    return dataclasses.replace(Corpus.from_text(text, **rules), join=config.join)


def prepare(config: TrainConfig, corpus: Corpus, optimizer: Optimizer | None = None) -> Run:
    """Return the run of a configuration on a corpus, not kept yet; raise JaxrnnError if they don't fit together."""
    vocabulary = corpus.vocabulary
    if config.model.vocab_size not in (None, len(vocabulary)):
        raise JaxrnnError(
            f"vocab_size is {config.model.vocab_size}, but {corpus.name} has {len(vocabulary)} distinct "
            f"{vocabulary.kind}; leave vocab_size out"
        )
    rules = {"vocabulary": vocabulary.kind, **{name: getattr(corpus, name) for name in TEXT_RULES[1:]}}
    for name, value in rules.items():
        if (asked := getattr(config, name)) not in (value, getattr(TrainConfig, name)):
            advice = "leave it out, or load the corpus with it"
            raise JaxrnnError(f"{name} is {asked!r}, but {corpus.name} was read with {value!r}; {advice}")
    config = with_settings(config, {"corpus": corpus.source, "vocab_size": len(vocabulary), **rules})
    # Raises if JAX lacks its float64, or if a user-defined cell or optimizer is missing.
    state = state_shapes(config, optimizer=optimizer)
    for leaf in jax.tree.leaves(state.opt_state):
        if leaf.dtype.kind not in "fiub":
            raise JaxrnnError(f"the optimizer's state is of type {leaf.dtype}, which no checkpoint holds; use float32")
    slices = slices_of(corpus, config)
    train = slices["train"]
    check_length(len(train.tokens), config, f"the slice {train}" if len(slices) > 1 else "the text")
    if message := unread(len(train.tokens), config):
        warnings.warn(message, stacklevel=2)
    for part in slices.values():
        if len(part.tokens) < config.sequence_length + 2:
            raise JaxrnnError(
                f"the slice {part} has {counted(len(part.tokens), 'symbols')} and needs sequence_length "
                f"{config.sequence_length} + 2 at least; give a longer text, another split, or make that smaller"
            )
    config = dataclasses.replace(config, prompt=normalized(config.prompt, config.normalize))
    vocabulary.encode(config.prompt)  # raises if it has characters that the corpus lacks
    separator = encode_separator(vocabulary, config.reset_on)
    return Run(config, corpus, train, slices.get("validation"), separator, optimizer=optimizer)


def unread(num_tokens: int, config: TrainConfig) -> str | None:
    """Return a warning if training leaves more than a tenth of a text of so many symbols unread; else None.

    Example:
        >>> print(unread(101, TrainConfig(sequence_length=50)))
        training reads 51 of 101 symbols per lane: for a step of sequence_length 50 the rest is too short; 49 reads 99
    """
    lane_length, length = num_tokens // config.batch_size, config.sequence_length

    def reads(length: int) -> int:
        return lane_length - 1 - (lane_length - 2) % length

    def is_enough(length: int) -> bool:
        return num_tokens - config.batch_size * reads(length) <= num_tokens / 10

    if is_enough(length):
        return None
    more_steps = range(steps_per_epoch(num_tokens, config) + 1, lane_length - 1)
    shorter = next(filter(is_enough, ((lane_length - 2) // steps for steps in more_steps)), 1)
    advice = f"{shorter} reads {reads(shorter):,}" if reads(shorter) > reads(length) else "give a longer text"
    return (
        f"training reads {reads(length):,} of {lane_length:,} symbols per lane: for a step of sequence_length {length} "
        f"the rest is too short; {advice}"
    )

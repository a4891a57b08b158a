"""Many runs side by side: each is an ordinary run with a run directory of its own, but one program trains them all."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from jaxrnn.config import TrainConfig
from jaxrnn.config.grid import Axes, combinations, value_of
from jaxrnn.errors import JaxrnnError, NonFiniteError
from jaxrnn.runs.checkpoint import Checkpoint
from jaxrnn.runs.chunks import ChunkLimit
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.loop import close_at_exit, trained
from jaxrnn.runs.material import Material, load_run_corpus, prepare
from jaxrnn.runs.programs import Programs, TrainChunk, all_finite, make_sampler
from jaxrnn.runs.report import Report
from jaxrnn.runs.sweep.directory import SweepDirectory
from jaxrnn.text import Batch, Corpus
from jaxrnn.training.step import Metrics, TrainState
from jaxrnn.training.sweep import groups, init_members, make_sweep_chunk


class SweepReport(NamedTuple):
    """What `fit_many` tells between two training steps.

    Attributes:
        members: the configuration of each, by name.
        reports: of each member that has begun, its newest report.
        failed: the members whose loss is not finite any more, by name, and what was said of it.
    """

    members: Mapping[str, TrainConfig]
    reports: dict[str, Report]
    failed: dict[str, str]

    @property
    def finished(self) -> bool:
        """Whether the sweep is over: nothing is left that could be trained."""
        ended = {name for name, report in self.reports.items() if report.finished} | self.failed.keys()
        return ended == self.members.keys()


def fit_many(
    config: TrainConfig,
    axes: Axes,
    corpus: Corpus | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], object] = lambda: False,
) -> Generator[SweepReport]:
    """Train a model for each combination of values, those that share shapes side by side, and report on them.

    Every member is the run that `fit` makes of its configuration, with the same numbers, reports, samples, validations
    and checkpoints; `run_dir` holds a run directory for each. One whose loss becomes infinite or not a number ends
    where it is; the others go on.

    Example:
        >>> config = TrainConfig(steps=20, log_every=10, sample_every=0, sample_length=5)
        >>> for report in fit_many(config, {"learning_rate": [0.03, 0.1]}):
        ...     losses = {name: member.loss for name, member in report.reports.items()}
        >>> list(losses)
        ['learning_rate=0.03', 'learning_rate=0.1']

    Args:
        config: gives everything that is not swept.
        axes: values by the name of a setting, as `combinations` takes them.
        corpus: the text; None loads the one that `config.corpus` names.
        run_dir: where to keep the sweep; None keeps nothing.
        resume: go on with the sweep in `run_dir`, whose values must be these; each member goes on from its newest
            checkpoint.
        overwrite: replace the sweep in `run_dir`.
        should_stop: called before the first chunk and after every chunk; once it returns true, what is being trained is
            saved and reported, and the sweep ends.

    Returns:
        A generator that trains while it is read, and reports after every chunk.

    Raises:
        JaxrnnError: at once: values that can't be swept or that clash, or what `fit` raises of a member.
    """
    if resume and run_dir is None:
        raise JaxrnnError("resume needs run_dir, the directory of the sweep to go on with")
    first = next(iter(combinations(config, axes).values()))
    completed, material = prepare(first, corpus or load_run_corpus(config))
    config = dataclasses.replace(
        config,
        **{name: getattr(completed, name) for name in ("corpus", "vocabulary", "normalize", "min_count")},
        model=dataclasses.replace(config.model, vocab_size=completed.model.vocab_size),
    )
    members = combinations(config, axes)
    for name, *_ in groups(members):
        with _named(name):
            prepare(members[name], material.corpus)  # raises if it doesn't fit the text
    directory = None
    if run_dir is not None:
        values = {axis: list(dict.fromkeys(value_of(member, axis) for member in members.values())) for axis in axes}
        directory = SweepDirectory(Path(run_dir), config, values, members)
        directory.open(resume, overwrite)
    reports = _train_many(members, material, directory, should_stop)
    close_at_exit(reports)
    return reports


@contextlib.contextmanager
def _named(name: str) -> Generator[None]:
    """Say which member it is that an error is about."""
    try:
        yield
    except JaxrnnError as error:
        raise type(error)(f"{name}: {error}") from error


class _Run(NamedTuple):
    """A member that is about to be trained."""

    name: str
    directory: RunDirectory | None
    checkpoint: Checkpoint | None


def _train_many(
    members: Mapping[str, TrainConfig],
    material: Material,
    directory: SweepDirectory | None,
    should_stop: Callable[[], object],
) -> Generator[SweepReport]:
    report = SweepReport(members, {}, {})
    stopped = False

    def stop_all() -> bool:
        nonlocal stopped
        stopped = stopped or bool(should_stop())
        return stopped

    with contextlib.closing(directory) if directory else contextlib.nullcontext():
        for names in groups(members):
            with contextlib.ExitStack() as stack:
                runs = [_open(name, members[name], material, directory, stack) for name in names]
                for together in _in_step(runs):
                    configs = {run.name: members[run.name] for run in together}
                    for _ in _train_together(configs, together, material, report, stop_all):
                        yield report
                    if stopped:
                        return


def _open(
    name: str,
    config: TrainConfig,
    material: Material,
    directory: SweepDirectory | None,
    stack: contextlib.ExitStack,
) -> _Run:
    if directory is None:
        return _Run(name, None, None)
    run = RunDirectory(directory.member(name), material.corpus, config)
    begun = directory.begun(name)
    checkpoint = run.open(resume=begun, overwrite=not begun)
    stack.callback(run.close)
    return _Run(name, run, checkpoint)


def _in_step(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Return the runs that go on from the same step together: when a sweep was killed, some have saved and some not."""

    def step(run: _Run) -> int:
        return -1 if run.checkpoint is None else int(run.checkpoint.state.step)

    return [list(together) for _, together in itertools.groupby(sorted(runs, key=step), step)]


def _train_together(
    configs: Mapping[str, TrainConfig],
    runs: Sequence[_Run],
    material: Material,
    report: SweepReport,
    should_stop: Callable[[], bool],
) -> Generator[None]:
    """Train members in step, a chunk at a time, putting what they report into `report`."""
    saved = [run.checkpoint.state for run in runs if run.checkpoint]
    states = saved or init_members(list(configs.values()))
    shared = _Shared(list(configs.values()), states, should_stop)
    draw_sample = make_sampler(next(iter(configs.values())), material)

    def begin(place: int, run: _Run) -> Generator[Report]:
        def programs(*_: object) -> Programs:
            return states[place], shared.chunk_of(place), draw_sample

        config = configs[run.name]
        limit = ChunkLimit(config, len(runs))
        return trained(
            config, material, run.checkpoint, run.directory, shared.should_stop, programs, limit, every_chunk=True
        )

    with contextlib.ExitStack() as stack:
        training = {
            run.name: stack.enter_context(contextlib.closing(begin(place, run))) for place, run in enumerate(runs)
        }
        while training:
            shared.next_round()
            ended = []
            for name, reports in training.items():
                try:
                    report.reports[name] = next(reports)
                except StopIteration:
                    ended.append(name)
                except NonFiniteError as error:
                    report.failed[name] = str(error)
                    ended.append(name)
            if len(ended) < len(training) or report.failed.keys() & training.keys():
                yield
            for name in ended:
                del training[name]


class _Shared:
    """What the members of a round share: one call that trains them all, made by the first; and whether to stop."""

    def __init__(
        self, configs: list[TrainConfig], states: Sequence[TrainState], should_stop: Callable[[], bool]
    ) -> None:
        self._chunk, self._states, self._ask = make_sweep_chunk(configs), states, should_stop
        self._finite = jax.jit(all_finite)
        self._done: dict[int, tuple[TrainState, Metrics]] = {}
        self._answer: bool | None = None

    def next_round(self) -> None:
        self._answer = None

    def should_stop(self) -> bool:
        if self._answer is None:
            self._answer = self._ask()
        return self._answer

    def chunk_of(self, place: int) -> TrainChunk:
        def train_chunk(_: TrainState, batches: Batch) -> tuple[TrainState, Metrics, jax.Array]:
            if place not in self._done:
                self._states, measured = self._chunk(self._states, batches)
                self._done = dict(enumerate(zip(self._states, measured, strict=True)))
            state, metrics = self._done.pop(place)
            return state, metrics, self._finite(state)

        return train_chunk

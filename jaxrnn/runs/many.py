"""Many runs at once: each is an ordinary run with its own run directory, but one program trains them all."""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrnn.config import TEXT_RULES, TrainConfig, with_settings
from jaxrnn.config.fields import check_arguments
from jaxrnn.config.grid import Axes, combinations, value_of
from jaxrnn.errors import DamagedError, JaxrnnError, NonFiniteError
from jaxrnn.runs.checkpoint_files import all_checkpoints
from jaxrnn.runs.checks import check_member, check_resume, check_room, check_steps
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.iteration import Reports
from jaxrnn.runs.lock import WriterLock
from jaxrnn.runs.programs import ChunkLimit, Sampler, all_finite
from jaxrnn.runs.report import Report
from jaxrnn.runs.run import Run, corpus_of, prepare
from jaxrnn.runs.sweep_directory import open_sweep
from jaxrnn.runs.trainer import Trainer
from jaxrnn.text import Corpus
from jaxrnn.text.stream import Progress, silent
from jaxrnn.training.sweep import group_by_program, init_members, make_sweep_chunk


class SweepReport(NamedTuple):
    """A report of `fit_many` between two training steps.

    Attributes:
        members: the configurations of the members, by name.
        reports: the newest report of each member that has begun.
        failed: the error of each member whose loss is no longer finite.
    """

    members: Mapping[str, TrainConfig]
    reports: dict[str, Report]
    failed: dict[str, str]

    @property
    def step(self) -> int:
        """Training steps done, of all members together."""
        return sum(report.step for report in self.reports.values())

    @property
    def finished(self) -> bool:
        """Whether the sweep is over: every member is finished or has failed."""
        ended = {name for name, report in self.reports.items() if report.finished} | self.failed.keys()
        return ended == self.members.keys()


def fit_many(
    config: TrainConfig,
    axes: Axes,
    corpus: Corpus | str | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], object] = lambda: False,
    progress: Progress = silent,
) -> Generator[SweepReport]:
    """Train a model for each combination of values, as many as possible in one program; report after every chunk.

    Every member is the run that `fit` makes of its configuration, with the same numbers, reports, samples, validations
    and checkpoints; `run_dir` holds a run directory for each. A member whose loss becomes infinite or not a number
    ends; the others go on.

    Example:
        >>> config = TrainConfig(steps=20, log_every=10, sample_every=0, sample_length=5)
        >>> for report in fit_many(config, {"learning_rate": [0.03, 0.1]}):
        ...     losses = {name: member.loss for name, member in report.reports.items()}
        >>> list(losses)
        ['learning_rate=0.03', 'learning_rate=0.1']

    Args:
        config: gives everything that is not swept.
        axes: values by the name of a setting, as `combinations` takes them.
        corpus: as in `fit`.
        run_dir: where to keep the sweep; None keeps nothing.
        resume: resume the sweep in `run_dir`, which must be of these values, each member from its newest checkpoint.
        overwrite: replace the sweep in `run_dir`.
        should_stop: as in `fit`.
        progress: called repeatedly during a validation, as that of `fit`.

    Raises:
        JaxrnnError: at once: values that can't be swept or that clash, or what `fit` raises for a member.
    """
    check_arguments(fit_many, locals())
    check_resume(run_dir, resume, overwrite)
    path, lock = Path(run_dir) if run_dir is not None else None, None
    config = with_settings(config, {"parent": ""})  # its members begin from no other run
    members = combinations(config, axes)
    if path and resume:
        advice = "move it out of the sweep, which then trains this member again" if "steps" in axes else ""
        for name, member in members.items():
            check_steps(path / name, member.steps, advice)
    run = prepare(next(iter(members.values())), corpus_of(corpus, config))
    names = ("corpus", *TEXT_RULES, "vocab_size")  # what the corpus gives
    config = with_settings(config, {name: value_of(run.config, name) for name in names})
    members = combinations(config, axes)
    for name, *_ in group_by_program(members)[1:]:
        try:
            prepare(members[name], run.corpus)  # raises if it doesn't fit the text
        except JaxrnnError as error:
            raise type(error)(f"{name}: {error}") from error
    if path:
        runs = {path / name: run._replace(config=member) for name, member in members.items()}
        for member_path, member_run in runs.items() if resume else ():
            check_member(member_path, member_run)  # before anything is changed
        check_room(path, [*runs.values()], runs if overwrite else [])
        values = {axis: list(dict.fromkeys(value_of(member, axis) for member in members.values())) for axis in axes}
        lock = open_sweep(path, config, values, members, resume=resume, overwrite=overwrite)
    interrupts: list[int] = []
    reports = _train_many(run, members, path, lock, lambda: should_stop() or interrupts, progress)
    return Reports("fit_many", reports, interrupts, run_dir, [])


def _train_many(
    run: Run,
    members: Mapping[str, TrainConfig],
    path: Path | None,
    lock: WriterLock | None,
    should_stop: Callable[[], object],
    progress: Progress,
) -> Generator[SweepReport]:
    report = SweepReport(members, {}, {})
    with contextlib.closing(lock) if lock else contextlib.nullcontext():
        for names in group_by_program(members):
            with contextlib.ExitStack() as stack:
                runs = {}
                for name in names:
                    runs[name] = _open_run(run._replace(config=members[name]), path and path / name, stack)
                # When a sweep is killed, some members have saved their step and some have not.
                steps = {name: run.first_step if run.checkpoint else -1 for name, run in runs.items()}
                for step in sorted(set(steps.values())):
                    in_step = {name: run for name, run in runs.items() if steps[name] == step}
                    if (yield from _train_together(in_step, report, should_stop, progress)):
                        return


def _open_run(run: Run, path: Path | None, stack: contextlib.ExitStack) -> Run:
    if path is None:
        return run
    begun = bool(all_checkpoints(path))
    try:
        directory = RunDirectory(path, run, resume=begun, overwrite=not begun)
    except DamagedError as error:
        advice = "moves it aside, and the sweep then trains this member again"
        raise DamagedError(f"{error}; `jaxrnn info {path} --repair` {advice}") from None
    return run._replace(directory=stack.enter_context(contextlib.closing(directory)))


def _train_together(
    runs: Mapping[str, Run], report: SweepReport, should_stop: Callable[[], object], progress: Progress
) -> Generator[SweepReport, None, bool]:
    """Train runs that are at the same step, chunk by chunk; return whether the sweep is to stop.

    One program trains all of them. A run that has ended stays in the program, and its results are dropped.
    """
    began, configs = time.perf_counter(), [run.config for run in runs.values()]
    states = [run.checkpoint.state for run in runs.values() if run.checkpoint] or init_members(configs)
    train_chunk, is_finite = make_sweep_chunk(configs), jax.jit(all_finite)
    limit, sampler = ChunkLimit(configs[0], len(runs)), Sampler(next(iter(runs.values())))
    trainers = {
        name: Trainer(run, state, sampler, began, progress)
        for (name, run), state in zip(runs.items(), states, strict=True)
    }
    running = [*trainers]
    try:
        while True:
            stopped = bool(should_stop())
            running = [name for name in running if _settle(name, trainers[name], report, stopped, should_stop)]
            if not stopped and any(trainer.stopped for trainer in trainers.values()):  # during a validation
                for name in running:
                    trainers[name].save()
                running, stopped = [], True
            if any(name in report.reports or name in report.failed for name in trainers):
                yield report._replace(reports=dict(report.reports), failed=dict(report.failed))
            if not running:
                return stopped
            batches = limit.batches_after(trainers[running[0]].step, runs[running[0]])
            states, metrics = train_chunk(states, batches)
            for name, state, losses in zip(trainers, states, metrics, strict=True):
                if name in running:
                    with _failure_noted(name, report):
                        trainers[name].advance(state, losses, is_finite(state))
            running = [name for name in running if name not in report.failed]
    except (GeneratorExit, Exception) as error:
        for name in running:
            if name not in report.failed:
                trainers[name].save_after(error)
        raise


def _settle(name: str, trainer: Trainer, report: SweepReport, stopped: bool, should_stop: Callable[[], object]) -> bool:
    """Add the report of a run to that of the sweep, return whether the run continues."""
    trainer.stopped = stopped
    with _failure_noted(name, report):
        if not trainer.reported:
            report.reports[name] = trainer.settle(lambda: stopped or should_stop())
        elif trainer.over:  # before it could train
            report.reports[name] = trainer.report(with_sample=trainer.finished, finished=trainer.finished)
    return not (trainer.over or name in report.failed)


@contextlib.contextmanager
def _failure_noted(name: str, report: SweepReport) -> Iterator[None]:
    try:
        yield
    except NonFiniteError as error:
        report.failed[name] = str(error)


class Spread(NamedTuple):
    """The mean of some numbers, their standard deviation (by n - 1; None for a single number), and their range."""

    mean: float
    deviation: float | None
    lowest: float
    highest: float


class Row(NamedTuple):
    """A setting of what is swept, with all its seeds."""

    setting: dict[str, Any]  # the values, by name, without the seed
    members: tuple[str, ...]  # the names of its runs
    failed: int  # how many of them ended because their loss was no longer finite; the others count below
    train_bits_per_character: Spread | None  # their training losses at the end; None where no run is left
    validation_bits_per_character: Spread | None  # their best validations; None where there is none
    best: str | None  # the best member, by validation where there is one; None where no run is left


def tabulate_sweep(report: SweepReport, axes: Iterable[str]) -> list[Row]:
    """Return a row for each combination of the swept values other than the seed, in the order of the members."""
    names = [axis for axis in axes if axis != "seed"]
    by_setting: dict[tuple[Any, ...], list[str]] = {}
    for name, config in report.members.items():
        by_setting.setdefault(tuple(value_of(config, axis) for axis in names), []).append(name)
    rows = []
    for values, members in by_setting.items():
        reports = {name: report.reports[name] for name in members if name in report.reports.keys() - report.failed}
        train = {name: member.bits_per_character for name, member in reports.items()}
        best = {name: member.best.bits_per_character for name, member in reports.items() if member.best}
        losses = best or train
        row = Row(
            dict(zip(names, values, strict=True)),
            tuple(members),
            failed=len(report.failed.keys() & set(members)),
            train_bits_per_character=_spread([*train.values()]),
            validation_bits_per_character=_spread([*best.values()]),
            best=min(losses, key=losses.__getitem__, default=None),
        )
        rows.append(row)
    return rows


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, min(values), max(values))


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the row with the lowest mean, by validation where there is one; None where no run is left."""

    def mean(row: Row) -> float:
        losses = row.validation_bits_per_character or row.train_bits_per_character
        return losses.mean if losses else math.inf

    return min((row for row in rows if row.train_bits_per_character), key=mean, default=None)

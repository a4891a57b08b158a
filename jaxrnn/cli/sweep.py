"""`jaxrnn sweep`: train many models at once, over lists of values and over seeds."""

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro

from jaxrnn.cli.device_flags import ProcessFlags
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.lists import Lists, take_lists
from jaxrnn.cli.progress import reading
from jaxrnn.cli.signals import stop_signals
from jaxrnn.cli.slices import slice_lines
from jaxrnn.cli.train import Train
from jaxrnn.config import TrainConfig, to_json
from jaxrnn.config.grid import combinations
from jaxrnn.errors import JaxrnnError, NonFiniteError

if TYPE_CHECKING:
    from jaxrnn.runs import SweepReport
    from jaxrnn.runs.sweep.table import Row, Spread


@dataclasses.dataclass(frozen=True)
class Sweep(Train):
    """Train a model for each combination of values, many at once; show mean and spread over seeds.

    A flag of the network or of its optimizer may be a list with commas: --learning-rate 0.03,0.1,0.3; so may SEED,
    BATCH_SIZE, SEQUENCE_LENGTH and STEPS. Each member is an ordinary run in a directory of its own.
    """

    seeds: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Train each combination with N seeds: SEED, SEED + 1, ..."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep the sweep, a run directory for each member; by default runs/CORPUS-sweep-1, or the next number."""
    resume: bool = False
    """Go on with the sweep in --run-dir, each member from its newest checkpoint."""
    overwrite: bool = False
    """Replace the sweep in --run-dir, which must have the same members."""
    dry_run: bool = False
    """Print configuration and members as JSON, and do no more."""
    quiet: bool = False
    """Print the table only."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw the losses, mean and spread over seeds, as .png or .svg."""
    json: bool = False
    """End with one line of JSON that has everything."""
    tensorboard: tyro.conf.Suppress[bool] = False
    device: tyro.conf.Suppress[ProcessFlags] = dataclasses.field(default_factory=ProcessFlags)
    axes: tyro.conf.Suppress[Lists] = dataclasses.field(default_factory=Lists)

    @classmethod
    def parsed(cls, arguments: list[str]) -> tuple[list[str], Self]:
        """Return the arguments as tyro takes them, and what the flags begin from."""
        taken = take_lists(arguments)
        default = cls.defaults(taken.arguments)
        for name in sorted(taken.singles & default.axes.keys()):
            raise JaxrnnError(
                f"{name} is what the sweep in --run-dir goes over ({_listed(default.axes[name])}); leave it out"
            )
        return taken.arguments, dataclasses.replace(default, axes=Lists(default.axes | taken.lists))

    @classmethod
    def _resumed(cls, run_dir: Path) -> Self:
        from jaxrnn.runs import read_sweep

        config, axes = read_sweep(run_dir)
        return dataclasses.replace(cls._of(config), axes=Lists(axes))

    def run(self) -> int:
        """Train, print the table, and return the exit code."""
        if self.resume and not self.run_dir:
            raise JaxrnnError("--resume needs --run-dir, the directory of the sweep to go on with")
        if self.resume and self.overwrite:
            raise JaxrnnError("--resume goes on with a sweep and --overwrite replaces it; give one of them")
        config, axes = self._train_config(), self._all_axes()
        members = combinations(config, axes)
        if self.dry_run:
            print(json.dumps({"config": json.loads(to_json(config)), "axes": axes, "members": list(members)}, indent=2))
            return 0
        set_up_jax(self.model.dtype)
        from jaxrnn.plots import check_plot_file, sweep_curves
        from jaxrnn.runs import fit_many, load_run_corpus, new_run_directory
        from jaxrnn.runs.sweep.table import tabulate_sweep

        if self.plot:
            check_plot_file(self.plot)
        with reading() as progress:
            corpus = load_run_corpus(config, progress)
        run_dir = self.run_dir or new_run_directory(f"{corpus.name}-sweep")
        signals = stop_signals()
        reports = fit_many(
            config,
            axes,
            corpus,
            run_dir=run_dir,
            resume=self.resume,
            overwrite=self.overwrite,
            should_stop=lambda: signals.received,
        )
        if not self.quiet:
            about = [str(corpus), *slice_lines(config, corpus), f"sweep: {run_dir}, {len(members)} models"]
            print("\n".join(about), file=sys.stderr)
        with signals, contextlib.closing(reports), _Progress(members, self.quiet) as shown:
            for report in reports:
                shown.show(report)
        rows = tabulate_sweep(report, list(axes))
        print("\n".join([*table(rows, members), f"sweep: {run_dir}"]))
        if self.plot:
            sweep_curves(run_dir).savefig(self.plot, dpi=150)
            print(f"plot: {self.plot}")
        if self.json:
            print(json.dumps(_as_json(report, rows, axes, run_dir), allow_nan=False))
        if not report.finished:
            return 128 + signals.received
        return NonFiniteError.exit_code if len(report.failed) == len(members) else 0

    def _all_axes(self) -> dict[str, list[Any]]:
        axes: dict[str, list[Any]] = dict(self.axes)
        if self.seeds is not None:
            if self.seeds < 1:
                raise JaxrnnError(f"--seeds must be at least 1, got {self.seeds}")
            if "seed" in axes and not self.resume:
                raise JaxrnnError("--seed with a list and --seeds both say which seeds; give one of them")
            axes["seed"] = list(range(self.seed, self.seed + self.seeds))
        if not axes:
            raise JaxrnnError(
                "there is nothing to sweep; give a flag several values, such as --learning-rate 0.03,0.1, or --seeds 8"
            )
        return axes


class _Progress(contextlib.AbstractContextManager["_Progress"]):
    """A bar on a terminal; else a line at the beginning, every ten seconds, and at the end."""

    def __init__(self, members: Mapping[str, TrainConfig], quiet: bool) -> None:
        from tqdm import tqdm

        self._quiet, self._next, self._begin, self._first = quiet, 0.0, time.monotonic(), -1
        self._characters = {name: config.sequence_length * config.batch_size for name, config in members.items()}
        self._total = sum(self._characters[name] * config.steps for name, config in members.items())
        options: dict[str, Any] = {"unit": "char", "unit_scale": True, "dynamic_ncols": True}
        self._bar = tqdm(total=self._total, disable=quiet or not sys.stderr.isatty(), **options)

    def show(self, report: "SweepReport") -> None:
        done = sum(self._characters[name] * member.step for name, member in report.reports.items())
        if self._first < 0:
            self._first = self._bar.initial = done  # a resumed sweep: its rate counts from here
        losses = [member.bits_per_character for name, member in report.reports.items() if name not in report.failed]
        ended = sum(member.finished for member in report.reports.values())
        told = f"{ended} of {len(self._characters)} models done"
        if losses:
            told += f", {min(losses):.3f} to {max(losses):.3f} bits/char"
        if report.failed:
            told += f", {len(report.failed)} not finite"
        if not self._bar.disable:
            self._bar.set_postfix_str(told, refresh=False)
            self._bar.update(done - self._bar.n)
        elif not self._quiet and (time.monotonic() >= self._next or report.finished):
            self._next = time.monotonic() + 10
            rate = (done - self._first) / max(time.monotonic() - self._begin, 1e-9)
            print(f"{done / self._total:.0%}: {told}, {rate:,.0f} characters/s", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def table(rows: Sequence["Row"], members: Mapping[str, TrainConfig]) -> list[str]:
    """Return the table of a sweep as lines, and which of its rows is best."""
    from jaxrnn.runs.sweep.table import best_row

    validated = any(row.validation_loss for row in rows)
    lines = [
        [*rows[0].setting, "models", "smooth loss, bits/char", *["best validation, nats/char"] * validated, "best seed"]
    ]
    for row in rows:
        spreads = [row.bits_per_character, *[row.validation_loss] * validated]
        models = f"{len(row.members)}" + (f" ({row.failed} not finite)" if row.failed else "")
        seed = str(members[row.best].seed) if row.best else "none"
        lines.append([*map(str, row.setting.values()), models, *map(_in_words, spreads), seed])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if (best := best_row(rows)) and best.best:
        shown.append(f"best{' on average' * (len(best.members) > 1)}: {_said(best.setting) or best.best}")
    return shown


def _said(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def _in_words(spread: "Spread | None") -> str:
    if spread is None:
        return "none"

    def number(value: float) -> str:
        return f"{value:.4f}" if value < 1e4 else f"{value:.4g}"

    if spread.deviation is None:
        return number(spread.mean)
    return f"{number(spread.mean)} ± {number(spread.deviation)} ({number(spread.lowest)} to {number(spread.highest)})"


def _as_json(report: "SweepReport", rows: Sequence["Row"], axes: dict[str, list[Any]], run_dir: Path) -> dict[str, Any]:
    from jaxrnn.runs.sweep.table import best_row

    best = best_row(rows)
    members = {
        name: {
            "run_dir": str(run_dir / name),
            "step": found.step,
            "loss": found.loss,
            "smooth_loss": found.smooth_loss,
            "bits_per_character": found.bits_per_character,
            "validation_loss": found.validation_loss,
            "best": found.best and found.best._asdict(),
            "finished": found.finished,
            "seconds": found.seconds,
            "failed": report.failed.get(name),
        }
        for name, found in report.reports.items()
    }
    return {
        "run_dir": str(run_dir),
        "axes": axes,
        "finished": report.finished,
        "settings": [_plain(row) for row in rows],
        "best": best.setting if best else None,
        "members": members,
    }


def _plain(row: "Row") -> dict[str, Any]:
    spreads = {name: getattr(row, name) for name in ("bits_per_character", "validation_loss")}
    return {**row._asdict(), **{name: spread and spread._asdict() for name, spread in spreads.items()}}


def _listed(values: Sequence[Any]) -> str:
    return ",".join(map(str, values))

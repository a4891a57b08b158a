"""`jaxrnn sweep`: train many models at once, over lists of values and over seeds."""

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

import jaxrnn
from jaxrnn.cli.advice import closing_lines, guessing_line
from jaxrnn.cli.arguments import OPTIONS, DeviceFlags, RunOptions, TrainingFlags
from jaxrnn.cli.flags import setting_flags, with_flags
from jaxrnn.cli.output import fields_of, loss_text, loss_values, print_result, save_figure, slice_lines, table
from jaxrnn.cli.process import set_up_jax, stop_signals
from jaxrnn.cli.python_file import cell_of
from jaxrnn.config import SWEEPABLE, TrainConfig, combinations
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError, NonFiniteError, counted
from jaxrnn.runs.progress import TrainingProgress


@dataclasses.dataclass(frozen=True)
class SweepOptions(RunOptions):
    """Files and output."""

    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Plot the losses, with mean and spread over seeds, as .png or .svg."""


@dataclasses.dataclass(frozen=True)
class Sweep(TrainingFlags):
    """Train a model for each combination of values, many at once; show mean and spread over seeds.

    Flags that show a value with ",..." take a list: --learning-rate 0.03,0.1,0.3. Each member is an ordinary run in a
    directory of its own.
    """

    settings: Annotated[Any, setting_flags(lists=True)]
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Directory of the sweep, with a run directory per member; by default runs/CORPUS-sweep-1, or the next number."""
    resume: bool = False
    """Continue the sweep in --run-dir, each member from its newest checkpoint."""
    options: Annotated[SweepOptions, OPTIONS] = dataclasses.field(default_factory=SweepOptions)
    seeds: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Train each combination with N seeds: SEED, SEED + 1, ..."""

    def run(self) -> int:
        """Train, print the table, and return the exit code."""
        config, axes = self._config_and_axes()
        members = combinations(config, axes)
        options = self.options
        if options.dry_run:
            options.print_plan({"config": config, "axes": axes, "members": list(members)})
            return 0
        set_up_jax(config.model.dtype)
        DeviceFlags().set_up()
        if options.plot:
            jaxrnn.plots.check_plot_file(options.plot)
        corpus = self.load_corpus(config)
        run_dir = self.run_dir or jaxrnn.runs.new_run_directory(f"{corpus.name}-sweep")
        shows, total = not options.quiet, sum(member.steps for member in members.values())
        display = TrainingProgress(total, "{:,} of {:,} steps", has_bar=shows, has_lines=shows)
        flags: dict[str, Any] = {"run_dir": run_dir, "resume": self.resume, "overwrite": options.overwrite}
        flags["progress"] = display.note
        with stop_signals() as received:
            reports = jaxrnn.fit_many(config, axes, corpus, should_stop=lambda: received, **flags)
            if shows:
                lines = slice_lines(jaxrnn.runs.slices_of(corpus, config), corpus.vocabulary)
                print(
                    "\n".join([str(corpus), *lines, f"sweep: {run_dir}, {counted(len(members), 'models')}"]),
                    file=sys.stderr,
                )
            before: dict[str, int] = {}  # steps of the members that were trained earlier
            with contextlib.closing(reports), display:
                for report in reports:
                    before |= {name: member.step for name, member in report.reports.items() if name not in before}
                    display.show(report.step, _in_short(report), finished=report.finished, before=sum(before.values()))
            values, table_lines = _result(report, axes, members, run_dir)
            if not report.finished:
                table_lines.append(f"stopped after {report.step:,} of {counted(total, 'steps')}")
            table_lines.append(f"sweep: {run_dir}")
            if options.plot:
                table_lines.append(save_figure(jaxrnn.plots.sweep_curves(run_dir), options.plot))
            values["plot"] = options.plot
            if values["best_run"]:
                (cell,) = self.changes().get("cell", (None,))[:1]
                resume = None if report.finished else ""
                table_lines += closing_lines(values["best_run"], {"cell": cell}, resume, run_dir)
            print_result(options.json, values, *table_lines)
        if not report.finished:
            return 128 + received[0]
        return NonFiniteError.exit_code if len(report.failed) == len(members) else 0

    def _config_and_axes(self) -> tuple[TrainConfig, dict[str, list[Any]]]:
        """Return the configuration, with the first value of every list, and the lists."""
        config, changes = self.starting_config(), self.changes()
        axes: dict[str, list[Any]] = {}
        if self.resume and self.run_dir:
            config, axes = jaxrnn.runs.read_sweep(self.run_dir)
        lists = {name: list(values) for name, values in changes.items() if name in SWEEPABLE}
        single = {name for name, values in lists.items() if len(values) == 1}
        for name in sorted(single & axes.keys()):
            values = ",".join(map(str, axes[name]))
            raise JaxrnnError(f"{name} is what the sweep in --run-dir goes over ({values}); leave it out")
        if len(lists.get("cell", ())) > 1 and any(":" in name for name in lists["cell"]):
            raise JaxrnnError("a user-defined cell can't be swept; sweep built-in ones, or use it for all")
        if any(":" in name for name in lists.get("optimizer", ())):
            raise JaxrnnError("a sweep can't have a user-defined optimizer; name a built-in one")
        if "cell" in single:
            lists["cell"] = [cell_of(*lists["cell"])]
        first_values = {name: values[0] for name, values in lists.items()}
        config = with_flags(config, {"vocab_size": None, **changes, **first_values})
        axes |= {name: values for name, values in lists.items() if name not in single}
        check_in(self.seeds, "[1, inf)", "--seeds")
        if self.seeds is not None:
            if "seed" in axes and not self.resume:
                raise JaxrnnError("--seed with a list and --seeds both say which seeds; give one of them")
            axes["seed"] = list(range(config.seed, config.seed + self.seeds))
        if not axes:
            raise JaxrnnError(
                "there is nothing to sweep; give a flag several values, such as --learning-rate 0.03,0.1, or --seeds 8"
            )
        return config, axes


def _in_short(report: "jaxrnn.SweepReport") -> list[str]:
    ended = sum(member.finished for member in report.reports.values())
    losses = [member.bits_per_character for name, member in report.reports.items() if name not in report.failed]
    parts = [f"{ended} of {counted(len(report.members), 'models')} done"]
    if losses:
        parts.insert(0, f"{min(losses):.3f} to {max(losses):.3f} {next(iter(report.members.values())).loss_unit}")
    if report.failed:
        parts.append(f"{len(report.failed)} not finite")
    return parts


def _result(
    report: "jaxrnn.SweepReport", axes: Mapping[str, Any], members: Mapping[str, TrainConfig], run_dir: Path
) -> tuple[dict[str, Any], list[str]]:
    """Return the result for JSON, and as lines: the table, and which of its rows is best."""
    from jaxrnn.runs.many import best_row, tabulate_sweep

    rows = tabulate_sweep(report, list(axes))
    best = best_row(rows)
    values = {
        "run_dir": run_dir,
        "axes": axes,
        "finished": report.finished,
        "settings": rows,
        "members": {
            name: {
                "run_dir": run_dir / name,
                **loss_values(member),
                **fields_of(member, "step", "finished", "seconds"),
                "failed": report.failed.get(name),
            }
            for name, member in report.reports.items()
        },
        "best": best.setting if best else None,
        "best_run": run_dir / best.best if best and best.best else None,
    }
    validated = any(row.validation_bits_per_character for row in rows)
    title = [*rows[0].setting, "models", "training loss", *["best validation loss"] * validated]
    cells = [[*title, "best seed"]]
    for row in rows:
        spreads = [row.train_bits_per_character, *[row.validation_bits_per_character] * validated]
        models = f"{len(row.members)}" + (f" ({row.failed} not finite)" if row.failed else "")
        seed = str(members[row.best].seed) if row.best else "none"
        cells.append([*map(str, row.setting.values()), models, *map(_spread, spreads), seed])
    lines = [*table(cells), f"losses are in {next(iter(members.values())).loss_unit}"]
    if best and best.best:
        setting = ", ".join(f"{name} {value}" for name, value in best.setting.items())
        lines.append(f"best{' on average' * (setting != '' and len(best.members) > 1)}: {setting or best.best}")
        lines += filter(None, [guessing_line(report.reports[best.best])])
    return values, lines


def _spread(spread: "jaxrnn.runs.many.Spread | None") -> str:
    if spread is None:
        return "none"
    mean, deviation, lowest, highest = (value if value is None else loss_text(value) for value in spread)
    return f"{mean} ± {deviation} ({lowest} to {highest})" if deviation else f"{mean}"

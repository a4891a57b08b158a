"""`jaxrnn runs` and `jaxrnn compare`: which runs there are, how far they have come, and how they differ."""

import dataclasses
import datetime
import operator
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tyro

import jaxrnn
from jaxrnn.cli.arguments import JsonFlag
from jaxrnn.cli.output import BOLD, GREEN, RED, YELLOW, in_words, loss_text, print_result, styled, table
from jaxrnn.config import SETTINGS, TEXT_RULES, TrainConfig, corpus_name
from jaxrnn.errors import JaxrnnError, counted

_Row: TypeAlias = "jaxrnn.runs.RunSummary | jaxrnn.runs.SweepSummary"  # of the list of runs
_STYLES = {"running": GREEN, "finished": "", "stopped": YELLOW, "damaged": RED, "unusable": RED, "unreadable": RED}
_TEXT_SETTINGS = (*TEXT_RULES, "split")  # losses are comparable only where these are equal
_KEYS: dict[str, Any] = {  # to sort summaries of runs by
    "recent": lambda run: -run.changed,
    "best": lambda run: run.best_loss,
    "name": lambda run: run.path,
}


@dataclasses.dataclass(frozen=True)
class Runs:
    """List runs: how far they are, their model, their losses (bits per character), and which are damaged."""

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Directory to search for runs, with the folders below it."""
    sort: Literal["recent", "best", "name"] = "recent"
    """recent: by the time of the last write. best: by the lowest loss, of validation if there is one."""
    members: bool = False
    """List every member of a sweep; by default a sweep is one row, with the losses of its best member."""
    json: JsonFlag = False

    def run(self) -> None:
        """Print the list."""
        default = Runs().directory
        paths = jaxrnn.runs.find_runs(self.directory) if self.directory != default or default.is_dir() else []
        runs = []
        for path in paths:
            try:
                runs.append(jaxrnn.runs.summarize_run(path))
            except JaxrnnError:
                if path.is_dir():  # else it was removed meanwhile
                    raise
        is_open = self.members or (self.directory / "sweep.json").exists()
        rows = sorted(runs if is_open else jaxrnn.runs.group_sweeps(runs), key=_KEYS[self.sort])
        if not rows:
            print(f"no runs in {self.directory}; `jaxrnn train` makes one", file=sys.stderr)
        if rows or self.json:
            print_result(self.json, rows, *_table(rows), f"losses are in {_unit(runs)}", *_problems([*rows, *runs]))


def _table(runs: "Sequence[_Row]") -> list[str]:
    title = ("run", "state", "age", "step", "model", "train", "best", "valid", "best", "corpus")
    rows, right = [list(title), *map(_row, runs)], [2, 3, 5, 6, 7, 8]
    head, *lines = table(rows, right)
    for column in (9, 6, 4) if sys.stdout.isatty() else ():  # what a narrow terminal has no room for
        if max(map(len, (head, *lines))) >= shutil.get_terminal_size().columns:
            rows = [row[:column] + row[column + 1 :] for row in rows]
            right = [index - (index > column) for index in right if index != column]
            head, *lines = table(rows, right)
    start = head.index("state")
    for index, (run, line) in enumerate(zip(runs, lines, strict=True)):
        end = start + len(run.state)
        lines[index] = line[:start] + styled(run.state, _STYLES[run.state]) + line[end:]
    return [styled(head, BOLD), *lines]


def _row(row: "_Row") -> list[str]:
    run = row.best if isinstance(row, jaxrnn.runs.SweepSummary) else row
    step, model = f"{run.step:,}", "-"
    if isinstance(row, jaxrnn.runs.SweepSummary):
        step = f"{sum(member.step for member in row.members):,}"
        model = f"{sum(member.state == 'finished' for member in row.members)} of {counted(row.size, 'models')}"
    elif run.config:
        model = f"{run.config.model.cell} {run.config.model.num_layers} x {run.config.model.hidden_size}"
        step += f" of {run.config.steps:,}" if run.step < run.config.steps else ""
    cells = [in_words(str(row.path)), row.state, _age(time.time() - row.changed), step, model]
    for losses in (run.train_bits_per_character, run.validation_bits_per_character):
        cells += [loss_text(losses.last), loss_text(losses.best)] if losses else ["-", "-"]
    return [*cells, corpus_name(run.config.corpus) if run.config else "-"]


def _age(seconds: float) -> str:
    for unit, size in {"d": 86_400, "h": 3_600, "min": 60}.items():
        if seconds >= size:
            return f"{seconds // size:,.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _problems(runs: "Iterable[_Row]") -> list[str]:
    lines = {f"{run.state}: {run.path}: {run.problem}": None for run in runs if run.problem}  # each once
    return [styled(line, RED) for line in lines]


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare the settings and results of runs."""

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, two or more."""
    json: bool = False
    """Print one line of JSON and nothing else: the runs as in `jaxrnn runs --json`, and the settings that differ."""

    def run(self) -> None:
        """Print the comparison."""
        if len(self.run_dirs) < 2:
            raise JaxrnnError(f"compare needs two runs at least, got {len(self.run_dirs)}")
        runs = [jaxrnn.runs.summarize_run(path) for path in self.run_dirs]
        settings = [_settings(run.config) if run.config else {} for run in runs]
        first = next(filter(None, settings), {})
        differences = {
            name: [values.get(name) for values in settings]
            for name, value in first.items()
            if any(values and values[name] != value for values in settings)
        }
        hashes = {run.corpus["sha256"] for run in runs if run.corpus}
        reasons = ["text"] * (len(hashes) > 1) + [name for name in _TEXT_SETTINGS if name in differences]

        rows = [[name, *map(in_words, values)] for name, values in differences.items()]
        head, *lines = table([["", *(str(run.path) for run in runs)], *rows, *_results(runs)])
        lines[len(rows) : len(rows)] = [""] if rows else ["the settings are the same", ""]
        lines = [styled(head, BOLD), *lines, f"losses are in {_unit(runs)}"]
        if reasons:
            lines.append(f"they are not of the same text: {', '.join(reasons)} differ{'s' * (len(reasons) == 1)}")
        values = {"runs": runs, "differences": differences, "same_text": not reasons}
        print_result(self.json, values, *lines, *_problems(runs))


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return all settings by name, such as `model.cell`, with the optimizer's defaults where they are left to it."""
    values = {path: operator.attrgetter(path)(config) for path in SETTINGS.values()}
    if config.optimizer.name != "custom":
        values["optimizer.learning_rate"] = config.optimizer.peak_learning_rate
        values["optimizer.weight_decay"] = config.optimizer.decay
    return values


def _results(runs: "list[jaxrnn.runs.RunSummary]") -> list[list[str]]:
    rows = [
        ["state", *(run.state for run in runs)],
        ["steps done", *(f"{run.step:,}" for run in runs)],
        ["training time", *(str(datetime.timedelta(seconds=round(run.seconds))) for run in runs)],
        ["parameters", *(f"{run.parameters:,}" if run.parameters else "-" for run in runs)],
        ["text (sha256)", *(run.corpus["sha256"][:12] if run.corpus else "-" for run in runs)],
    ]
    for name in ("train", "validation"):
        losses = [getattr(run, f"{name}_bits_per_character") for run in runs]
        rows += [
            [f"{name} loss, last", *(loss_text(loss.last) if loss else "-" for loss in losses)],
            [
                f"{name} loss, best",
                *(f"{loss_text(loss.best)} at {loss.best_step:,}" if loss else "-" for loss in losses),
            ],
        ]
    return rows


def _unit(runs: "list[jaxrnn.runs.RunSummary]") -> str:
    """Return the unit of the losses of runs."""
    return ", or ".join(dict.fromkeys(run.config.loss_unit for run in runs if run.config)) or "bits per character"

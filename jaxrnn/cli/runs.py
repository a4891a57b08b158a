"""`jaxrnn runs` and `jaxrnn compare`: which runs there are, how far they have come, and how they differ."""

import dataclasses
import datetime
import math
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxrnn.cli.arguments import JsonFlag
from jaxrnn.cli.output import BOLD, GREEN, RED, YELLOW, print_result, styled, table
from jaxrnn.config import SETTINGS, TrainConfig
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import RunSummary

_STYLES = {"running": GREEN, "damaged": RED, "stopped": YELLOW, "finished": ""}
_TEXT_SETTINGS = ("vocabulary", "normalize", "min_count", "split")  # losses are comparable only where these are equal


@dataclasses.dataclass(frozen=True)
class Runs:
    """List runs: how far they are, their model, their losses (nats per character), and which are damaged."""

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Directory to search for runs, with the folders below it."""
    sort: Literal["recent", "best", "name"] = "recent"
    """recent: by the time of the last write. best: by the lowest loss, of validation if there is one."""
    json: JsonFlag = False

    def run(self) -> None:
        """Print the list."""
        from jaxrnn.runs.catalog import find_runs, summarize_run

        default = Runs().directory
        paths = find_runs(self.directory) if self.directory != default or default.is_dir() else []
        runs = sorted(map(summarize_run, paths), key=_KEYS[self.sort])
        if not runs:
            print(f"no runs in {self.directory}; `jaxrnn train` makes one", file=sys.stderr)
        if runs or self.json:
            print_result(self.json, runs, "\n".join(_table(runs)))


_KEYS: dict[str, Any] = {
    "recent": lambda run: -run.changed,
    "best": lambda run: min((losses.best for losses in (run.validation or run.train,) if losses), default=math.inf),
    "name": lambda run: run.path,
}


def _table(runs: list["RunSummary"]) -> list[str]:
    title = ("run", "state", "step", "model", "train", "best", "valid", "best", "corpus")
    head, *lines = table([title, *map(_row, runs)], right=(2, 4, 5, 6, 7))
    start = head.index("state")
    for index, (run, line) in enumerate(zip(runs, lines, strict=True)):
        end = start + len(run.state)
        lines[index] = line[:start] + styled(run.state, _STYLES[run.state], sys.stdout) + line[end:]
    return [styled(head, BOLD, sys.stdout), *lines, *_problems(runs)]


def _problems(runs: list["RunSummary"]) -> list[str]:
    """Return a line per damaged run, with the reason."""
    return [styled(f"damaged: {run.path}: {run.problem}", RED, sys.stdout) for run in runs if run.problem]


def _row(run: "RunSummary") -> list[str]:
    row = [str(run.path), run.state, f"{run.step:,}", "-"]
    if run.config:
        model = run.config.model
        row[3] = f"{model.cell} {model.num_layers} x {model.hidden_size}"
        if run.step < run.config.steps:
            row[2] += f" of {run.config.steps:,}"
    for losses in (run.train, run.validation):
        row += [f"{losses.last:.4f}", f"{losses.best:.4f}"] if losses else ["-", "-"]
    return [*row, Path(run.config.corpus).stem if run.config else "-"]


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare the settings and results of runs."""

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, two or more."""
    json: bool = False
    """Print one line of JSON and nothing else: the runs as in `jaxrnn runs --json`, and the settings that differ."""

    def run(self) -> None:
        """Print the comparison."""
        from jaxrnn.runs.catalog import summarize_run

        if len(self.run_dirs) < 2:
            raise JaxrnnError(f"compare needs two runs at least, got {len(self.run_dirs)}")
        runs = [summarize_run(path) for path in self.run_dirs]
        different = differences([run.config for run in runs])
        values = {"runs": runs, "differences": different, "same_text": not _text_differences(runs, different)}
        print_result(self.json, values, "\n".join(_comparison(runs, different)))


def differences(configs: list[TrainConfig | None]) -> dict[str, list[Any]]:
    """Return the settings that differ between the readable configs, with the value of each; None for an unreadable."""
    settings = [_settings(config) if config else {} for config in configs]
    readable = [values for values in settings if values]
    return {
        name: [values.get(name) for values in settings]
        for name in (readable[0] if readable else ())
        if any(values[name] != readable[0][name] for values in readable)
    }


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return all settings by name, such as `model.cell`, with the optimizer's defaults where they are left to it."""
    values = {path: operator.attrgetter(path)(config) for path in SETTINGS.values()}
    if config.optimizer.name != "custom":
        values["optimizer.learning_rate"] = config.optimizer.peak_learning_rate
        values["optimizer.weight_decay"] = config.optimizer.decay
    return values


def _text_differences(runs: list["RunSummary"], different: dict[str, list[Any]]) -> list[str]:
    """Return why the losses of the runs are not of the same text."""
    hashes = {run.corpus["sha256"] for run in runs if run.corpus}
    return ["text"] * (len(hashes) > 1) + [name for name in _TEXT_SETTINGS if name in different]


def _comparison(runs: list["RunSummary"], different: dict[str, list[Any]]) -> list[str]:
    settings = [[name, *map(_words, values)] for name, values in different.items()]
    results = [
        ["state", *(run.state for run in runs)],
        ["steps done", *(f"{run.step:,}" for run in runs)],
        ["training time", *(str(datetime.timedelta(seconds=round(run.seconds))) for run in runs)],
        ["parameters", *(f"{run.parameters:,}" if run.parameters else "-" for run in runs)],
        ["text (sha256)", *(run.corpus["sha256"][:12] if run.corpus else "-" for run in runs)],
    ]
    for name, losses in {"train": [run.train for run in runs], "validation": [run.validation for run in runs]}.items():
        results += [
            [f"{name} loss, last", *(f"{loss.last:.4f}" if loss else "-" for loss in losses)],
            [f"{name} loss, best", *(f"{loss.best:.4f} at {loss.best_step:,}" if loss else "-" for loss in losses)],
        ]
    head, *lines = table([["", *(str(run.path) for run in runs)], *settings, *results])
    lines[len(settings) : len(settings)] = [""] if settings else ["the settings are the same", ""]
    lines = [styled(head, BOLD, sys.stdout), *lines, "losses are in nats per character"]
    if reasons := _text_differences(runs, different):
        lines.append(f"they are not of the same text: {', '.join(reasons)} differ{'s' * (len(reasons) == 1)}")
    return [*lines, *_problems(runs)]


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, str) and not (value and value.isprintable()):
        return repr(value)
    return "-" if value is None else str(value)

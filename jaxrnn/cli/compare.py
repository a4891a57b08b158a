"""`jaxrnn compare`: the settings and results of runs side by side."""

import dataclasses
import datetime
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxrnn.cli.output import BOLD, print_result, styled, table
from jaxrnn.cli.runs import problem_lines
from jaxrnn.config import TrainConfig
from jaxrnn.config.grid import SETTINGS
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import RunSummary

_TEXT_SETTINGS = ("vocabulary", "normalize", "min_count", "split")  # losses are comparable only where these are equal


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
        for path in self.run_dirs:
            if not path.is_dir():
                raise JaxrnnError(f"no such run: {path}; give the run directory that `jaxrnn train` made")
        runs = [summarize_run(path) for path in self.run_dirs]
        different = differences([run.config for run in runs])
        values = {"runs": runs, "differences": different, "same_text": not _text_differences(runs, different)}
        print_result(self.json, values, "\n".join(_lines(runs, different)))


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


def _lines(runs: list["RunSummary"], different: dict[str, list[Any]]) -> list[str]:
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
    return [*lines, *problem_lines(runs)]


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, str) and not (value and value.isprintable()):
        return repr(value)
    return "-" if value is None else str(value)

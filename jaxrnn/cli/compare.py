"""`jaxrnn compare`: in what runs differ, and what came of it."""

import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxrnn.cli.output import BOLD, print_result, styled, table
from jaxrnn.cli.runs import as_json, problem_lines
from jaxrnn.config import TrainConfig, to_json
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import Losses, RunSummary

_SAME_TEXT = ("vocabulary", "normalize", "min_count", "split")  # with another one a loss is of something else


@dataclasses.dataclass(frozen=True)
class Compare:
    """Show in which settings runs differ, and their results."""

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, two or more."""
    json: bool = False
    """Print one line of JSON: the runs, as `jaxrnn runs --json` has them, and the settings that differ."""

    def run(self) -> int:
        """Print the comparison, and return the exit code."""
        from jaxrnn.runs.catalog import summarize_run

        if len(self.run_dirs) < 2:
            raise JaxrnnError(f"compare needs two runs at least, got {len(self.run_dirs)}")
        for path in self.run_dirs:
            if not path.is_dir():
                raise JaxrnnError(f"no such run: {path}; give the run directory that `jaxrnn train` made")
        runs = [summarize_run(path) for path in self.run_dirs]
        different = differences([run.config for run in runs])
        values = {
            "runs": [as_json(run) for run in runs],
            "differences": different,
            "same_text": not _other_text(runs, different),
        }
        print_result(self.json, values, "\n".join(_lines(runs, different)))
        return 0


def differences(configs: list[TrainConfig | None]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all of the configs that there are, with the value in each."""
    settings = [_settings(config) if config else {} for config in configs]
    there = [values for values in settings if values]
    return {
        name: [values.get(name) for values in settings]
        for name in (there[0] if there else ())
        if any(values[name] != there[0][name] for values in there)
    }


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return every setting by its name, `model.cell`; where it is left to the optimizer, what that makes of it."""
    values = json.loads(to_json(config))
    if config.optimizer.name != "custom":
        rates = {"learning_rate": config.optimizer.peak_learning_rate, "weight_decay": config.optimizer.decay}
        values["optimizer"] |= rates
    parts = ("model", "optimizer")
    flat = {f"{part}.{name}": value for part in parts for name, value in values[part].items()}
    return {**{name: value for name, value in values.items() if name not in parts}, **flat}


def _other_text(runs: list["RunSummary"], different: dict[str, list[Any]]) -> list[str]:
    """Return why the runs' losses are not of the same text."""
    hashes = {run.corpus["sha256"] for run in runs if run.corpus}
    return (["text"] if len(hashes) > 1 else []) + [name for name in _SAME_TEXT if name in different]


def _lines(runs: list["RunSummary"], different: dict[str, list[Any]]) -> list[str]:
    settings = [[name, *map(_shown, values)] for name, values in different.items()]
    title = ["", *(str(run.path) for run in runs)]
    results = [
        ["state", *(run.state for run in runs)],
        ["steps done", *(f"{run.step:,}" for run in runs)],
        ["training time", *(str(datetime.timedelta(seconds=round(run.seconds))) for run in runs)],
        ["parameters", *(f"{run.parameters:,}" if run.parameters else "-" for run in runs)],
        ["text (sha256)", *(run.corpus["sha256"][:12] if run.corpus else "-" for run in runs)],
        ["train loss, last", *(_last(run.train) for run in runs)],
        ["train loss, best", *(_best(run.train) for run in runs)],
        ["validation loss, last", *(_last(run.validation) for run in runs)],
        ["validation loss, best", *(_best(run.validation) for run in runs)],
    ]
    head, *lines = table([title, *settings, *results])
    middle = [] if settings else ["the settings are the same"]
    lines = [*lines[: len(settings)], *middle, "", *lines[len(settings) :], "losses are in nats per character"]
    lines.insert(0, styled(head, BOLD, sys.stdout))
    if why := _other_text(runs, different):
        lines.append(f"they are not of the same text: {', '.join(why)} differ{'s' if len(why) == 1 else ''}")
    return [*lines, *problem_lines(runs)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, str) and not (value and value.isprintable()):
        return repr(value)
    return "-" if value is None else str(value)


def _last(losses: "Losses | None") -> str:
    return f"{losses.last:.4f}" if losses else "-"


def _best(losses: "Losses | None") -> str:
    return f"{losses.best:.4f} at {losses.best_step:,}" if losses else "-"

"""`jaxrnn runs`: which runs there are, and how far they have come."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxrnn.cli.output import BOLD, GREEN, RED, YELLOW, print_result, styled, table
from jaxrnn.config import TrainConfig, to_json

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import Losses, RunSummary

_STYLES = {"running": GREEN, "damaged": RED, "stopped": YELLOW, "finished": ""}


@dataclasses.dataclass(frozen=True)
class Runs:
    """List runs: how far they are, their model, their losses (nats per character), and what is wrong with which."""

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where to look for run directories, and in the folders below it."""
    sort: Literal["recent", "best", "name"] = "recent"
    """recent: the one that wrote last comes first. best: the lowest loss does, of validation where there is one."""
    json: bool = False
    """Print one line of JSON: a list."""

    def run(self) -> int:
        """Print the list, and return the exit code."""
        from jaxrnn.runs.catalog import find_runs, summarize_run

        default = Runs().directory
        found = find_runs(self.directory) if self.directory != default or default.is_dir() else []
        runs = sorted(map(summarize_run, found), key=_KEYS[self.sort])
        if not runs:
            print(f"no runs in {self.directory}; `jaxrnn train` makes one", file=sys.stderr)
        if runs or self.json:
            print_result(self.json, [as_json(run) for run in runs], "\n".join(_lines(runs)))
        return 0


_KEYS: dict[str, Any] = {
    "recent": lambda run: -run.changed,
    "best": lambda run: min((losses.best for losses in (run.validation or run.train,) if losses), default=math.inf),
    "name": lambda run: run.path,
}


def _lines(runs: list["RunSummary"]) -> list[str]:
    title = ("run", "state", "step", "model", "train", "best", "validation", "best", "corpus")
    first, *lines = table([title, *map(_row, runs)], right=(2, 4, 5, 6, 7))
    state = first.index("state")
    return [
        styled(first, BOLD, sys.stdout),
        *(
            line[:state] + styled(run.state, _STYLES[run.state], sys.stdout) + line[state + len(run.state) :]
            for run, line in zip(runs, lines, strict=True)
        ),
        *problem_lines(runs),
    ]


def problem_lines(runs: list["RunSummary"]) -> list[str]:
    """Return a line for each run of which something can't be read."""
    return [styled(f"damaged: {run.path}: {run.problem}", RED, sys.stdout) for run in runs if run.problem]


def _row(run: "RunSummary") -> tuple[str, ...]:
    step = f"{run.step:,}"
    if run.config and run.step < run.config.steps:
        step += f" of {run.config.steps:,}"
    losses = [number for part in (run.train, run.validation) for number in loss_cells(part)]
    corpus = Path(run.config.corpus).stem if run.config else "-"
    return (str(run.path), run.state, step, model_name(run.config), *losses, corpus)


def loss_cells(losses: "Losses | None") -> tuple[str, str]:
    """Return the last and the best loss."""
    return (f"{losses.last:.4f}", f"{losses.best:.4f}") if losses else ("-", "-")


def model_name(config: TrainConfig | None) -> str:
    """Return a model in short."""
    if config is None:
        return "-"
    return f"{config.model.cell} {config.model.num_layers} x {config.model.hidden_size}"


def as_json(run: "RunSummary") -> dict[str, Any]:
    """Return what a program wants to know of a run."""
    losses = {name: part and part._asdict() for name, part in (("train", run.train), ("validation", run.validation))}
    config = json.loads(to_json(run.config)) if run.config else None
    return {**run._asdict(), "path": str(run.path), **losses, "config": config}

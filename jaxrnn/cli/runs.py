"""`jaxrnn runs`: which runs there are, and how far they have come."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxrnn.cli.checkpoint_flags import JsonFlag
from jaxrnn.cli.output import BOLD, GREEN, RED, YELLOW, print_result, styled, table

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import RunSummary

_STYLES = {"running": GREEN, "damaged": RED, "stopped": YELLOW, "finished": ""}


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
            print_result(self.json, runs, "\n".join(_lines(runs)))


_KEYS: dict[str, Any] = {
    "recent": lambda run: -run.changed,
    "best": lambda run: min((losses.best for losses in (run.validation or run.train,) if losses), default=math.inf),
    "name": lambda run: run.path,
}


def _lines(runs: list["RunSummary"]) -> list[str]:
    title = ("run", "state", "step", "model", "train", "best", "valid", "best", "corpus")
    head, *lines = table([title, *map(_row, runs)], right=(2, 4, 5, 6, 7))
    start = head.index("state")
    for index, (run, line) in enumerate(zip(runs, lines, strict=True)):
        end = start + len(run.state)
        lines[index] = line[:start] + styled(run.state, _STYLES[run.state], sys.stdout) + line[end:]
    return [styled(head, BOLD, sys.stdout), *lines, *problem_lines(runs)]


def problem_lines(runs: list["RunSummary"]) -> list[str]:
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

"""`jaxrnn plot`: a figure of one or several runs."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.cli.output import print_result
from jaxrnn.errors import JaxrnnError


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the loss of runs, or what goes on in a network while it reads a text."""

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories; for every kind but loss a single one, or a checkpoint file."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The figure to write, .png or .svg."""
    kind: Literal["loss", "units", "probabilities", "gates"] = "loss"
    """loss: curves. units: hidden units over a text. probabilities: the likeliest next characters over a text. gates:
    how often they are saturated."""
    text: str | None = None
    """The text that the network reads; without one, it reads what it writes."""
    unit: Literal["bits", "nats"] = "bits"
    """Of the loss, per character."""
    smoothing: float | None = None
    """Weight of what came before in an exponential mean of the loss, line by line; None: the run's own smooth loss."""
    layer: int = -1
    """Layer whose units are drawn, from 0 at the input; -1: the top one."""
    units: tuple[int, ...] = ()
    """Units to draw, from 0; without any, eight that move most and yet stay longest."""
    columns: int = 80
    """Characters in a line of the figure."""
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""
    json: bool = False
    """Print one line of JSON."""

    def run(self) -> int:
        """Draw it, say where, and return the exit code."""
        from jaxrnn import plots

        plots.check_plot_file(self.out, "--out")
        if not self.run_dirs:
            raise JaxrnnError("jaxrnn plot needs a RUN, the directory that `jaxrnn train` left")
        if self.kind == "loss":
            figure = plots.loss_curves(*self.run_dirs, unit=self.unit, smoothing=self.smoothing)
        else:
            if len(self.run_dirs) > 1:
                raise JaxrnnError(f"--kind {self.kind} draws a single run, got {len(self.run_dirs)}; give one")
            checkpoint = open_checkpoint(self.run_dirs[0], self.from_, self.cell)
            if self.kind == "units":
                figure = plots.hidden_units(
                    checkpoint, self.text, layer=self.layer, units=self.units or None, columns=self.columns
                )
            elif self.kind == "probabilities":
                figure = plots.next_characters(checkpoint, self.text, columns=self.columns)
            else:
                figure = plots.gate_saturation(checkpoint, self.text)
        figure.savefig(self.out, dpi=150)
        values = {"plot": str(self.out), "kind": self.kind, "runs": list(map(str, self.run_dirs))}
        print_result(self.json, values, f"plot: {self.out}")
        return 0

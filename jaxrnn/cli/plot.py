"""`jaxrnn plot`: a figure of one or several runs."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxrnn.cli.checkpoint_flags import CellFlag, CheckpointFlag, JsonFlag, open_checkpoint
from jaxrnn.cli.output import print_result, save_figure
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the loss of runs, or what happens in a network while it reads a text."""

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories; for every kind but loss a single run directory or checkpoint."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """Figure to write, .png or .svg."""
    kind: Literal["loss", "units", "probabilities", "gates"] = "loss"
    """loss: curves. units, probabilities, gates: hidden units, next characters, gate saturation over a text."""
    text: str | None = None
    """Text that the network reads; by default it writes one."""
    unit: Literal["bits", "nats"] = "bits"
    """Unit of the loss per character."""
    smoothing: float | None = None
    """Decay of the exponential mean of the loss, per logged line; by default the smooth loss of the run is drawn."""
    layer: int = -1
    """Layer whose units are drawn, from 0 at the input; -1 is the top layer."""
    units: tuple[int, ...] = ()
    """Units to draw, from 0; by default eight that vary most and most slowly."""
    columns: int = 80
    """Characters per line of the figure."""
    from_: CheckpointFlag = "last"
    cell: CellFlag = None
    json: JsonFlag = False

    def run(self) -> None:
        """Draw the figure, and print its name."""
        from jaxrnn.plots import check_plot_file, loss_curves

        check_plot_file(self.out, "--out")
        if not self.run_dirs:
            raise JaxrnnError("jaxrnn plot needs a RUN, the directory that `jaxrnn train` left")
        if self.kind == "loss":
            figure = loss_curves(*self.run_dirs, unit=self.unit, smoothing=self.smoothing)
        else:
            figure = self._over_text()
        save_figure(figure, self.out)
        print_result(self.json, {"plot": self.out, "kind": self.kind, "runs": self.run_dirs}, f"plot: {self.out}")

    def _over_text(self) -> "Figure":
        from jaxrnn import plots

        if len(self.run_dirs) > 1:
            raise JaxrnnError(f"--kind {self.kind} draws a single run, got {len(self.run_dirs)}; give one")
        observed = plots.observe(open_checkpoint(self.run_dirs[0], self.from_, self.cell), self.text)
        if self.kind == "probabilities":
            return plots.next_characters(observed.probabilities, observed.text, observed.symbols, columns=self.columns)
        if self.kind == "gates":
            return plots.gate_saturation(observed.layers)
        if not -len(observed.layers) <= self.layer < len(observed.layers):
            raise JaxrnnError(f"there is no layer {self.layer}; the network has {len(observed.layers)}, counted from 0")
        values = observed.layers[self.layer]["h"]
        return plots.hidden_units(values, observed.text, units=self.units or None, columns=self.columns)

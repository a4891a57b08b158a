"""`jaxrnn plot` and `jaxrnn page`: figures of runs, and a trained network as one HTML file."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import jaxrnn
from jaxrnn.cli.arguments import CellFlag, CheckpointFlag, JsonFlag, RunArgument, choose_checkpoint
from jaxrnn.cli.output import print_result, save_figure
from jaxrnn.config.atomic import check_writable, commit
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_OVER_TEXT = ("units", "probabilities", "gates")
_KINDS = {  # which kinds of figure a flag is for
    **dict.fromkeys(("unit", "smoothing"), ("loss",)),
    **dict.fromkeys(("text", "from_", "cell"), _OVER_TEXT),
    **dict.fromkeys(("layer", "units"), ("units",)),
    "columns": ("units", "probabilities"),
}


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
    """Decay of the exponential mean of the loss, per logged line; by default the running mean of the run is drawn."""
    layer: int = -1
    """Layer whose units are drawn, from 0 at the input; -1 is the top layer."""
    units: tuple[int, ...] = ()
    """Units to draw, from 0; by default the eight that vary most and change most slowly."""
    columns: int = 80
    """Characters per line of the figure."""
    from_: CheckpointFlag = None
    cell: CellFlag = None
    json: JsonFlag = False

    def run(self) -> None:
        """Draw the figure, and print its name."""
        jaxrnn.plots.check_plot_file(self.out, "--out")
        if not self.run_dirs:
            raise JaxrnnError("jaxrnn plot needs a RUN, the directory that `jaxrnn train` left")
        for flag, kinds in _KINDS.items():
            if getattr(self, flag) != getattr(Plot, flag) and self.kind not in kinds:
                name = flag.removesuffix("_")
                raise JaxrnnError(f"--{name} is for --kind {' and '.join(kinds)}, not for {self.kind}; leave it out")
        values: dict[str, Any] = {"plot": self.out, "kind": self.kind, "runs": self.run_dirs}
        if self.kind == "loss":
            figure = jaxrnn.plots.loss_curves(*self.run_dirs, unit=self.unit, smoothing=self.smoothing)
        else:
            if len(self.run_dirs) > 1:
                raise JaxrnnError(f"--kind {self.kind} draws a single run, got {len(self.run_dirs)}; give one")
            checkpoint = choose_checkpoint(self.run_dirs[0], self.from_, self.cell, quiet=self.json)
            figure = self._over_text(checkpoint)
            values["checkpoint"] = checkpoint.file
        print_result(self.json, values, save_figure(figure, self.out))

    def _over_text(self, checkpoint: "jaxrnn.Checkpoint") -> "Figure":
        plots = jaxrnn.plots
        text, symbols, layers, probabilities = plots.observe(checkpoint, self.text)
        if self.kind == "probabilities":
            return plots.next_characters(probabilities, text, symbols, columns=self.columns)
        if self.kind == "gates":
            return plots.gate_saturation(layers)
        if not -len(layers) <= self.layer < len(layers):
            raise JaxrnnError(f"there is no layer {self.layer}; the network has {len(layers)}, counted from 0")
        return plots.hidden_units(layers[self.layer]["h"], text, units=self.units or None, columns=self.columns)


@dataclasses.dataclass(frozen=True)
class Page:
    """Make one HTML file of a trained network that works offline: type a text, watch the units, let it write."""

    run_dir: RunArgument
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.html")] = Path("model.html")
    """File to write; an existing one is replaced."""
    text: str | None = None
    """Text that the page opens with; by default the network writes it."""
    half: bool = False
    """Store the weights as float16: half the size, and no longer exact."""
    from_: CheckpointFlag = None
    cell: CellFlag = None
    json: JsonFlag = False

    def run(self) -> None:
        """Write the file, and print its name."""
        if self.out.suffix.lower() not in (".html", ".htm"):  # it could be a text or a checkpoint, which is replaced
            raise JaxrnnError(f"--out writes a page, whose name ends in .html, got {self.out}; choose such a name")
        check_writable(self.out)
        replaced = ", replaced" * self.out.exists()
        checkpoint = choose_checkpoint(self.run_dir, self.from_, self.cell, quiet=self.json)
        metrics = jaxrnn.runs.read_metrics(self.run_dir) if jaxrnn.runs.has_metrics(self.run_dir) else None
        content = jaxrnn.page.page(checkpoint, metrics, text=self.text, half=self.half).encode()
        commit(self.out, content)
        values = {"page": self.out, "bytes": len(content), "step": checkpoint.counters["step"]}
        values["checkpoint"] = checkpoint.file
        print_result(self.json, values, f"page: {self.out} ({len(content) / 1000:,.0f} kB{replaced})")

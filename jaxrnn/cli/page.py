"""`jaxrnn page`: a trained network as one HTML file."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.cli.output import print_result
from jaxrnn.errors import JaxrnnError


@dataclasses.dataclass(frozen=True)
class Page:
    """Make one HTML file of a trained network: to type in, to watch its units, to let it write. It needs no network."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("model.html")
    """The file to write; one that is there is replaced."""
    text: str | None = None
    """The text that the page opens with; without one, the network writes it."""
    half: bool = False
    """Keep the weights as float16: half as large, and no longer exact."""
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""
    json: bool = False
    """Print one line of JSON."""

    def run(self) -> int:
        """Write the file, say so, and return the exit code."""
        if self.out.is_dir() or not self.out.absolute().parent.is_dir():
            raise JaxrnnError(f"--out can't write to {self.out}; give a file in a directory that exists")
        checkpoint = open_checkpoint(self.run_dir, self.from_)
        from jaxrnn.page import page
        from jaxrnn.runs import read_metrics

        metrics = read_metrics(self.run_dir) if (self.run_dir / "metrics.jsonl").exists() else None
        content = page(checkpoint, metrics, text=self.text, half=self.half).encode()
        self.out.write_bytes(content)
        values = {"page": str(self.out), "bytes": len(content), "step": checkpoint.counters["step"]}
        print_result(self.json, values, f"page: {self.out} ({len(content) / 1000:,.0f} kB)")
        return 0

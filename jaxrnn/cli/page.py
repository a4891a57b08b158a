"""`jaxrnn page`: a trained network as one HTML file."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrnn.atomic import commit
from jaxrnn.cli.checkpoint_flags import CheckpointFlag, JsonFlag, RunArgument, open_checkpoint
from jaxrnn.cli.output import print_result
from jaxrnn.errors import JaxrnnError


@dataclasses.dataclass(frozen=True)
class Page:
    """Make one HTML file of a trained network that works offline: type a text, watch the units, let it write."""

    run_dir: RunArgument
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("model.html")
    """File to write; an existing one is replaced."""
    text: str | None = None
    """Text that the page opens with; by default the network writes it."""
    half: bool = False
    """Store the weights as float16: half the size, and no longer exact."""
    from_: CheckpointFlag = "last"
    json: JsonFlag = False

    def run(self) -> None:
        """Write the file, and print its name."""
        if self.out.is_dir() or not self.out.absolute().parent.is_dir():
            raise JaxrnnError(f"--out can't write to {self.out}; give a file in a directory that exists")
        checkpoint = open_checkpoint(self.run_dir, self.from_)
        from jaxrnn.page import page
        from jaxrnn.runs import read_metrics

        metrics = read_metrics(self.run_dir) if (self.run_dir / "metrics.jsonl").exists() else None
        content = page(checkpoint, metrics, text=self.text, half=self.half).encode()
        commit(self.out, content)
        values = {"page": self.out, "bytes": len(content), "step": checkpoint.counters["step"]}
        print_result(self.json, values, f"page: {self.out} ({len(content) / 1000:,.0f} kB)")

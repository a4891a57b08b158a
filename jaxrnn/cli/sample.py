"""`jaxrnn sample`: write text with a trained network."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrnn.cli.cell_file import load_cell
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.config import SampleConfig


@dataclasses.dataclass(frozen=True)
class Sample(SampleConfig):
    """Write text with a trained network, as it is drawn."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")] = dataclasses.field(kw_only=True)
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""

    def run(self) -> int:
        """Print the prompt and what the network writes after it; return the exit code."""
        from jaxrnn.checkpoint import load_checkpoint, load_config

        set_up_jax(load_config(self.run_dir).model.dtype)
        from jaxrnn.writing import write

        checkpoint = load_checkpoint(self.run_dir, load_cell(self.cell) if self.cell else None)
        for piece in write(checkpoint.state.params, checkpoint.vocabulary, checkpoint.config.model, self):
            print(piece, end="", flush=True)
        print()
        return 0

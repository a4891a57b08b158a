"""`jaxrnn sample`: write text with a trained network."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.config import SampleConfig


@dataclasses.dataclass(frozen=True)
class Sample(SampleConfig):
    """Write text with a trained network, as it is drawn."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")] = dataclasses.field(kw_only=True)
    """The run directory that `jaxrnn train` left, or a checkpoint file."""

    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""

    def run(self) -> int:
        """Print the prompt and what the network writes after it; return the exit code."""
        from jaxrnn.checkpoint import find_checkpoint, load_checkpoint, load_config

        path = find_checkpoint(self.run_dir, self.from_)
        set_up_jax(load_config(path).model.dtype)
        from jaxrnn.writing import write

        checkpoint = load_checkpoint(path)
        params, vocabulary, config = checkpoint.state.params, checkpoint.vocabulary, checkpoint.config
        for piece in write(params, vocabulary, config.model, self, reset_on=config.reset_on):
            print(piece, end="", flush=True)
        print()
        return 0

"""The arguments that several commands share: a run, one of its checkpoints, its cell; and how they are opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxrnn.cli.device_flags import DeviceFlags
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.python_file import load_cell
from jaxrnn.config import Cell, TrainConfig
from jaxrnn.runs.checkpoint_files import find_checkpoint

if TYPE_CHECKING:
    from jaxrnn.runs.checkpoint import Checkpoint

RunArgument = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="Run directory or checkpoint.")]
_FROM = "Checkpoint of RUN: best (lowest validation loss), last (newest), or a step."
CheckpointFlag = Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP", help=_FROM)]
_CELL = "User-defined cell of RUN: NAME in that Python file, which is executed."
CellFlag = Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME", help=_CELL)]
JsonFlag = Annotated[bool, tyro.conf.arg(help="Print one line of JSON and nothing else.")]


def open_checkpoint(
    run_dir: Path, which: str = "last", cell: str | None = None, device: DeviceFlags | None = None
) -> "Checkpoint":
    """Return the checkpoint that these flags name, with JAX set up for its type; without a device, JAX chooses one."""
    from jaxrnn.runs.checkpoint import read_checkpoint

    def prepare(config: TrainConfig) -> Cell | None:
        set_up_jax(config.model.dtype)
        if device:
            device.set_up()
        return load_cell(cell) if cell else None

    return read_checkpoint(find_checkpoint(run_dir, which), prepare)

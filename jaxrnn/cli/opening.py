"""Open what a command is given: the checkpoint of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxrnn.cli.cell_file import load_cell
from jaxrnn.cli.device_flags import DeviceFlags
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.config import CellLike, TrainConfig
from jaxrnn.runs.checkpoint_files import find_checkpoint

if TYPE_CHECKING:
    from jaxrnn.runs.checkpoint import Checkpoint


def open_checkpoint(
    run_dir: Path, which: str = "last", cell: str | None = None, device: DeviceFlags | None = None
) -> "Checkpoint":
    """Return a checkpoint of a run, with JAX set up for its type.

    Args:
        run_dir: the run directory, or a checkpoint file.
        which: "last", "best" or a step.
        cell: FILE.py:NAME of the run's cell, where that is the user's own.
        device: where to compute with it; None: where JAX does so by itself.

    Raises:
        JaxrnnError: there is none, it is damaged, or the cell or the device can't be had.
    """
    from jaxrnn.runs.checkpoint import read_checkpoint

    def prepare(config: TrainConfig) -> CellLike | None:
        set_up_jax(config.model.dtype)
        if device:
            device.set_up()
        return load_cell(cell) if cell else None

    return read_checkpoint(find_checkpoint(run_dir, which), prepare)

"""Figures of runs and of what goes on in a network; matplotlib (the extra "plot") is imported when one is drawn.

Every function returns a matplotlib Figure that belongs to no window and no backend: a notebook shows it,
`figure.savefig(path)` writes it, and no global state changes.
"""

import importlib.util
import os
from pathlib import Path

from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.curves import loss_curves, sweep_curves
from jaxrnn.plots.over_text import Observed, gate_saturation, hidden_units, next_characters, observe
from jaxrnn.plots.watch import watch

__all__ = [
    "Observed",
    "check_plot_file",
    "gate_saturation",
    "hidden_units",
    "loss_curves",
    "next_characters",
    "observe",
    "sweep_curves",
    "watch",
]


def check_plot_file(path: Path, flag: str = "--plot") -> None:
    """Raise JaxrnnError if a figure can't be written to `path`; to be called before anything is computed."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise JaxrnnError(f"{flag} writes .png or .svg, got {path}; choose one of the two")
    if importlib.util.find_spec("matplotlib") is None:
        raise JaxrnnError(f"{flag} needs matplotlib, which is not installed; pip install matplotlib")
    if not path.absolute().parent.is_dir():
        raise JaxrnnError(f"{flag}: there is no directory {path.absolute().parent}; make it, or choose another")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise JaxrnnError(f"{flag} can't write to {path}; choose another file")

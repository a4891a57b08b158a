"""Figures of runs and of what goes on in a network; matplotlib (the extra "plot") is imported when one is drawn.

Every function returns a matplotlib Figure that belongs to no window and no backend: a notebook shows it,
`figure.savefig(path)` writes it, and no global state changes.
"""

from jaxrnn.plots.curves import loss_curves, sweep_curves
from jaxrnn.plots.figure import check_plot_file
from jaxrnn.plots.over_text import Observed, gate_saturation, hidden_units, next_characters, observe
from jaxrnn.plots.watch import watch

__all__ = ["Observed", "check_plot_file", "gate_saturation", "hidden_units", "loss_curves", "next_characters"]
__all__ += ["observe", "sweep_curves", "watch"]

"""A matplotlib figure that belongs to no window and no backend, and that a notebook shows."""

import io
from typing import TYPE_CHECKING

from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people tell apart however they see colours.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


def new_figure(size: tuple[float, float]) -> "Figure":
    """Return an empty figure, of a size in inches.

    Raises:
        JaxrnnError: matplotlib is not installed.
    """
    try:
        from matplotlib import figure
    except ImportError:
        raise JaxrnnError("figures need matplotlib, which is not installed; pip install matplotlib") from None

    class Figure(figure.Figure):
        def _repr_png_(self) -> bytes:  # without it a notebook shows only figures that pyplot has made
            drawn = io.BytesIO()
            self.savefig(drawn, format="png")
            return drawn.getvalue()

    return Figure(figsize=size, layout="constrained")

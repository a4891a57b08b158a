"""A matplotlib figure that belongs to no window and no backend, and that a notebook shows."""

import io
from typing import TYPE_CHECKING, Any

from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colors of Okabe and Ito, which color-blind people can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


def new_figure(size: tuple[float, float]) -> "Figure":
    """Return an empty figure of a size in inches.

    Raises:
        JaxrnnError: matplotlib is not installed.
    """
    try:
        from matplotlib import figure
    except ImportError:
        raise JaxrnnError("figures need matplotlib, which is not installed; pip install matplotlib") from None

    class Figure(figure.Figure):
        def _repr_png_(self) -> bytes:  # otherwise a notebook shows only figures that pyplot has made
            png = io.BytesIO()
            self.savefig(png, format="png")
            return png.getvalue()

    return Figure(figsize=size, layout="constrained")


def tidy(axes: Any, grid: str = "") -> None:
    """Hide the upper and right border; draw faint grid lines across the axis `grid`, "x" or "y", behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="#e8e6e1")
        axes.set_axisbelow(True)

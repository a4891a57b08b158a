"""A matplotlib figure that belongs to no window and no backend, and that a notebook shows."""

import io
from typing import TYPE_CHECKING

from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

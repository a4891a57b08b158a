"""A matplotlib figure that belongs to no window and no backend, and that a notebook shows."""

import importlib.util
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrnn.config.atomic import check_writable
from jaxrnn.errors import JaxrnnError
from jaxrnn.plots.fonts import draw_texts_as_they_are

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colors of Okabe and Ito, which color-blind people can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


def new_figure(size: tuple[float, float]) -> "Figure":
    """Return an empty figure of a size in inches; raise JaxrnnError without matplotlib."""
    try:
        from matplotlib import figure
    except ImportError:
        raise JaxrnnError("figures need matplotlib, which is not installed; pip install '.[plot]'") from None
    except ValueError as error:
        raise JaxrnnError(f"matplotlib can't start ({error}); correct or unset MPLBACKEND") from None

    class Figure(figure.Figure):
        def draw(self, renderer: Any) -> None:
            draw_texts_as_they_are(self)
            with warnings.catch_warnings():  # fonts are our business
                warnings.filterwarnings("ignore", "Glyph .* missing from|Matplotlib currently does not support")
                super().draw(renderer)

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


def check_plot_file(path: Path, flag: str = "--plot") -> None:
    """Raise JaxrnnError if a figure can't be written to `path`; to be called before anything is computed."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise JaxrnnError(f"{flag} writes .png or .svg, got {path}; choose one of the two")
    if importlib.util.find_spec("matplotlib") is None:
        raise JaxrnnError(f"{flag} needs matplotlib, which is not installed; pip install '.[plot]'")
    check_writable(path)

"""What is shown while a big text is read."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.text import Progress


@contextlib.contextmanager
def reading() -> Iterator["Progress"]:
    """Give what shows a bar on a terminal, for each thing that is done and takes longer than a second."""
    from jaxrnn.text import silent

    if not sys.stderr.isatty():
        yield silent
        return
    from tqdm import tqdm

    shown, bar = "", tqdm(disable=True)

    def show(what: str, more: int, total: int) -> None:
        nonlocal shown, bar
        if what != shown:
            bar.close()
            options: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False, "dynamic_ncols": True}
            shown, bar = what, tqdm(desc=what, total=total, delay=1, **options)
        bar.update(more)

    try:
        yield show
    finally:
        bar.close()

"""A cell of the user's own, from a Python file that they name on the command line: nothing else ever names code."""

import sys
import traceback
import types
from pathlib import Path
from typing import Any

from jaxrnn.config import CellLike
from jaxrnn.errors import JaxrnnError


def named_cell(text: str) -> Any:
    """Return what `ModelConfig.cell` takes: the name of a built-in cell as it is, or the cell of FILE.py:NAME."""
    return load_cell(text) if ":" in text else text


def load_cell(text: str) -> CellLike:
    """Run the file of FILE.py:NAME and return its NAME.

    Raises:
        JaxrnnError: it has not that form, the file can't be read or fails, or its NAME is missing or no cell.
    """
    file, _, name = text.rpartition(":")
    if not file or not name.isidentifier():
        raise JaxrnnError(f"--cell must be FILE.py:NAME, got {text!r}")
    module = types.ModuleType("jaxrnn_cell_file")
    module.__file__ = file
    sys.modules[module.__name__] = module  # where a dataclass in it looks for its names
    try:
        exec(compile(Path(file).read_bytes(), file, "exec"), module.__dict__)
    except OSError as error:
        raise JaxrnnError(f"--cell: can't read {file} ({error.strerror}); give a Python file") from None
    except Exception as error:
        lines = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if entry.filename == file]
        at = f" at line {lines[-1]}" if lines else ""
        raise JaxrnnError(f"--cell: {file} fails{at}: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        cells = [found for found, value in vars(module).items() if _is_cell(value)]
        raise JaxrnnError(f"--cell: {file} has no {name}; its cells: {', '.join(cells) or 'none'}")
    cell = getattr(module, name)
    if not _is_cell(cell):
        raise JaxrnnError(f"--cell: {name} in {file} must be a jaxrnn.Cell, got {cell!r}")
    return cell


def _is_cell(value: object) -> bool:
    return isinstance(value, CellLike) and not isinstance(value, type)

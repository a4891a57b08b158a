"""User-defined cells and optimizers: objects in a Python file that a flag names as FILE.py:NAME.

Nothing but such a flag ever names code to run. What can't be loaded raises JaxrnnError.
"""

import contextlib
import os
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from jaxrnn.config import Cell, CellName, OptimizerName
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    import optax


def cell_of(text: str) -> Any:
    """Return what `ModelConfig.cell` takes: the name of a built-in cell as it is, or the cell of FILE.py:NAME."""
    return text if _is_name("--cell", text, get_args(CellName)) else load_cell(text)


def load_cell(text: str) -> Cell:
    """Run the file of FILE.py:NAME and return its NAME, a cell."""
    cell: Cell = _load("--cell", text, Cell, "a jaxrnn.Cell")
    return cell


def optimizer_of(text: str) -> "tuple[str, optax.GradientTransformation | None]":
    """Return `OptimizerConfig.name` and the user-defined optimizer: "adam" and None, or "custom" and FILE's NAME."""
    if _is_name("--optimizer", text, get_args(OptimizerName)):
        return text, None
    import optax

    return "custom", _load("--optimizer", text, optax.GradientTransformation, "an optax.GradientTransformation")


def _is_name(flag: str, text: str, names: tuple[str, ...]) -> bool:
    """Return whether a text is one of these names and not FILE.py:NAME."""
    if ":" not in text and text not in names:
        raise JaxrnnError(f"{flag} must be {', '.join(names)} or FILE.py:NAME, got {text!r}")
    return ":" not in text


def _load(flag: str, text: str, kind: type, described: str) -> Any:
    file, _, name = os.path.expanduser(text).rpartition(":")  # noqa: PTH111  # it can't fail
    if not file or not name.isidentifier():
        raise JaxrnnError(f"{flag} must be FILE.py:NAME, got {text!r}")
    module = types.ModuleType(f"jaxrnn_{flag.removeprefix('--')}_file")
    module.__file__ = file
    sys.modules[module.__name__] = module  # a dataclass looks up its annotations there
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout has the command's own result
            exec(compile(Path(file).read_bytes(), file, "exec"), module.__dict__)
    except OSError as error:
        raise JaxrnnError(f"{flag}: can't read {file} ({error.strerror}); give a Python file") from None
    except (Exception, SystemExit) as error:
        lines = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if entry.filename == file]
        at = f" at line {lines[-1]}" if lines else ""
        raise JaxrnnError(f"{flag}: {file} fails{at}: {type(error).__name__}: {error}") from error
    objects = vars(module)
    suitable = [other for other, value in objects.items() if isinstance(value, kind) and not isinstance(value, type)]
    if name not in objects:
        raise JaxrnnError(f"{flag}: {file} has no {name}; give one of: {', '.join(suitable) or 'none'}")
    if name not in suitable:
        raise JaxrnnError(f"{flag}: {name} in {file} must be {described}, got {objects[name]!r}")
    return objects[name]

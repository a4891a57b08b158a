"""The fields of configurations and other records: checks of types, by annotation, and of ranges; and short reprs.

Each check raises JaxrnnError for the first field that is wrong, with what was expected and what was given.
"""

import math
import numbers
import sys
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxrnn.config.cell import Cell
from jaxrnn.errors import JaxrnnError

_FLOATS = tuple[float, ...]
_TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    _FLOATS: "a list of numbers",
    bool: "True or False",
    str: "a string",
    types.NoneType: "None",
    Cell: "a jaxrnn.Cell",
}


def check_types(config: Any) -> None:
    """Check each field against its annotation; convert NumPy's numbers to Python's, and lists of numbers to tuples."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        option = next((option for option in options if _matches(value, option)), None)
        if option is None:
            expected = " or ".join(map(_describe, options))
            raise JaxrnnError(f"{name} must be {expected}, got {value!r}")
        if option in (int, float, _FLOATS) and not is_traced(value):
            try:
                object.__setattr__(config, name, tuple(map(float, value)) if option == _FLOATS else option(value))
            except OverflowError:
                raise JaxrnnError(f"{name} must be {_describe(option)} that a float can hold") from None


def _matches(value: Any, option: Any) -> bool:
    if get_origin(option) is Literal:
        return value in get_args(option)
    if option == _FLOATS:
        return isinstance(value, tuple | list) and all(_matches(item, float) for item in value)
    if option is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if option is float:
        return (isinstance(value, numbers.Real) and not isinstance(value, bool)) or is_traced(value)
    return isinstance(value, option)


def _describe(option: Any) -> str:
    if get_origin(option) is Literal:
        return " or ".join(map(repr, get_args(option)))
    return _TYPE_NAMES.get(option) or f"a {option.__name__}"


def is_traced(value: object) -> bool:
    """Return whether a value is a JAX tracer, which no check can compare."""
    jax = sys.modules.get("jax")  # a program that has not imported JAX has no tracers
    return jax is not None and isinstance(value, jax.core.Tracer)


def check_in(config: Any, interval: str, *names: str) -> None:
    """Check that fields are None or numbers in an interval such as "[0, 1)"."""
    low, high = interval[1:-1].split(", ")
    for name in names:
        value = getattr(config, name)
        if value is None or is_traced(value):
            continue
        above = value >= float(low) if interval[0] == "[" else value > float(low)
        below = value <= float(high) if interval[-1] == "]" else value < float(high)
        if not (above and below):
            expected = "a finite number above 0" if interval == "(0, inf)" else f"in {interval}"
            if interval[0] == "[" and not above:
                expected = f"at least {low}"
            elif interval[-1] == "]" and not below:
                expected = f"at most {high}"
            raise JaxrnnError(f"{name} must be {expected}, got {value}")


def check_split(fractions: tuple[float, ...]) -> None:
    """Check the fractions of a text's slices."""
    given = ",".join(map(str, fractions)) or "none"
    if not 1 <= len(fractions) <= 3 or not all(fraction > 0 for fraction in fractions):
        raise JaxrnnError(f"split must be one to three fractions above 0, got {given}; try 0.9,0.1")
    if not abs(math.fsum(fractions) - 1) <= 1e-9:
        raise JaxrnnError(f"split must be fractions that add up to 1, got {given}; try 0.9,0.1")


def check_cell_fields(cell: str | Cell) -> None:
    """Check the fields of a cell, unless it is a name."""
    if isinstance(cell, str):
        return
    if not (_matches(cell.gates, int) and cell.gates >= 1 and callable(cell.init_carry) and callable(cell.update)):
        raise JaxrnnError(f"cell must be a jaxrnn.Cell: a number of gates and two functions, got {cell!r}")
    if len(cell.init_bias) not in (0, cell.gates):
        raise JaxrnnError(
            f"cell must be one with 0 or {cell.gates} values of init_bias, one per gate, got {cell.init_bias}"
        )
    try:
        hash(cell)
    except TypeError as error:
        raise JaxrnnError(f"cell must be hashable, as an argument of compilation, got {cell!r} ({error})") from None


def describe(value: object) -> str:
    """Describe arrays, and tuples of them, by type and shape: float32[2, 8], (float32[2, 8], float32[2, 8])."""
    if type(value) is tuple:
        return f"({', '.join(map(describe, value))}{',' * (len(value) == 1)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)


def of_fields(kind: object, **fields: object) -> str:
    """Return Kind(name=value, ...): arrays by shape, scalars by value, and nothing for None."""
    parts = ", ".join(f"{name}={_field(value)}" for name, value in fields.items() if value is not None)
    return f"{type(kind).__name__}({parts})"


def of_config(config: Any, *always: str) -> str:
    """Return Config(name=value, ...): the fields named in `always`, and those that are not at their defaults."""
    defaults = vars(type(config)())
    parts = [f"{name}={value!r}" for name, value in vars(config).items() if name in always or value != defaults[name]]
    return f"{type(config).__name__}({', '.join(parts)})"


def _field(value: Any) -> str:
    if getattr(value, "shape", None) == ():
        try:
            value = value.item()
        except (AttributeError, TypeError, RuntimeError):  # a ShapeDtypeStruct, a tracer, a donated array
            return describe(value)
    return f"{value:.6g}" if isinstance(value, float) else describe(value)

"""Checks of a configuration's fields: their types, by annotation, and their ranges.

Each raises JaxrnnError for the first field that is wrong, with what was expected and what was got.
"""

import math
import numbers
import sys
import types
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxrnn.errors import JaxrnnError


def check_types(config: Any, words: Mapping[Any, str] = MappingProxyType({})) -> None:
    """Check every field against its annotation, turning NumPy's numbers into Python's; lists of numbers become tuples.

    Args:
        config: the configuration; what is turned is put back into it.
        words: what messages call the types that are not Python's own.
    """
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if hint == tuple[float, ...]:
            object.__setattr__(config, name, _floats(name, value))
            continue
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        for option in options:
            if _matches(value, option):
                if option in (int, float) and not is_traced(value):
                    try:
                        object.__setattr__(config, name, option(value))
                    except OverflowError:
                        raise JaxrnnError(f"{name} must be a number that a float can hold") from None
                break
        else:
            expected = " or ".join(words.get(option) or _describe(option) for option in options)
            raise JaxrnnError(f"{name} must be {expected}, got {value!r}")


def _floats(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (tuple, list)) or not all(_matches(item, float) for item in value):
        raise JaxrnnError(f"{name} must be a list of numbers, got {value!r}")
    try:
        return tuple(map(float, value))
    except OverflowError:
        raise JaxrnnError(f"{name} must be numbers that a float can hold") from None


def check_cell(cell: Any) -> None:
    """Check a cell: the name of one, or what has the parts of a `jaxrnn.Cell`."""
    if isinstance(cell, str):
        return
    if not (_matches(cell.gates, int) and cell.gates >= 1 and callable(cell.init_carry) and callable(cell.update)):
        raise JaxrnnError(f"cell must be a jaxrnn.Cell: a number of gates and two functions, got {cell!r}")
    if len(init_bias := getattr(cell, "init_bias", ())) not in (0, cell.gates):
        raise JaxrnnError(f"cell must be one with an init_bias a gate ({cell.gates}) or none, got {init_bias}")
    try:
        hash(cell)
    except TypeError as error:
        raise JaxrnnError(f"cell must be hashable, as what a program is compiled for, got {cell!r} ({error})") from None


def is_traced(value: object) -> bool:
    """Return whether a value is one of JAX's that only the program knows that is being traced; no check can see it."""
    jax = sys.modules.get("jax")  # without it there are none
    return jax is not None and isinstance(value, jax.core.Tracer)


def _matches(value: Any, option: Any) -> bool:
    if get_origin(option) is Literal:
        return value in get_args(option)
    if option is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if option is float:
        return (isinstance(value, numbers.Real) and not isinstance(value, bool)) or is_traced(value)
    return isinstance(value, option)


def _describe(option: Any) -> str:
    if get_origin(option) is Literal:
        return " or ".join(map(repr, get_args(option)))
    words = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a string",
        type(None): "None",
    }
    return words.get(option) or f"a {option.__name__}"


def check_at_least(config: Any, least: int, *names: str) -> None:
    """Check that these fields are numbers from `least` on."""
    for name in names:
        if getattr(config, name) < least:
            raise JaxrnnError(f"{name} must be at least {least}, got {getattr(config, name)}")


def check_at_most(config: Any, most: int, *names: str) -> None:
    """Check that these fields are numbers up to `most`."""
    for name in names:
        if getattr(config, name) > most:
            raise JaxrnnError(f"{name} must be at most {most}, got {getattr(config, name)}")


def check_split(fractions: tuple[float, ...]) -> None:
    """Check the fractions of a text's slices."""
    if not 1 <= len(fractions) <= 3 or not all(fraction > 0 for fraction in fractions):
        raise JaxrnnError(f"split must be one to three fractions above 0, got {_listed(fractions)}; try 0.9,0.1")
    if not abs(math.fsum(fractions) - 1) <= 1e-9:
        raise JaxrnnError(f"split must be fractions that add up to 1, got {_listed(fractions)}; try 0.9,0.1")


def _listed(fractions: tuple[float, ...]) -> str:
    return ",".join(map(str, fractions)) or "none"


def check_positive(config: Any, *names: str) -> None:
    """Check that these fields are finite and above 0, or None."""
    for name in names:
        value = getattr(config, name)
        if not (value is None or is_traced(value) or (math.isfinite(value) and value > 0)):
            raise JaxrnnError(f"{name} must be a finite number above 0, got {value}")


def check_in(config: Any, interval: str, *names: str) -> None:
    """Check that these fields are in an interval such as "[0, 1)", or None."""
    low, high = map(float, interval[1:-1].split(","))
    for name in names:
        value = getattr(config, name)
        if value is None or is_traced(value):
            continue
        above = value > low or (value == low and interval[0] == "[")
        below = value < high or (value == high and interval[-1] == "]")
        if not (above and below):
            raise JaxrnnError(f"{name} must be in {interval}, got {value}")

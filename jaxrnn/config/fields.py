"""Checks of configuration fields and of arguments, by annotation: types and ranges; and short reprs of records.

Each check raises JaxrnnError for the first field that is wrong, with what was expected and what was given.
"""

import collections.abc
import contextlib
import dataclasses
import difflib
import functools
import numbers
import reprlib
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jaxrnn.config.cell import Cell
from jaxrnn.errors import JaxrnnError

Kind = TypeVar("Kind")
_TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    tuple[float, ...]: "a list of numbers",
    tuple[str | Path, ...]: "a list of them",
    bool: "True or False",
    str: "a string",
    bytes: "bytes",
    Path: "a path",
    collections.abc.Mapping: "a dict",
    collections.abc.Iterable: "several of them",
    collections.abc.Callable: "a function",
    types.NoneType: "None",
    Cell: "a jaxrnn.Cell",
}


class Checked:
    """Base class of frozen dataclasses whose fields are checked: types, and intervals such as Annotated[int, "[1, 9]"].

    NumPy's numbers become Python's, and lists of numbers become tuples.
    """

    _shown: ClassVar[tuple[str, ...]] = ()  # in every repr

    if not TYPE_CHECKING:  # a type checker takes the fields from the dataclass

        def __new__(cls, /, *_: Any, **values: Any) -> Any:
            """Refuse values of unknown fields, with a hint."""
            for name in values:
                if name not in cls.__dataclass_fields__:
                    raise JaxrnnError(_unknown_field(cls, name, values))
            return super().__new__(cls)

    def __post_init__(self) -> None:
        """Check all fields."""
        for name, (kind, intervals) in _kinds(type(self)).items():  # type: ignore[arg-type]  # of hashing a class
            value = getattr(self, name)
            for option in _options(kind):
                with contextlib.suppress(TypeError, OverflowError):
                    object.__setattr__(self, name, _converted(value, option))
                    break
            else:
                raise JaxrnnError(f"{name} must be {_describe(kind)}, got {value!r}")
            for interval in intervals:
                check_in(getattr(self, name), interval, name)
        self._check()

    def _check(self) -> None:
        """Check what is special to this class."""

    def __repr__(self) -> str:
        """Leave out most fields that have their default values."""
        defaults = vars(type(self)())
        shown = {name: value for name, value in vars(self).items() if name in self._shown or value != defaults[name]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@functools.cache
def _kinds(config: type[Checked]) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Return the type and the intervals of each field."""
    kinds = _annotations(config)
    return {field.name: kinds[field.name] for field in dataclasses.fields(config)}  # type: ignore[arg-type]


def _annotations(annotated: Any) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Return the type and the intervals of each field or argument that is annotated."""
    kinds = get_type_hints(annotated, include_extras=True)  # Annotated has its type as __origin__
    return {
        name: (kind.__origin__, kind.__metadata__) if hasattr(kind, "__metadata__") else (kind, ())
        for name, kind in kinds.items()
    }


def _unknown_field(kind: type[Checked], name: str, values: dict[str, Any]) -> str:
    """Return the message for a field that a class lacks: the class that it belongs to, or what may be meant."""
    own, *others = fields = [
        (owner, {field.name: field.type for field in dataclasses.fields(owner)})  # type: ignore[arg-type]
        for owner in (kind, *Checked.__subclasses__())
    ]
    for owner, names in others:
        if name in names:
            given = {field: reprlib.repr(value) for field, value in values.items() if field in names.keys() - own[1]}
            call = f"{owner.__name__}({', '.join(map('='.join, given.items()))})"
            part = next((field for field, type_ in own[1].items() if type_ is owner), None)
            call = f"{kind.__name__}({part}={call})" if part else call
            return f"{' and '.join(given)} belong{'s' * (len(given) == 1)} to {owner.__name__}: {call}"
    for owner, names in fields:
        if near := difflib.get_close_matches(name, names, n=1):
            of_owner = "" if owner is kind else f" of {owner.__name__}"
            return f"{kind.__name__} has no field {name!r}; did you mean {near[0]}{of_owner}?"
    return f"{kind.__name__} has no field {name!r}; its fields are {', '.join(own[1])}"


def _converted(value: Any, kind: Any) -> Any:
    """Return a value converted to a type of Python's; raise TypeError or OverflowError if it is not of that type."""
    if get_origin(kind) is tuple and isinstance(value, tuple | list):
        return tuple(_converted(item, get_args(kind)[0]) for item in value)
    if kind is float and is_traced(value):
        return value
    if kind in (int, float):
        if isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool):
            return kind(value)
    elif isinstance(value, str) and value in get_args(kind) if get_origin(kind) is Literal else isinstance(value, kind):
        return value
    raise TypeError


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _describe(kind: Any) -> str:
    names = []
    for option in _options(kind):
        if get_origin(option) is Literal:  # without "custom", which only files say
            names += [repr(choice) for choice in get_args(option) if choice != "custom"]
        elif _is_array(option):
            names.append("an array")
        elif get_origin(get_args(option)[:1] and get_args(option)[0]) is Literal:
            names.append(f"a list of {_describe(get_args(option)[0])}")
        else:
            origin = get_origin(option) or option
            names.append(_TYPE_NAMES.get(option) or _TYPE_NAMES.get(origin) or _with_article(origin.__name__))
    return " or ".join(names)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a function against its annotations, as in its first line: `check_arguments(f, locals())`.

    Types and intervals are annotated as in `Checked`. An array is only checked to be one.
    """
    for name, (options, intervals) in _checkable(function).items():
        value = arguments[name]
        if not any(_is_of(value, option) for option in options):
            parts_of = [option for option in options if _is_array(option) or option.__module__.startswith("jaxrnn")]
            fields = getattr(value, "_fields", getattr(value, "__dataclass_fields__", ()))
            parts = [part for part in fields if any(_is_of(getattr(value, part), option) for option in parts_of)]
            advice = f"; give its {min(parts, key=name.__ne__)}" if parts else ""
            if isinstance(value, str | bytes) and any(map(_is_array, options)):
                advice = "; Vocabulary.encode makes one of a text"
            kinds = " or ".join(dict.fromkeys(map(_describe, options)))
            raise JaxrnnError(f"{function.__name__}: {name} must be {kinds}, got {in_short(value)}{advice}")
        for interval in intervals:
            check_in(value, interval, name)


@functools.cache
def _checkable(function: Callable[..., Any]) -> dict[str, tuple[tuple[Any, ...], tuple[str, ...]]]:
    """Return the types and the intervals of those arguments that can be checked."""
    kinds = {name: (_options(kind), intervals) for name, (kind, intervals) in _annotations(function).items()}
    return {name: kind for name, kind in kinds.items() if name != "return" and all(map(_is_checkable, kind[0]))}


def _is_checkable(kind: Any) -> bool:
    if isinstance(kind, type):
        return kind is not Any
    several = collections.abc.Callable, collections.abc.Mapping, collections.abc.Iterable
    return _is_array(kind) or get_origin(kind) in (Literal, tuple, *several)


def _is_array(thing: Any) -> bool:
    """Return whether something is an array, or a type of arrays."""
    return hasattr(thing, "shape") and hasattr(thing, "dtype")


def _is_of(value: Any, kind: Any) -> bool:
    if type(value) is kind:
        return True
    if _is_array(kind):
        return _is_array(value)
    if isinstance(get_origin(kind), type) and get_origin(kind) is not tuple:
        return isinstance(value, get_origin(kind)) and not isinstance(value, bytes)
    try:
        _converted(value, kind)
    except (TypeError, OverflowError):
        return False
    return True


def in_short(value: Any) -> str:
    """Say what a value is in a few words: simple ones as they are, arrays by shape, others by their class."""
    if _is_array(value):
        return describe(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | bytes | numbers.Number):
        return reprlib.repr(value)
    return _with_article(type(value).__name__)


def is_traced(value: object) -> bool:
    """Return whether a value is a JAX tracer, which no check can compare."""
    jax = sys.modules.get("jax")  # a program that has not imported JAX has no tracers
    return jax is not None and isinstance(value, jax.core.Tracer)


def check_in(value: Any, interval: str, name: str) -> None:
    """Check that a field or argument of this name is None or a number in an interval such as "[0, 1)"."""
    low, high = interval[1:-1].split(", ")
    if value is None or is_traced(value):
        return
    above = value >= float(low) if interval[0] == "[" else value > float(low)
    below = value <= float(high) if interval[-1] == "]" else value < float(high) - 2**-25  # else 1 in float32
    if not (above and below):
        expected = "a finite number above 0" if interval == "(0, inf)" else f"in {interval}"
        if interval[0] == "[" and not above:
            expected = f"at least {low}"
        elif interval[-1] == "]" and not below:
            expected = f"at most {high}"
        elif above and value < float(high):
            expected = f"below {high} in float32"
        raise JaxrnnError(f"{name} must be {expected}, got {value}")


def describe(value: Any) -> str:
    """Describe arrays, and tuples of them, by type and shape: float32[2, 8], (float32[2, 8], float32[2, 8])."""
    if type(value) is tuple:
        return f"({', '.join(map(describe, value))}{',' * (len(value) == 1)})"
    if _is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)


def of_fields(kind: object, **fields: object) -> str:
    """Return Kind(name=value, ...): arrays by shape, scalars by value, and nothing for None."""
    parts = ", ".join(f"{name}={_field(value)}" for name, value in fields.items() if value is not None)
    return f"{type(kind).__name__}({parts})"


def short_repr(kind: type[Kind]) -> type[Kind]:
    """Return a class of named tuples with a repr that shows arrays by their type and shape."""
    kind.__repr__ = lambda self: of_fields(self, **self._asdict())  # type: ignore
    return kind


def _field(value: Any) -> str:
    if getattr(value, "shape", None) == ():
        try:
            value = value.item()
        except (AttributeError, TypeError, RuntimeError):  # a ShapeDtypeStruct, a tracer, a donated array
            return describe(value)
    return f"{value:.6g}" if isinstance(value, float) else describe(value)

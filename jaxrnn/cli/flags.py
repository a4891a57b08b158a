"""Flags for the fields of a configuration: each has its field's type, default and docstring.

tyro parses them to an object that knows which of them the user gave, so that these can win over a preset, a file or the
configuration of a run. The configuration is built after parsing.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Collection
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

Spec = PrimitiveConstructorSpec[Any]  # how tyro parses and shows a flag
_ABSENT = object()
_type_hints = functools.cache(get_type_hints)


def config_flags(kind: type) -> Any:
    """Return the annotation of the flags for all fields of a configuration class."""
    return flags(lambda: {field.name: flag(kind, field.name) for field in dataclasses.fields(kind)})


def flags(annotations: Callable[[], dict[str, Any]], title: str = "") -> Any:
    """Return the annotation of several flags.

    Args:
        annotations: returns the annotation of each flag by its name; it is called when tyro needs them.
        title: of the flags' group in --help.
    """

    @functools.cache
    def make_type() -> type:
        return dataclasses.make_dataclass("Flags", [(name, flag, _ABSENT) for name, flag in annotations().items()])

    return tyro.conf.arg(name=title, help="", constructor_factory=make_type)


def given(flags: Any) -> dict[str, Any]:
    """Return the flags that the user gave: their values by name."""
    return {name: value for name, value in vars(flags).items() if value is not _ABSENT}


def flag(kind: type, name: str, spec: Spec | None = None, description: str = "") -> Any:
    """Return the annotation of the flag for a field of a configuration class.

    Args:
        kind: the class.
        name: the name of the field.
        spec: how the flag is parsed; by default as the type of the field.
        description: the help text; by default the docstring of the field.
    """
    spec = dataclasses.replace(spec or spec_of(kind, name), str_from_instance=lambda _: [])
    default = getattr(kind, name)
    behavior = "" if default is None else f"(default: {_in_words(default)})"
    description = description or _docstrings(kind)[name]
    return Annotated[object, spec, tyro.conf.arg(help=description, help_behavior_hint=behavior)]


def spec_of(kind: type, name: str) -> Spec:
    """Return how the flag for a field is parsed; None is parsed where the field may be None, but not shown."""
    hint = _type_hints(kind)[name]
    if hint is bool:
        return dataclasses.replace(_spec_of_type(str), nargs=0, metavar="", instance_from_str=lambda _: True)
    if NoneType not in get_args(hint):
        return _spec_of_type(hint)
    (hint,) = set(get_args(hint)) - {NoneType}
    spec = _spec_of_type(hint)
    return dataclasses.replace(
        spec, instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words)
    )


def _spec_of_type(hint: Any) -> Spec:
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(hint, set()))
    assert isinstance(spec, PrimitiveConstructorSpec)
    return spec


def one_of(names: Collection[str]) -> Spec:
    """Return how a flag is parsed that takes one of some names."""
    return dataclasses.replace(_spec_of_type(str), metavar=f"{{{','.join(names)}}}", choices=tuple(names))


def file_or_one_of(names: Collection[str]) -> Spec:
    """Return how a flag is parsed that takes one of some names, or an object in a Python file."""
    return dataclasses.replace(_spec_of_type(str), metavar=f"{{{','.join(names)},FILE.py:NAME}}")


def comma_separated(spec: Spec) -> Spec:
    """Return how a flag is parsed that takes several values with commas between them."""

    def parse(words: list[str]) -> tuple[Any, ...]:
        values = [word.strip() for word in words[0].split(",")]
        for value in values:
            if spec.choices and value not in spec.choices:
                raise ValueError(f"{value!r} is none of {', '.join(spec.choices)}")
        return tuple(spec.instance_from_str([value]) for value in values)

    return dataclasses.replace(spec, metavar=f"{spec.metavar},...", instance_from_str=parse, choices=None)


def _in_words(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return repr(default) if default == "" else str(default)


@functools.cache
def _docstrings(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a class, on one line."""
    body = _classes(kind.__module__)[kind.__name__].body
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """Return the definitions of the classes in a module by name; faster than to get the source of each."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

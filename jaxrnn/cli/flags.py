"""Flags for the fields of a configuration: each has its field's type, default and docstring.

tyro parses them to a dictionary of the flags that the user gave, and to nothing else, so that they can win over a
preset, a file or the configuration of a run. The configuration is built after parsing.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

_typed_dict: Any = TypedDict  # mypy knows it with literal keys only


def config_flags(kind: type) -> Any:
    """Return what annotates a dictionary of the flags given for the fields of a configuration class."""
    return flags(lambda: {field.name: flag(kind, field.name) for field in dataclasses.fields(kind)})


def flags(make: Callable[[], Mapping[str, Any]], title: str = "") -> Any:
    """Return what annotates a dictionary of the flags given, such as {"steps": 500}.

    Args:
        make: returns the annotation of each flag; it is called when tyro needs them.
        title: of the group of the flags in --help.
    """
    return tyro.conf.arg(name=title, constructor_factory=lambda: _typed_dict(title, make(), total=False))


def flag(kind: type, name: str, hint: Any = None, description: str = "", as_list: bool = False) -> Any:
    """Return the annotation of the flag for a field of a configuration class.

    Args:
        kind: the class.
        name: the name of the field.
        hint: how the flag is parsed; by default as the type of the field.
        description: the help text; by default the docstring of the field.
        as_list: the flag takes several values with commas between them.
    """
    hint = hint or get_type_hints(kind)[name]
    if as_list:
        hint = comma_separated(hint)
    elif hint is bool:
        hint = _SWITCH
    elif NoneType in get_args(hint):
        metavar, parse = _parser(hint)
        hint = Annotated[object, _spec(1, metavar, lambda words: parse(words[0]))]
    default = getattr(kind, name)
    behavior = "" if default is None else f"(default: {_in_words(default)})"
    description = description or _docstrings(kind)[name]
    return Annotated[hint, tyro.conf.arg(help=description, help_behavior_hint=behavior)]


def one_of(names: Collection[str]) -> PrimitiveConstructorSpec[Any]:
    """Return how a flag is parsed that takes one of some names."""
    return _spec(1, f"{{{','.join(names)}}}", lambda words: words[0], names)


def file_or_one_of(names: Collection[str]) -> Any:
    """Return the type of a flag that takes one of some names, or the object of a Python file."""
    return Annotated[str, _spec(1, f"{{{','.join(names)},FILE.py:NAME}}", lambda words: words[0])]


def comma_separated(hint: Any) -> Any:
    """Return the type of a flag that takes values with commas between them, parsed to a tuple."""
    metavar, parse = _parser(hint)
    return Annotated[
        object, _spec(1, f"{metavar},...", lambda words: tuple(parse(word.strip()) for word in words[0].split(",")))
    ]


def _parser(hint: Any) -> tuple[str, Callable[[str], Any]]:
    """Return the metavar of a type, and how a single value of it is parsed; None is parsed but not shown."""
    is_optional = NoneType in get_args(hint)
    if is_optional:
        (hint,) = set(get_args(hint)) - {NoneType}
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(hint, set()))
    assert isinstance(spec, PrimitiveConstructorSpec)

    def parse(word: str) -> Any:
        if is_optional and word == "None":
            return None
        if spec.choices and word not in spec.choices:
            raise ValueError(f"{word!r} is none of {', '.join(spec.choices)}")
        return spec.instance_from_str([word])

    return spec.metavar, parse


def _spec(
    nargs: int, metavar: str, parse: Callable[[list[str]], Any], choices: Collection[str] | None = None
) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs=nargs,
        metavar=metavar,
        instance_from_str=parse,
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
        choices=None if choices is None else tuple(choices),
    )


# A flag without a value that is absent from the dictionary unless given; tyro's own are always there.
_SWITCH = Annotated[object, _spec(nargs=0, metavar="", parse=lambda _: True)]


def _in_words(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return repr(default) if default == "" else str(default)


@functools.cache
def _docstrings(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a class, on one line."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }

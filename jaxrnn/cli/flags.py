"""Flags for the fields of configurations: each has its field's type, default and docstring.

tyro parses a group of flags to a dictionary of the values that the user gave, so that they can win over a preset, a
file or the configuration of a run. The configuration is built after parsing.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypedDict, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxrnn.cli.output import in_words
from jaxrnn.config import SETTINGS, SWEEPABLE, CellName, ModelConfig, OptimizerConfig, OptimizerName, TrainConfig
from jaxrnn.config.grid import with_settings

# The settings by the title of their group in --help. The group without a title has those that people set most often; it
# comes first, after CORPUS, --preset, --run-dir, --resume and --minutes: ten flags.
GROUPS = {
    "": ("steps", "split", "cell", "hidden_size", "learning_rate", "sample_every"),
    "text": ("vocabulary", "encoding", "normalize", "min_count", "symbols", "join", "reset_on"),
    "network": (
        *("num_layers", "dropout", "input_dropout", "state_dropout", "output_dropout", "weight_dropout"),
        *("init", "init_scale", "dtype", "products"),
    ),
    "optimizer": (
        *("optimizer", "momentum", "rms_decay", "beta1", "beta2", "weight_decay", "clip", "clip_value"),
        *("schedule", "warmup_steps", "final_fraction", "decay_from", "decay_every", "decay_rate"),
    ),
    "training": ("sequence_length", "batch_size", "chunk_length", "average_decay", "seed"),
    "logging": ("prompt", "sample_length", "log_every", "checkpoint_every", "keep", "validate_every", "patience"),
}
_PARTS = {"": TrainConfig, "model": ModelConfig, "optimizer": OptimizerConfig}
_USER_DEFINED = {  # settings that may be user-defined: their names for what is built in, and their help
    "cell": (CellName, "Recurrent cell. FILE.py:NAME is a user-defined one: NAME in that Python file, which is run."),
    "optimizer": (
        OptimizerName,
        "Optimizer. FILE.py:NAME is a user-defined one: an optax transformation, as with --cell.",
    ),
}
_Spec = PrimitiveConstructorSpec[Any]  # how tyro parses and shows a flag
_type_hints = functools.cache(get_type_hints)


HOME_EXPANDED = ConstructorRegistry()  # within it, tyro expands ~ in paths; in --run-dir=~/x no shell does


@HOME_EXPANDED.primitive_rule
def _path(type_info: PrimitiveTypeInfo) -> _Spec | None:
    if type_info.type is not Path:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(str, set()))
    assert isinstance(spec, PrimitiveConstructorSpec)
    return dataclasses.replace(
        spec,
        metavar="PATH",
        instance_from_str=lambda words: Path(os.path.expanduser(words[0])),  # noqa: PTH111  # it can't fail
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def setting_flags(lists: bool = False) -> Any:
    """Return the annotation of all settings' flags, in groups; if `lists`, those that can be swept take lists."""

    def group(title: str) -> Any:
        return _flags(lambda: {name: _setting_flag(name, lists and name in SWEEPABLE) for name in GROUPS[title]}, title)

    return _flags(lambda: {title or "first": Annotated[Any, group(title)] for title in GROUPS})


def some_setting_flags(*names: str) -> Any:
    """Return the annotation of some settings' flags, in one group."""
    return _flags(lambda: {name: _setting_flag(name, False) for name in names})


def field_flags(kind: type, *names: str, default: str = "") -> Any:
    """Return the annotation of the flags for some fields of a configuration class, by default for all.

    `default` says what their default is, if it is not the field's.
    """
    return _flags(lambda: {name: _flag(kind, name, default=default) for name in names or kind.__annotations__})


def with_flags(config: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    """Return a configuration with the settings of flags; typed symbols become their bytes in a vocabulary of bytes."""
    config = with_settings(config, changes)
    if "symbols" in changes and config.vocabulary == "bytes":
        from jaxrnn.text.stream import Rules
        from jaxrnn.text.vocabulary import encode_bytes

        symbols = encode_bytes(config.symbols, Rules.of(config).of_arguments.encoding)
        config = with_settings(config, {"symbols": symbols.decode("latin-1")})
    return config


def _flags(annotations: Callable[[], dict[str, Any]], title: str = "") -> Any:
    """Return the annotation of a group of flags; `annotations`, called when tyro needs it, makes those of the flags."""
    make_type = functools.cache(lambda: TypedDict("Flags", annotations(), total=False))  # type: ignore[operator]
    return tyro.conf.arg(name=title, help="", constructor_factory=make_type)


def _setting_flag(name: str, as_list: bool) -> Any:
    part, _, field = SETTINGS[name].rpartition(".")
    kind = _PARTS[part]
    if name not in _USER_DEFINED:
        return _flag(kind, field, _comma_separated(_spec_of(_type_hints(kind)[field])) if as_list else None)
    names, description = _USER_DEFINED[name]
    spec = dataclasses.replace(_spec_of(str), metavar=f"{{{','.join(get_args(names))},FILE.py:NAME}}")
    return _flag(kind, field, _comma_separated(spec) if as_list else spec, description)


def _flag(kind: type, name: str, spec: _Spec | None = None, description: str = "", default: str = "") -> Any:
    value = getattr(kind, name)
    default = default or ("" if value is None else in_words(value))
    behavior = f"(default: {default})" if default else ""
    options = tyro.conf.arg(
        help=description or _docstrings(kind.__module__)[kind.__name__, name], help_behavior_hint=behavior
    )
    return Annotated[Any, spec or _spec_of(_type_hints(kind)[name]), options]


def _spec_of(hint: Any) -> _Spec:
    """Return how a flag of a type is parsed; None is parsed where the type admits it, but not shown."""
    if hint is bool:
        return dataclasses.replace(_spec_of(str), nargs=0, metavar="", instance_from_str=lambda _: True)
    if get_origin(hint) is tuple:
        return _comma_separated(_spec_of(get_args(hint)[0]))
    if NoneType in get_args(hint):
        inner = _spec_of(get_args(hint)[0])
        parse = inner.instance_from_str
        return dataclasses.replace(inner, instance_from_str=lambda words: None if words == ["None"] else parse(words))
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(hint, set()))
    assert isinstance(spec, PrimitiveConstructorSpec)
    return spec


def _comma_separated(spec: _Spec) -> _Spec:
    """Return how a flag is parsed that takes several values with commas between them."""

    def parse(words: list[str]) -> tuple[Any, ...]:
        values = [word.strip() for word in words[0].split(",")] if words != ["-"] else []  # as its default is shown
        for value in values:
            if spec.choices and value not in spec.choices:
                raise ValueError(f"{value!r} is none of {', '.join(spec.choices)}")
        return tuple(spec.instance_from_str([value]) for value in values)

    return dataclasses.replace(spec, metavar=f"{spec.metavar},...", instance_from_str=parse, choices=None)


@functools.cache
def _docstrings(module: str) -> dict[tuple[str, str], str]:
    """Return the docstring below each field of a module's classes, by class and field; faster than class by class."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        (kind.name, ast.unparse(field.target)): " ".join(ast.literal_eval(text.value).split())
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for field, text in itertools.pairwise(kind.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }

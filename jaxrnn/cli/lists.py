"""Flags with several values: in `jaxrnn sweep` any flag of a setting that can be swept may be a list with commas."""

from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.config.grid import SWEEPABLE
from jaxrnn.errors import JaxrnnError


class Lists(dict[str, list[Any]]):
    """Values by the name of a setting."""


class Taken(NamedTuple):
    """Arguments whose lists were taken out.

    Attributes:
        arguments: the others, and of each list its first value.
        lists: the lists.
        singles: the names of the settings that can be swept and were given a single value.
    """

    arguments: list[str]
    lists: Lists
    singles: set[str]


def take_lists(arguments: list[str]) -> Taken:
    """Return the arguments with their lists taken out.

    Example:
        >>> take_lists(["novel.txt", "--learning-rate", "0.03,0.1", "--hidden-size=64,128", "--split", "0.9,0.1"]).lists
        {'learning_rate': [0.03, 0.1], 'hidden_size': [64, 128]}

    Raises:
        JaxrnnError: a value is not of the setting's type or missing, or a flag is given twice.
    """
    taken = Taken([], Lists(), set())
    words = iter(arguments)
    for word in words:
        flag, equals, text = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in SWEEPABLE:
            taken.arguments.append(word)
            continue
        text = text if equals else next(words, "")
        if name in taken.lists or name in taken.singles:
            raise JaxrnnError(f"{flag} is given twice; give all its values in one list, such as {flag}=A,B")
        if "," in text:
            taken.lists[name] = [_value(flag, name, part.strip()) for part in text.split(",")]
        else:
            taken.singles.add(name)
        taken.arguments.append(f"{flag}={text.partition(',')[0].strip()}" if text else flag)
    return taken


def _value(flag: str, name: str, text: str) -> Any:
    """Return what a text says, in the type of the setting; whether it is in its range, the configuration says."""
    part, _, field = SWEEPABLE[name].rpartition(".")
    hint = get_type_hints({"": TrainConfig, "model": ModelConfig, "optimizer": OptimizerConfig}[part])[field]
    kinds = {hint, *get_args(hint)}
    if get_origin(hint) is Literal and text not in kinds:
        raise JaxrnnError(f"every value of {flag} must be {' or '.join(map(repr, get_args(hint)))}, got {text!r}")
    for kind, words in ((float, "a number"), (int, "a whole number")):
        if kind in kinds:
            try:
                return kind(text)
            except (ValueError, OverflowError):
                raise JaxrnnError(f"every value of {flag} must be {words}, got {text!r}") from None
    return text

"""Configurations as JSON text, from which they are read exactly."""

import errno
import json
from pathlib import Path
from typing import Any, TypeVar

from jaxrnn.config.cell import Cell
from jaxrnn.config.fields import Checked
from jaxrnn.config.settings import ModelConfig, OptimizerConfig, SampleConfig, TrainConfig
from jaxrnn.errors import JaxrnnError

Config = TypeVar("Config", ModelConfig, OptimizerConfig, TrainConfig, SampleConfig)


def to_json(config: Checked) -> str:
    """Return the config as indented JSON; `from_json` returns an equal config, except for a user-defined cell.

    That is written as "custom"; restore the cell by `dataclasses.replace(config.model, cell=CELL)`.

    Example:
        >>> from_json(SampleConfig, to_json(SampleConfig(temperature=0.7))) == SampleConfig(temperature=0.7)
        True
    """
    return json.dumps(_values(config), indent=2, allow_nan=False)


def _values(config: Checked) -> dict[str, Any]:
    values = {name: _values(value) if isinstance(value, Checked) else value for name, value in vars(config).items()}
    return {**values, "cell": "custom"} if isinstance(values.get("cell"), Cell) else values


def read_text(path: Path, *, may_wait: bool = False) -> str:
    """Return the text of a file of JSON, in the UTF-8, UTF-16 or UTF-32 that an editor has chosen.

    Raises:
        OSError: the file can't be read, or is not a regular one: a pipe is read only by those who `may_wait` for it.
        UnicodeDecodeError: it is in another encoding.
    """
    if not may_wait and path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")
    data = path.read_bytes()
    return data.decode(json.detect_encoding(data))


def read_config(file: Path, *, may_wait: bool = False) -> TrainConfig:
    """Return the configuration in a file such as a run's config.json; on failure, raise JaxrnnError with its path."""
    try:
        return from_json(TrainConfig, read_text(file, may_wait=may_wait))
    except JaxrnnError as error:
        raise JaxrnnError(f"{file}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JaxrnnError(f"can't read {file} ({reason}); give the config.json of a run") from None


def from_json(kind: type[Config], text: str) -> Config:
    """Return a config of class `kind` from JSON; absent fields have their default values.

    Raises JaxrnnError if the text is no JSON object, has a field twice or an unknown one, or a value out of range.
    """
    try:
        values = json.loads(text, object_pairs_hook=_object)
    except JaxrnnError:
        raise
    except (ValueError, RecursionError) as error:
        raise JaxrnnError(f"not JSON: {error}; expected the config.json of a run") from None
    if isinstance(values, dict):  # as version 0.1.0 wrote it
        if values.get("on_nonfinite") == "stop":
            del values["on_nonfinite"]
        if isinstance(values.get("normalize"), bool):
            values["normalize"] = ["newlines"] if values["normalize"] else []
    return _build(kind, values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise JaxrnnError(f"{twice!r} is given twice; give it once")
    return dict(pairs)


def _build(kind: Any, values: Any) -> Any:
    if not isinstance(values, dict):
        raise JaxrnnError(f"expected an object with the fields of {kind.__name__}, got {type(values).__name__}")
    defaults = vars(kind())
    for name, value in values.items():
        if isinstance(defaults.get(name), Checked):
            values = {**values, name: _build(type(defaults[name]), value)}
    return kind(**values)

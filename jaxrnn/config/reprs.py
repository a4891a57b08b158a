"""Short representations: arrays by their shapes, configurations by their fields that are not at the defaults."""

import dataclasses
from typing import Any


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
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    defaults = {field.name: _default(field) for field in dataclasses.fields(config)}
    parts = [f"{name}={value!r}" for name, value in values.items() if name in always or value != defaults[name]]
    return f"{type(config).__name__}({', '.join(parts)})"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _field(value: Any) -> str:
    if getattr(value, "shape", None) == ():
        try:
            value = value.item()
        except (AttributeError, TypeError, RuntimeError):  # a ShapeDtypeStruct, a tracer, a donated array
            return describe(value)
    return f"{value:.6g}" if isinstance(value, float) else describe(value)

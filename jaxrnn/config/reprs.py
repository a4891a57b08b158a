"""What objects say of themselves: shapes for arrays; of a configuration, what it does not share with all others."""

import dataclasses
from typing import Any


def describe(value: object) -> str:
    """Return arrays as their types and shapes: float32[2, 8], or (float32[2, 8], float32[2, 8])."""
    if type(value) is tuple:
        return f"({', '.join(map(describe, value))}{',' * (len(value) == 1)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)


def of_fields(kind: object, **fields: object) -> str:
    """Return Kind(name=value, ...), with arrays as shapes, single numbers as numbers, and nothing for None."""
    shown = ", ".join(f"{name}={_part(value)}" for name, value in fields.items() if value is not None)
    return f"{type(kind).__name__}({shown})"


def of_config(config: Any, *always: str) -> str:
    """Return a configuration by the fields that are always of interest, and those that are not at their defaults."""
    shown = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    usual = {field.name: _default(field) for field in dataclasses.fields(config)}
    named = [f"{name}={value!r}" for name, value in shown.items() if name in always or value != usual[name]]
    return f"{type(config).__name__}({', '.join(named)})"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _part(value: Any) -> str:
    if getattr(value, "shape", None) == ():
        try:
            value = value.item()
        except (AttributeError, TypeError, RuntimeError):  # a shape alone, one that is traced, one that was donated
            return describe(value)
    return f"{value:.6g}" if isinstance(value, float) else describe(value)

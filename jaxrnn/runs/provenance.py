"""What computed a checkpoint: versions, devices, processor, flags."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

_VERSION = importlib.metadata.version("jaxrnn")
# Settings of JAX that decide which random numbers it draws, which jaxrnn's own commands leave alone.
_RANDOM = {"jax_enable_x64": False, "jax_threefry_partitionable": True, "jax_random_seed_offset": 0}


def computed_by(device_count: int = 1) -> dict[str, Any]:
    """Return what computes here: versions, devices, processor, flags.

    A run that is resumed on the same is bit-identical to an uninterrupted one.
    """
    device = jax.devices()[0]
    return {
        "jaxrnn": _VERSION,
        "jax": jax.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "device_count": device_count,
        # XLA compiles for the instructions of this processor, and as the flags say.
        **({"processor": _processor()} if device.platform == "cpu" else {}),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        **{name: str(jax.config.values[name]) for name, usual in _RANDOM.items() if jax.config.values[name] != usual},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def describe_computer(computed_by: Mapping[str, object]) -> str:
    """Describe what computed a checkpoint; version 0.1.0 left some of it out."""
    processor = f" ({computed_by['processor']})" if "processor" in computed_by else ""
    flags = f", XLA_FLAGS {computed_by['xla_flags'] or 'empty'}" if "xla_flags" in computed_by else ""
    flags += "".join(f", {name.upper()} {computed_by[name]}" for name in _RANDOM if name in computed_by)
    versions = f"jaxrnn {computed_by.get('jaxrnn', '0.1.0')}, jax {computed_by['jax']}"
    return f"{computed_by.get('device_count', 1)} x {computed_by['device']}{processor}, {versions}{flags}"

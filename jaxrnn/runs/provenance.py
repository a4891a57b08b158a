"""What computed a state: versions, devices, processor, flags."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

VERSION = importlib.metadata.version("jaxrnn")


def computed_by(device_count: int = 1) -> dict[str, Any]:
    """Return what computes here; a run that is resumed on the same is bit-identical to an uninterrupted one.

    Args:
        device_count: how many devices compute.
    """
    device = jax.devices()[0]
    return {
        "jaxrnn": VERSION,
        "jax": jax.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "device_count": device_count,
        # XLA compiles for the instructions of this processor, and as the flags say.
        **({"processor": processor()} if device.platform == "cpu" else {}),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def processor() -> str:
    """Return the name of this machine's processor."""
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
    versions = f"jaxrnn {computed_by.get('jaxrnn', '0.1.0')}, jax {computed_by['jax']}"
    return f"{computed_by.get('device_count', 1)} x {computed_by['device']}{processor}, {versions}{flags}"

"""What computed a state: version, devices, processor, flags. With the same, a run has the same bits."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax


def computed_by(device_count: int = 1) -> dict[str, Any]:
    """Return what computes here, on so many devices: with the same, the same run has the same bits."""
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "device_count": device_count,
        # XLA compiles for what this processor can do, and as the flags say
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


def in_words(found: Mapping[str, object]) -> str:
    """Name what computed a checkpoint; those of older versions leave some of it out."""
    processor = f" ({found['processor']})" if "processor" in found else ""
    flags = f", XLA_FLAGS {found['xla_flags'] or 'empty'}" if "xla_flags" in found else ""
    return f"{found.get('device_count', 1)} x {found['device']}{processor}, jax {found['jax']}{flags}"

"""What was measured on: device, processor, versions, flags."""

import importlib.metadata
import os
import platform
import resource
import sys
from typing import Any

import jax

from jaxrnn.runs.checkpoint import processor


def machine() -> dict[str, Any]:
    """Return what a reader of a measurement has to know of the machine and of the software on it."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": len(jax.devices()),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jaxrnn", "jax", "jaxlib", "numpy", "optax", "torch")},
        },
    }


def version(name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def peak_memory() -> dict[str, int | None]:
    """Return the most memory used so far, in bytes: by this process, and on the device where it counts."""
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss is counted in
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "device": stats.get("peak_bytes_in_use"),
    }

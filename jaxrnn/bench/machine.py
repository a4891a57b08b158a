"""What was measured on: device, processor, versions, flags; and how much memory it took."""

import importlib.metadata
import os
import platform
import resource
import sys
from typing import Any

import jax

from jaxrnn.runs.provenance import computed_by


def describe_machine() -> dict[str, Any]:
    """Return what a reader of a measurement has to know about the machine and its software."""
    packages = ("jaxrnn", "jax", "jaxlib", "numpy", "optax", "torch")
    return {
        **computed_by(len(jax.devices())),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    versions = machine["versions"]
    software = ", ".join(f"{name} {versions[name]}" for name in ("jax", "numpy", "torch") if versions[name])
    return f"{machine.get('processor', 'host')}, {machine['cores']} cores; on {machine['device']}; {software}"


def version(name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def peak_memory() -> dict[str, int | None]:
    """Return the peak memory in bytes of this process, and of the device where it counts."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "device": stats.get("peak_bytes_in_use"),
    }

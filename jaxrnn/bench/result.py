"""What every suite returns: its table, and the machine on which it was measured."""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Callable
from typing import Any

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.timing import Timing
from jaxrnn.runs.provenance import computed_by

Say = Callable[[str], None]  # tells the person who waits what is going on
LETTERS = {"hidden_size": "H", "sequence_length": "T", "batch_size": "B", "vocab_size": "V"}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a suite measured; a suite is a function (config, say) -> Result.

    Attributes:
        config: the workload.
        seconds: by contender, per unit of work: a training step, a character, a process.
        lines: what the table means; long ones are wrapped.
        columns: more columns of the table: rates and ratios by header, then by contender.
        characters: per unit of work; None shows no characters per second.
        details: further values, for JSON.
    """

    config: BenchConfig
    seconds: dict[str, Timing]
    lines: list[str]
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)
    characters: int | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def table(self) -> list[list[str]]:
        """Return the rows of the table, the header first."""
        name, unit = ("ms", 1e-3) if min(timing.median for timing in self.seconds.values()) > 1e-3 else ("us", 1e-6)
        compiled = any(timing.compile_seconds for timing in self.seconds.values())
        rows = [["", name, "quartiles"] + ["char/s"] * bool(self.characters) + [*self.columns] + ["compile"] * compiled]
        for contender, timing in self.seconds.items():
            row = [contender, number(timing.median / unit)]
            row.append(f"{number(timing.lower / unit)}-{number(timing.upper / unit)}")
            if self.characters:
                row.append(number(self.characters / timing.median))
            row += [number(cells[contender].median) if contender in cells else "-" for cells in self.columns.values()]
            if compiled:
                row.append(f"{timing.compile_seconds:.2f} s" if timing.compile_seconds else "-")
            rows.append(row)
        return rows

    def values(self) -> dict[str, Any]:
        """Return the measurements, for JSON."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ("config", "lines")}


def workload_line(config: BenchConfig) -> str:
    """Return the workload in a line."""
    sizes = ", ".join(f"{letter} {getattr(config, name)}" for name, letter in LETTERS.items())
    products = "" if config.products == "full" else f", products of {config.products}"
    devices = f", devices {config.devices}" if config.devices > 1 else ""
    return f"{config.cell}, {sizes}, {config.dtype}{products}, {config.optimizer}{devices}"


def number(value: float) -> str:
    """Return a number with three significant digits, and with all those before the point.

    Example:
        >>> number(0.6213), number(75.84), number(1234567.8)
        ('0.621', '75.8', '1,234,568')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


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

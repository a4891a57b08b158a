"""What every suite returns: its table, its chart, and the machine on which it was measured."""

import dataclasses
import os
import platform
from typing import TYPE_CHECKING, Any, Literal

import jax

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import LIBRARIES, version
from jaxrnn.bench.timing import Timing
from jaxrnn.plots import benchmark
from jaxrnn.runs.provenance import computed_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTERS = {"hidden_size": "H", "sequence_length": "T", "batch_size": "B", "vocab_size": "V"}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a suite measured."""

    seconds: dict[str, Timing]  # by contender, per unit of work: a training step, a character, a process
    lines: list[str]  # what the table means; long ones are wrapped
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)  # by header, then by contender
    characters: int | None = None  # per unit of work; None shows no characters per second
    details: dict[str, Any] = dataclasses.field(default_factory=dict)  # further values, for JSON
    chart: Literal["bars", "curves", "ratios"] = "bars"

    @property
    def unit(self) -> tuple[str, float]:
        """The unit of time that suits these measurements: its name, and how many seconds it has."""
        return ("ms", 1e-3) if min(timing.median for timing in self.seconds.values()) > 1e-3 else ("us", 1e-6)

    def table(self) -> list[list[str]]:
        """Return the rows of the table, the header first."""
        name, unit = self.unit
        columns: dict[str, dict[str, str]] = {
            name: {key: number(timing.median / unit) for key, timing in self.seconds.items()},
            "quartiles": {
                key: f"{number(timing.lower / unit)}-{number(timing.upper / unit)}"
                for key, timing in self.seconds.items()
            },
        }
        if self.characters:
            rates = {key: number(self.characters / timing.median) for key, timing in self.seconds.items()}
            columns["char/s"] = rates
        for header, ratios in self.columns.items():
            columns[header] = {key: number(ratio.median) for key, ratio in ratios.items()}
        costs = {key: timing.cost for key, timing in self.seconds.items() if timing.cost.compile_seconds}
        if costs:
            columns["compile"] = {key: f"{cost.compile_seconds:.2f} s" for key, cost in costs.items()}
            columns["Mflop"] = {key: number(cost.flops / 1e6) for key, cost in costs.items() if cost.flops}
            columns["MB"] = {key: number(cost.bytes / 1e6) for key, cost in costs.items() if cost.bytes}
        headers = {header: cells for header, cells in columns.items() if cells or header in self.columns}
        return [["", *headers]] + [[key, *(cells.get(key, "-") for cells in headers.values())] for key in self.seconds]

    def csv_rows(self) -> list[list[Any]]:
        """Return the numbers of the table, unrounded and in seconds, the header first; nothing where there is none."""
        names = ["compile_seconds", "flops", "bytes", *self.columns]
        rows: list[list[Any]] = [["contender", "seconds", "lower", "upper", *names]]
        for key, timing in self.seconds.items():
            ratios = [cells[key].median if key in cells else None for cells in self.columns.values()]
            rows.append([key, timing.median, timing.lower, timing.upper, *timing.cost, *ratios])
        return rows


def workload_line(config: BenchConfig) -> str:
    """Return the workload in a line."""
    training, model = config.training, config.training.model
    values = {**vars(training), **vars(model)}
    sizes = ", ".join(f"{letter} {values[name]}" for name, letter in LETTERS.items())
    layers = f", L {model.num_layers}" if model.num_layers > 1 else ""
    products = "" if model.products == "full" else f", products of {model.products}"
    devices = f", devices {config.devices}" if config.devices > 1 else ""
    cell = model.cell if isinstance(model.cell, str) else "user-defined cell"
    optimizer = "user-defined optimizer" if config.optimizer else training.optimizer.name
    return f"{cell}, {sizes}{layers}, {model.dtype}{products}, {optimizer}{devices}"


def number(value: float) -> str:
    """Return a number with three significant digits, and with all those before the point.

    Example:
        >>> number(0.6213), number(75.84), number(1234567.8)
        ('0.621', '75.8', '1,234,568')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def describe_machine() -> dict[str, Any]:
    """Return what a reader of a measurement has to know about the machine and its software."""
    packages = ("jaxrnn", "jax", "jaxlib", "numpy", "optax", "torch", *LIBRARIES.values())
    return {
        **computed_by(len(jax.devices())),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    versions = machine["versions"]
    names = ("jax", "numpy", "torch", *LIBRARIES.values())
    software = ", ".join(f"{name} {versions[name]}" for name in names if versions[name])
    return f"{machine.get('processor', 'host')}, {machine['cores']} cores; on {machine['device']}; {software}"


def draw(result: Result, title: str) -> "Figure":
    """Return the figure of what a suite measured, in the form that the suite chose (`Result.chart`)."""
    name, unit = result.unit
    if result.chart == "ratios":
        return benchmark.rows(
            {key: ratios for key, ratios in result.columns.items() if ratios}, "ratio", 1.0, title, None
        )
    if result.chart == "bars":
        return benchmark.rows({"": result.seconds}, name, unit, title, number)
    if result.characters:
        per_second = {
            key: Timing.of(result.characters / seconds for seconds in timing.rounds)
            for key, timing in result.seconds.items()
        }
        return benchmark.curves(per_second, "characters per second", 1.0, title)
    return benchmark.curves(result.seconds, name, unit, title)

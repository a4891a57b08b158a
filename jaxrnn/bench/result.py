"""What every suite returns, and how it is printed: one table, then lines that explain it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.timing import Timing

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
        chart: its form.
    """

    config: BenchConfig
    seconds: dict[str, Timing]
    lines: list[str]
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)
    characters: int | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    chart: Literal["bars", "curves", "ratios"] = "bars"

    @property
    def unit(self) -> tuple[str, float]:
        """The unit of time that suits these measurements: its name, and how many seconds it has."""
        return ("ms", 1e-3) if min(timing.median for timing in self.seconds.values()) > 1e-3 else ("us", 1e-6)

    def table(self) -> list[list[str]]:
        """Return the rows of the table, the header first."""
        name, unit = self.unit
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
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("config", "lines", "chart")}


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

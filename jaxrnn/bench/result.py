"""What every suite returns, and how it is printed: one table, then lines that explain it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.timing import Contender, Timing

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
        compile_seconds: by contender, the first call: trace, compile, run.
        characters: per unit of work; None shows no characters per second.
        details: further values, for JSON.
    """

    config: BenchConfig
    seconds: dict[str, Timing]
    lines: list[str]
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)
    compile_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    characters: int | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def unit(self) -> tuple[str, float]:
        """The unit of time that suits these measurements: its name and its seconds."""
        return ("s", 1.0) if max(timing.median for timing in self.seconds.values()) > 0.5 else ("us", 1e-6)

    def table(self) -> list[list[str]]:
        """Return the rows of the table, the header first."""
        name, unit = self.unit
        header = ["", name, "quartiles"] + ["char/s"] * bool(self.characters) + list(self.columns)
        rows = [header + ["compile"] * bool(self.compile_seconds)]
        for contender, timing in self.seconds.items():
            row = [contender, number(timing.median / unit)]
            row.append(f"{number(timing.lower / unit)}-{number(timing.upper / unit)}")
            if self.characters:
                row.append(number(self.characters / timing.median))
            row += [number(cells[contender].median) if contender in cells else "-" for cells in self.columns.values()]
            if self.compile_seconds:
                compiled = self.compile_seconds.get(contender)
                row.append("-" if compiled is None else f"{compiled:.2f} s")
            rows.append(row)
        return rows

    def values(self) -> dict[str, Any]:
        """Return the measurements, for JSON."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("config", "lines")}


def ratios(seconds: Mapping[str, Timing], pairs: Iterable[tuple[str, str]]) -> dict[str, Timing]:
    """Return, by the first name of each pair, how many times the time of the second it takes."""
    return {name: seconds[name].over(seconds[other]) for name, other in pairs}


def gains(seconds: Mapping[str, Timing], pairs: Iterable[tuple[str, str]]) -> dict[str, Timing]:
    """Return, by the first name of each pair, how many times as fast as the second it is."""
    return {name: seconds[other].over(seconds[name]) for name, other in pairs}


def compile_seconds(contenders: Mapping[str, Contender]) -> dict[str, float]:
    """Return the time of the first call of those contenders that are compiled."""
    times = {name: contender.compile_seconds for name, contender in contenders.items()}
    return {name: seconds for name, seconds in times.items() if seconds is not None}


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


def byte_size(count: float) -> str:
    """Return a number of bytes with its unit.

    Example:
        >>> byte_size(364_000), byte_size(12)
        ('364 KB', '12 bytes')
    """
    units = iter(("bytes", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000:
        count, unit = count / 1000, next(units)
    return f"{number(count)} {unit}"

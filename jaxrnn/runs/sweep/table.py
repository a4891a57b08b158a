"""The results of a sweep: for each setting of what is swept, mean and spread over its seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxrnn.config.grid import value_of
from jaxrnn.runs.report import Report
from jaxrnn.runs.sweep.many import SweepReport


class Spread(NamedTuple):
    """The mean and the spread of some numbers.

    Attributes:
        mean: their mean.
        deviation: their standard deviation, by n - 1; None for a single number.
        lowest: the lowest of them.
        highest: the highest of them.
    """

    mean: float
    deviation: float | None
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of numbers, of which there is at least one.

        Example:
            >>> Spread.of([1.0, 2.0, 3.0])
            Spread(mean=2.0, deviation=1.0, lowest=1.0, highest=3.0)
        """
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, min(values), max(values))


class Row(NamedTuple):
    """A setting of what is swept, with all its seeds.

    Attributes:
        setting: the values, by name, without the seed.
        members: the names of its runs.
        failed: how many of them ended because their loss was no longer finite; the others count below.
        bits_per_character: their smooth losses; None where no run is left.
        validation_loss: their best validations, nats per character; None where there is none.
        best: the name of the best member, by validation where there is one; None where no run is left.
    """

    setting: dict[str, Any]
    members: tuple[str, ...]
    failed: int
    bits_per_character: Spread | None
    validation_loss: Spread | None
    best: str | None


def tabulate_sweep(report: SweepReport, axes: Sequence[str]) -> list[Row]:
    """Return a row for each setting of the axes, the seed apart, in the order of the members.

    Args:
        report: of a sweep, at its end or before.
        axes: the names of what is swept.
    """
    by_setting: dict[tuple[Any, ...], list[str]] = {}
    names = [axis for axis in axes if axis != "seed"]
    for name, config in report.members.items():
        by_setting.setdefault(tuple(value_of(config, axis) for axis in names), []).append(name)
    return [_row(dict(zip(names, values, strict=True)), members, report) for values, members in by_setting.items()]


def _row(setting: dict[str, Any], members: Sequence[str], report: SweepReport) -> Row:
    reports = {name: report.reports[name] for name in members if name in report.reports and name not in report.failed}
    losses = [member.bits_per_character for member in reports.values()]
    validations = [member.best.loss for member in reports.values() if member.best]
    return Row(
        setting,
        tuple(members),
        failed=len(report.failed.keys() & set(members)),
        bits_per_character=Spread.of(losses) if losses else None,
        validation_loss=Spread.of(validations) if validations else None,
        best=min(reports, key=lambda name: member_loss(reports[name]), default=None),
    )


def member_loss(report: Report) -> float:
    """Return the loss that members are compared by, nats per character: the best validation, or the smooth loss."""
    return report.best.loss if report.best else report.bits_per_character * math.log(2)


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the row with the lowest mean, by validation where there is one; None where no run is left."""

    def mean(row: Row) -> float:
        losses = row.validation_loss or row.bits_per_character
        return losses.mean if losses else math.inf

    return min((row for row in rows if row.bits_per_character), key=mean, default=None)

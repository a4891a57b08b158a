"""Timing side by side: every contender runs once per round, so that a disturbance hits all of them alike."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np


class Timing(NamedTuple):
    """The measurements of all rounds and their quartiles: seconds per unit of work, or rates or ratios of them.

    `compile_seconds` is the first call: trace, compile, run; None where nothing is compiled.
    """

    median: float
    lower: float
    upper: float
    rounds: tuple[float, ...]
    compile_seconds: float | None = None

    @classmethod
    def of(cls, values: Iterable[float], compile_seconds: float | None = None) -> "Timing":
        """Return the timing with these rounds.

        Example:
            >>> Timing.of([4.0, 1.0, 2.0, 3.0, 10.0])
            Timing(median=3.0, lower=2.0, upper=4.0, rounds=(4.0, 1.0, 2.0, 3.0, 10.0), compile_seconds=None)
        """
        rounds = tuple(map(float, values))
        lower, median, upper = map(float, np.quantile(rounds, (0.25, 0.5, 0.75)))
        return cls(median, lower, upper, rounds, compile_seconds)

    def over(self, other: "Timing") -> "Timing":
        """Return the ratio to another timing of the same race, round by round: its median is the median of ratios."""
        return Timing.of(np.array(self.rounds) / np.array(other.rounds))

    def rate(self, units: float) -> "Timing":
        """Return `units` per measured time, round by round: of seconds, units per second."""
        return Timing.of(units / np.array(self.rounds))


class Contender(NamedTuple):
    """Something to time: `run` does some work and returns the seconds per unit of work."""

    run: Callable[[], float]
    compile_seconds: float | None = None


def race(contenders: Mapping[str, Contender], rounds: int, rest: float = 0.01) -> dict[str, Timing]:
    """Run every contender once per round; every other round in reverse, so that none always follows the same one.

    Before each run is a rest of some seconds, in which the threads of the previous one stop waiting for more work.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            time.sleep(rest)
            times[name].append(contenders[name].run())
    return {name: Timing.of(values, contenders[name].compile_seconds) for name, values in times.items()}


def counted(run: Callable[[int], object], seconds: float) -> Contender:
    """Return a contender that calls `run(count)`, with a count, at least 1, for which that takes about `seconds`.

    `run` does `count` units of work and returns when they are done. It is called here to find the count.
    """

    def once(count: int) -> float:
        begin = time.perf_counter()
        run(count)
        return time.perf_counter() - begin

    count = 1
    while (elapsed := min(once(count), once(count))) < seconds / 8:
        count *= 4
    count = max(1, round(count * seconds / elapsed))
    return Contender(lambda: once(count) / count)


def repeated(function: Callable[[], object], units: float, seconds: float = 0.1) -> Contender:
    """Return a contender that calls a function as often as fits into about `seconds`, at least once.

    The function does `units` of work and returns when they are done. Its first call, made here, compiles it.
    """

    def run(count: int) -> None:
        for _ in range(count):
            function()

    begin = time.perf_counter()
    function()
    compile_seconds = time.perf_counter() - begin
    calls = counted(run, seconds)
    return Contender(lambda: calls.run() / units, compile_seconds)

"""Timing side by side: every contender once in every round, so that what disturbs one disturbs its rivals too."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Contender = Callable[[], float]  # runs for a while and returns seconds per unit of work
Clock = Callable[[], float]


class Timing(NamedTuple):
    """What was measured in each round, and its middle.

    Attributes:
        median: half of the rounds are below.
        lower: the first quartile, a quarter of the rounds is below.
        upper: the third quartile.
        rounds: the values themselves.
    """

    median: float
    lower: float
    upper: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: "list[float] | np.ndarray") -> "Timing":
        """Return the timing with these rounds.

        Example:
            >>> Timing.of([4.0, 1.0, 2.0, 3.0, 10.0])
            Timing(median=3.0, lower=2.0, upper=4.0, rounds=(4.0, 1.0, 2.0, 3.0, 10.0))
        """
        lower, median, upper = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        return cls(median, lower, upper, tuple(map(float, values)))

    def over(self, other: "Timing") -> "Timing":
        """Return the ratio to another timing of the same race, round by round: the median of ratios."""
        return Timing.of(np.array(self.rounds) / np.array(other.rounds))


def race(contenders: Mapping[str, Contender], rounds: int, rest: float = 0.01) -> dict[str, Timing]:
    """Let every contender run once a round; every other round in reverse, so that none always follows the same one.

    Args:
        contenders: by name.
        rounds: how many.
        rest: seconds before each run, in which the threads of the one before give up waiting for more work.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in sorted(contenders, key=list(contenders).index, reverse=number % 2 == 1):
            time.sleep(rest)
            times[name].append(contenders[name]())
    return {name: Timing.of(values) for name, values in times.items()}


def repeated(
    function: Callable[[], object], units: float, seconds: float = 0.1, clock: Clock = time.perf_counter
) -> Contender:
    """Return a contender that calls a function as often as fits into about so many seconds.

    Args:
        function: does `units` of work and returns when they are done. It is called here, to be warm and to be timed.
        units: the work of one call.
        seconds: how long a run should take; it makes one call at least.
        clock: the seconds now.
    """
    function()
    begin = clock()
    function()
    middle = clock()
    function()
    once = min(middle - begin, clock() - middle)
    calls = max(1, round(seconds / max(once, 1e-9)))

    def run() -> float:
        begin = clock()
        for _ in range(calls):
            function()
        return (clock() - begin) / (calls * units)

    return run

"""The engine of every suite: for a workload, contenders that are checked to do the same work and run once per round."""

import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bench.config import BenchError
from jaxrnn.config import Count, Positive
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError

SECONDS = 0.1  # of a contender in a round


class Cost(NamedTuple):
    """What a program costs by itself; None where nothing is compiled."""

    compile_seconds: float | None = None  # with tracing
    flops: float | None = None  # in the matrix products of a unit of work, 2 for a multiplication and an addition
    bytes: float | None = None  # that XLA expects the program to move; it counts the body of a loop once


class Timing(NamedTuple):
    """The measurements of all rounds and their quartiles: seconds per unit of work, or rates or ratios of them."""

    median: float
    lower: float
    upper: float
    rounds: tuple[float, ...]
    cost: Cost = Cost()

    @classmethod
    def of(cls, values: Iterable[float], cost: Cost = Cost()) -> "Timing":  # noqa: B008, a tuple
        """Return the timing with these rounds."""
        rounds = tuple(map(float, values))
        lower, median, upper = map(float, np.quantile(rounds, (0.25, 0.5, 0.75)))
        return cls(median, lower, upper, rounds, cost)

    def over(self, other: "Timing") -> "Timing":
        """Return the ratio to another timing of the same race, round by round: its median is the median of ratios."""
        return Timing.of(np.array(self.rounds) / np.array(other.rounds))


@dataclasses.dataclass(frozen=True)
class Result:
    """What a suite measured."""

    seconds: dict[str, Timing]  # by contender, per unit of work: a training step, a character, a process
    columns: dict[str, dict[str, Timing]] = dataclasses.field(default_factory=dict)  # ratios, by header and contender
    characters: int | None = None  # per unit of work; None: there are none
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


class Contender(NamedTuple):
    """Something to time."""

    run: Callable[[], float]  # does some work and returns the seconds per unit of work
    cost: Cost = Cost()
    losses: tuple[float, ...] = ()  # of the first two training steps; the second tells of the update
    note: str = ""  # what a reader has to know about it


class LeftOut(Exception):
    """A contender can't take part in a race; the message says why."""


Start = Callable[[], Contender]


def compete(starts: Mapping[str, Start], rounds: int, tolerance: float = 1e-5) -> tuple[dict[str, Timing], list[str]]:
    """Start the contenders of a workload and race them; return their timings by name, and a line for each note.

    A contender that raises LeftOut is left out, with a note. Raises BenchError if a contender does not compute the
    losses of the first one, up to a relative difference of `tolerance`.
    """
    contenders: dict[str, Contender] = {}
    notes: list[str] = []
    ours: tuple[float, ...] = ()
    for name, start in starts.items():
        say(f"starting {name}")
        try:
            contender = start()
        except LeftOut as reason:
            notes.append(f"{name}: left out: {reason}")
            continue
        ours = ours or contender.losses
        check(name, contender.losses, ours if contender.losses else (), tolerance)
        contenders[name] = contender
        notes += [f"{name}: {contender.note}"] if contender.note else []
    say("measuring")
    return race(contenders, rounds), notes


def race(contenders: Mapping[str, Contender], rounds: int, rest: float = 0.01) -> dict[str, Timing]:
    """Run every contender once per round; every other round in reverse, so that none always follows the same one.

    `rest` seconds pass before each run, so that the threads of the previous one stop waiting for more work.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            time.sleep(rest)
            times[name].append(contenders[name].run())
    return {name: Timing.of(values, contenders[name].cost) for name, values in times.items()}


def check(name: str, theirs: Sequence[float], ours: Sequence[float], tolerance: float) -> None:
    """Raise BenchError unless the numbers of a contender are ours."""
    for their, our in zip(theirs, ours, strict=True):
        if not abs(their - our) <= tolerance * abs(our):
            raise BenchError(f"{name} does not do the same work: it computes {their:.9g} where ours is {our:.9g}")


def repeated(run: Callable[[int], object], seconds: float | None = None) -> Contender:
    """Return a contender that calls `run(count)` with a count that takes about `seconds`, by default SECONDS.

    `run` does `count` units of work, at least 1, and returns when they are done. It is called here to find the count.
    """
    seconds, count = SECONDS if seconds is None else seconds, 1
    while (elapsed := min(_seconds(run, count), _seconds(run, count))) < seconds / 8:
        count *= 4
    count = max(1, round(count * seconds / elapsed))
    return Contender(lambda: _seconds(run, count) / count)


def say(message: str) -> None:
    """Tell a person who waits at a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"... {message}", file=sys.stderr, flush=True)


def _seconds(run: Callable[[int], object], count: int) -> float:
    begin = time.perf_counter()
    run(count)
    return time.perf_counter() - begin


class Program(NamedTuple):
    """A function from state to state, and what it runs on."""

    function: Callable[[Any, Any], tuple[Any, Any]]  # (state, feed) -> (state, output); it may donate the state
    state: Any  # before the first call
    feeds: Sequence[Any]  # the calls take them in turn, and begin again after the last
    units: int  # of work per call
    wait: Callable[[Any], object] = jax.block_until_ready  # takes the output and returns when it is ready
    losses: Callable[[Any], Any] | None = None  # takes the output and returns the losses of its steps

    def contender(self, seconds: float | None = None) -> Contender:
        """Return a contender that calls the function as often as fits into `seconds`, as in `repeated`.

        Each call takes the state of the previous one. The first ones, made here, compile the function.
        """
        state, feeds, output = jax.block_until_ready(self.state), itertools.cycle(self.feeds), None
        cost = Cost()
        if hasattr(self.function, "lower"):  # the first call finds what is compiled here
            begin = time.perf_counter()
            compiled = self.function.lower(state, self.feeds[0]).compile()
            flops = count_flops(jax.make_jaxpr(self.function)(state, self.feeds[0]).jaxpr) / self.units
            cost = Cost(time.perf_counter() - begin, flops, (compiled.cost_analysis() or {}).get("bytes accessed"))

        def run(count: int) -> None:
            nonlocal state, output
            for _ in range(count):
                state, output = self.function(state, next(feeds))
                self.wait(output)

        first, losses = _seconds(run, 1), np.empty(0)
        for _ in range(2 if self.losses else 0):  # a chunk may be a single step
            losses = np.append(losses, self.losses(output) if self.losses else ())
            if losses.size < 2:
                run(1)
        calls = repeated(run, seconds)
        cost = cost._replace(compile_seconds=first + (cost.compile_seconds or 0))
        return Contender(lambda: calls.run() / self.units, cost, tuple(losses[:2].tolist()))


def count_flops(jaxpr: Any) -> float:
    """Return the operations in the matrix products of a program that JAX has traced; a while loop counts as one round.

    Example:
        >>> step = lambda h, x: (h @ x, None)
        >>> loop = jax.make_jaxpr(lambda h, x: jax.lax.scan(step, h, x))(jnp.ones((3, 5)), jnp.ones((7, 5, 5)))
        >>> count_flops(loop.jaxpr)
        1050.0
    """
    total = 0.0
    for equation in jaxpr.eqns:
        parameters = equation.params
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        inner = [
            count_flops(getattr(value, "jaxpr", value))
            for value in jax.tree.leaves(list(parameters.values()), is_leaf=lambda value: hasattr(value, "eqns"))
            if hasattr(getattr(value, "jaxpr", value), "eqns")
        ]
        times = {"scan": "length", "shard_map": "mesh"}.get(equation.primitive.name)
        factor = getattr(parameters[times], "size", parameters[times]) if times else 1
        total += factor * (max if equation.primitive.name in ("cond", "platform_index") else sum)([0, *inner])
    return total


def measure(
    step: Callable[[Any, Any], Any], state: Any, batch: Any, *, rounds: Count = 15, seconds: Positive = 0.1
) -> Timing:
    """Measure a jitted step of your own: `step(state, batch)` returns the next state, or a tuple that begins with it.

    Each call takes the state of the previous one, so the step may donate it; yours is copied first. A round calls the
    step for about `seconds`, after calls that do not count. The result is in seconds per call; its `cost` says how long
    compilation took, and what the program computes and moves. Raises JaxrnnError if the step returns something else.

    Example:
        >>> step = jax.jit(lambda w, x: (w - 0.1 * x.T @ (x @ w), x.sum()), donate_argnums=0)
        >>> timing = measure(step, jnp.ones((8, 2)), jnp.ones((4, 8)), rounds=3, seconds=0.001)
        >>> len(timing.rounds), timing.cost.flops, timing.lower <= timing.median <= timing.upper
        (3, 256.0, True)
    """
    check_arguments(measure, locals())
    shape, result = jax.eval_shape(lambda: state), jax.eval_shape(step, state, batch)
    is_state = result == shape
    if not is_state and (not isinstance(result, tuple) or not result or result[0] != shape):
        raise JaxrnnError(
            "the step must return the next state, with the shapes and types of `state`, or a tuple that begins with it"
        )
    function = jax.jit(
        lambda state, batch: (step(state, batch) if is_state else step(state, batch)[0], ()), donate_argnums=0
    )
    program = Program(function, jax.tree.map(jnp.copy, state), [batch], 1)
    return race({"": program.contender(seconds)}, rounds)[""]

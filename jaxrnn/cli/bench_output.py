"""What `jaxrnn bench` shows: tables, comma-separated values, charts."""

import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from jaxrnn.bench import references
from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.limits import Limits
from jaxrnn.bench.references import LIBRARIES
from jaxrnn.bench.suites import LETTERS
from jaxrnn.bench.timing import Result, Timing
from jaxrnn.cli.output import table
from jaxrnn.network.cells import get_cell
from jaxrnn.plots import benchmark
from jaxrnn.runs.provenance import computed_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def number(value: float) -> str:
    """Return a number with three significant digits, and with all those before the point.

    Example:
        >>> number(0.6213), number(75.84), number(1234567.8)
        ('0.621', '75.8', '1,234,568')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def unit_of(result: Result) -> tuple[str, float]:
    """Return the unit of time that suits the measurements: its name, and how many seconds it has."""
    return ("ms", 1e-3) if min(timing.median for timing in result.seconds.values()) > 1e-3 else ("us", 1e-6)


def result_table(result: Result) -> list[str]:
    """Return the table in lines, the header first; without quartiles where these would make them too long."""
    name, unit = unit_of(result)
    columns: dict[str, dict[str, str]] = {
        name: {key: number(timing.median / unit) for key, timing in result.seconds.items()},
        "quartiles": {
            key: f"{number(timing.lower / unit)}-{number(timing.upper / unit)}"
            for key, timing in result.seconds.items()
        },
    }
    if result.characters:
        rates = {key: number(result.characters / timing.median) for key, timing in result.seconds.items()}
        columns["char/s"] = rates
    for header, ratios in result.columns.items():
        columns[header] = {key: number(ratio.median) for key, ratio in ratios.items()}
    costs = {key: timing.cost for key, timing in result.seconds.items() if timing.cost.compile_seconds}
    if costs:
        columns["compile"] = {key: f"{cost.compile_seconds:.2f} s" for key, cost in costs.items()}
        columns["Mflop"] = {key: number(cost.flops / 1e6) for key, cost in costs.items() if cost.flops}
        columns["MB"] = {key: number(cost.bytes / 1e6) for key, cost in costs.items() if cost.bytes}
    headers = {header: cells for header, cells in columns.items() if cells or header in result.columns}
    lines: list[str] = []
    for left_out in ("", "quartiles"):
        shown = {header: cells for header, cells in headers.items() if header != left_out}
        cells_of = {key: [cells.get(key, "-") for cells in shown.values()] for key in result.seconds}
        lines = table([["", *shown], *([key, *cells] for key, cells in cells_of.items())], range(1, len(shown) + 1))
        if max(map(len, lines)) <= 100:
            break
    return lines


def csv_rows(result: Result, against: Mapping[str, Timing]) -> list[list[Any]]:
    """Return the numbers of the table, unrounded and in seconds, the header first; nothing where there is none."""
    columns = {**result.columns, **({"x against": against} if against else {})}
    names = ["compile_seconds", "flops", "bytes", *columns]
    rows: list[list[Any]] = [["contender", "seconds", "lower", "upper", *names]]
    for key, timing in result.seconds.items():
        ratios = [cells[key].median if key in cells else None for cells in columns.values()]
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


def describe_machine() -> dict[str, Any]:
    """Return what a reader of a measurement has to know about the machine and its software."""
    packages = ("jaxrnn", "jax", "jaxlib", "numpy", "optax", "torch", *LIBRARIES.values())
    return {
        **computed_by(len(jax.devices())),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: references.version(name) for name in packages}},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    versions = machine["versions"]
    names = ("jax", "numpy", "torch", *LIBRARIES.values())
    software = ", ".join(f"{name} {versions[name]}" for name in names if versions.get(name))
    return f"{machine.get('processor', 'host')}, {machine['cores']} cores; on {machine['device']}; {software}"


def explained(suite: str, result: Result, config: BenchConfig) -> list[str]:
    """Return what the table of a suite means, in lines."""
    steps, details = config.training.chunk_length, result.details
    notes: list[str] = details.get("notes", [])
    median = "a median of ratios round by round"
    if suite == "step":
        lines = [
            f"jit: jaxrnn, one training step per call; chunk: {steps} steps per call; x NAME: how many times "
            f"the time of NAME, {median}",
            "Mflop: in matrix products; MB: what XLA expects a program to move, with the body of a loop counted once",
        ]
        return [*lines, *notes, *(_floor_lines(details["limits"], config) if "limits" in details else [])]
    if suite == "sample":
        every = f"{details['length']:,} characters of each stream per call; x: how many times as many"
        shared = f"streams are split over {config.devices} devices if these divide their number; else one writes them"
        return [
            f"{every} characters per second, all streams together, {median}",
            *notes,
            *[shared] * (config.devices > 1),
        ]
    if suite == "scaling":
        lines = []
        for axis, powers in details["exponents"].items():
            overall, last = (f"{LETTERS[axis]}^{powers[name]:.2f}" for name in ("overall", "last"))
            lines.append(f"{axis}: cost ~ {overall} over all sizes; ~ {last} at the end")
        return [
            *lines,
            "time per training step, the other sizes as in the first line; exponents by least squares on logarithms",
        ]
    if suite == "devices":
        cores, counts = details["cores"], [int(name.rpartition(" ")[2]) for name in result.seconds]
        lanes = f"{steps} steps per call, the same {config.training.batch_size} lanes in all"
        beyond = f"more devices than the {cores} cores show what splitting costs, not what they would gain"
        lines = [*notes, f"{lanes}; x: how many times the time of one device, {median}"]
        return [*lines, beyond] if cores and max(counts) > cores else lines
    if suite == "sweep":
        return [
            f"time per step of one model, {steps} steps per call; char/s: of all models; alone: the same runs, each by "
            f"its own chunk, one after another; x: how many times as fast, {median}"
        ]
    if suite == "startup":
        return [
            f"start: from the start of `jaxrnn train` until {steps} steps are done; first: with nothing compiled, "
            "second: with compiled programs in the cache; x first: fraction of the time of the first"
        ]
    return [
        "time per training step, or per character of all streams, with all kernels; by kernel: time without it / time "
        f"with it, {median}: above 1 it helps; -: it is not in this program",
        "tanh: min-char-rnn's workload, 100 steps per call; tanh-call: one; gru: B 16, T 48, H 128, Adam; lstm: B 50, "
        "T 50, H 128, Adam; lstm-512: B 64, T 64, H 512, Adam; dropout: B 32, T 64, H 384, Adam; sample: 1 and 64 "
        "streams; vocab-5000: tanh with V 5,000",
    ]


def _floor_lines(limits: Limits, config: BenchConfig) -> list[str]:
    training, model = config.training, config.training.model
    B, T, H, V = training.batch_size, training.sequence_length, model.hidden_size, model.vocab_size
    parts = limits.recurrent, limits.products, limits.update, limits.floor
    recurrent, products, update, floor = (number(1e6 * timing.median) for timing in parts)
    chain, megabytes = number(2e6 * T * limits.recurrent.median), number(limits.update_bytes / 1e6)
    full = ", with full products" if model.products != "full" else ""
    return [
        "",
        f"floor = 2T x recurrent product + other products + update = {floor} us{full}",
        f"  2T x {f'{recurrent} us':<15}{chain:>9} us   [{B}, {H}] x [{H}, {get_cell(model.cell).gates * H}], in turn",
        f"  other products      {products:>9} us   [{T * B}, {H}] x [{H}, {V}] and all gradients",
        f"  {f'{megabytes} MB':<20}{update:>9} us   what {training.optimizer.name} reads and writes",
    ]


def figure_of(suite: str, result: Result, title: str) -> "Figure":
    """Return the figure of what a suite measured: times as rows, ratios as rows, or curves over a size."""
    name, unit = unit_of(result)
    if suite == "kernels":
        series = {key: ratios for key, ratios in result.columns.items() if ratios}
        return benchmark.rows(series, "ratio", 1.0, title, None)
    if suite in ("step", "startup"):
        return benchmark.rows({"": result.seconds}, name, unit, title, number)
    if result.characters:
        per_second = {
            key: Timing.of(result.characters / seconds for seconds in timing.rounds)
            for key, timing in result.seconds.items()
        }
        return benchmark.curves(per_second, "characters per second", 1.0, title)
    return benchmark.curves(result.seconds, name, unit, title)

"""What a suite measured, as text that a person reads: no wider than 100 columns, every line says what it is."""

from typing import Any

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.devices import DevicesResult
from jaxrnn.bench.limits import Limits
from jaxrnn.bench.sample import SampleResult
from jaxrnn.bench.scaling import ScalingResult
from jaxrnn.bench.startup import StartupResult
from jaxrnn.bench.step import StepResult
from jaxrnn.bench.sweep import SweepResult
from jaxrnn.bench.timing import Timing

STEP_NAMES = {
    "jit": "jaxrnn, a jit call a step",
    "chunk": "jaxrnn, {K} steps a call",
    "full": "the same, full products",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torch.compile": "PyTorch, compiled",
}
LETTERS = {"hidden_size": "H", "sequence_length": "T", "batch_size": "B", "vocab_size": "V"}


def workload_line(config: BenchConfig) -> str:
    """Return the workload in a line."""
    sizes = ", ".join(f"{letter} {getattr(config, name)}" for name, letter in LETTERS.items())
    rounded = "" if config.products == "full" else f", products of {config.products}"
    split = f", devices {config.devices}" if config.devices > 1 else ""
    return f"{config.cell}, {sizes}, {config.dtype}{rounded}, {config.optimizer}{split}"


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    versions = machine["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("jax", "numpy", "torch") if versions[name])
    device = machine["platform"] if machine["device"] == machine["platform"] else machine["device"]
    return f"{machine['processor']}, {machine['cores']} cores; on {device}; {named}"


def table(result: Any, config: BenchConfig) -> str:
    """Return the table of a suite's result."""
    kinds: dict[type, Any] = {
        StepResult: _step_table,
        SampleResult: _sample_table,
        StartupResult: _startup_table,
        ScalingResult: _scaling_table,
        SweepResult: _sweep_table,
        DevicesResult: _devices_table,
    }
    lines: list[str] = kinds[type(result)](result, config)
    return "\n".join(line.rstrip() for line in lines)


def _range(timing: Timing, unit: float, digits: int) -> str:
    return (
        f"{timing.median / unit:>9,.{digits}f}  {timing.lower / unit:>7,.{digits}f}-{timing.upper / unit:<7,.{digits}f}"
    )


def _digits(value: float) -> int:
    """Return how many digits after the point show three in all."""
    return 2 if value < 10 else 1 if value < 100 else 0


def _figures(value: float) -> str:
    """Return a number with three figures, and all those before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _step_table(result: StepResult, config: BenchConfig) -> list[str]:
    steps, ratios = {**result.step_seconds, "floor": result.limits.floor}, result.ratios
    lines = ["training step              us/step  quartiles           char/s GFLOP/s  peak   x jit x chunk x floor"]
    for name, title in {**STEP_NAMES, "floor": "floor, see below"}.items():
        title = title.format(K=config.chunk_length)
        if name == "full" and name not in steps:
            continue
        if name not in steps:
            lines.append(f"{title:<25} {result.notes[name]}")
            continue
        timing = steps[name]
        rate = result.flop / timing.median
        times = [_times(ratios, name, other) for other in ("jit", "chunk", "floor")]
        lines.append(
            f"{title:<25}{_range(timing, 1e-6, _digits(timing.median * 1e6))}"
            f"{result.characters / timing.median:>11,.0f}"
            f"{rate / 1e9:>8,.{_digits(rate / 1e9)}f}{100 * result.share_of_peak[name].median:>5.1f}%"
            f"{times[0]:>8}{times[1]:>8}{times[2]:>8}"
        )
    compiled, memory = result.compile_seconds, result.peak_memory
    return [
        *lines,
        "x jit: how many times the time of one jit call a step, a median of ratios round by round; x chunk:",
        f"of a step in calls of {config.chunk_length}; peak: of the largest product rate below; "
        f"a step has {_figures(result.flop / 1e6)} MFLOP.",
        *(f"{STEP_NAMES[name]}: {note}" for name, note in result.notes.items() if name in steps),
        "",
        *_limit_lines(result.limits, config, result),
        "",
        f"compile and first run: one step {compiled['jit']:.2f} s, {config.chunk_length} steps "
        f"{compiled['chunk']:.2f} s",
        f"peak memory after training: process {_bytes(memory['process'])}, device "
        + (_bytes(memory["device"]) if memory["device"] is not None else "not counted here"),
    ]


def _times(ratios: dict[str, Timing], name: str, other: str) -> str:
    if name == other:
        return "1"
    if name == "floor":
        return f"{1 / ratios[f'{other}/floor'].median:.2f}"
    ratio = ratios[f"{name}/{other}"].median
    return f"{ratio:,.{_digits(ratio)}f}"


def _limit_lines(limits: Limits, config: BenchConfig, result: StepResult) -> list[str]:
    T, H, B, TB = config.sequence_length, config.hidden_size, config.batch_size, result.characters
    width = (result.flop // (6 * TB) - H * config.vocab_size) // H
    products_rate = limits.products_flop / limits.products.median
    parts = [
        (
            f"2T x {_figures(limits.recurrent.median * 1e6)} us",
            2 * T * limits.recurrent.median,
            f"[{B}, {H}] x [{H}, {width}], each waiting for the one before",
        ),
        (
            f"{_figures(limits.products_flop / 1e6)} MFLOP / {_figures(products_rate / 1e9)} GFLOP/s",
            limits.products.median,
            f"[{TB}, {H}] x [{H}, {config.vocab_size}] and gradients of Why, h, Whh",
        ),
        (
            f"{_bytes(limits.update_bytes)} / {_figures(limits.bandwidth.median / 1e9)} GB/s",
            limits.update.median,
            f"what {config.optimizer} has to read and write",
        ),
    ]
    return [
        f"floor = 2T x recurrent product + other products + update = {_figures(limits.floor.median * 1e6)} us"
        + (", with full products" if config.products != "full" else ""),
        *(f"  {formula:<30}{_figures(seconds * 1e6):>9} us   {what}" for formula, seconds, what in parts),
        f"limits of this machine, measured in the same rounds: product [{limits.peak_size}, {limits.peak_size}] "
        f"{_figures(limits.peak.median / 1e9)} GFLOP/s,",
        f"  memory {_figures(limits.memory_bandwidth.median / 1e9)} GB/s (arrays of 64 MB)",
    ]


def _sample_table(result: SampleResult, config: BenchConfig) -> list[str]:
    lines = ["sampling, all streams together     char/s  quartiles                  x NumPy  x one  compile"]
    first = next(iter(result.compile_seconds))
    for name, timing in result.character_seconds.items():
        # Of the time a character takes, the upper quartile is the lower one of characters a second.
        rates = f"{1 / timing.median:>12,.0f}  {1 / timing.upper:>11,.0f}-{1 / timing.lower:<12,.0f}"
        if name == "numpy":
            lines.append(f"{'NumPy, 1 stream':<29}{rates}{'1':>9}")
            continue
        gain = "1" if name == first else f"{result.ratios[f'{first}/{name}'].median:.2f}"
        title = f"jaxrnn, {int(name):,} stream{'s' * (name != '1')}"
        lines.append(
            f"{title:<29}{rates}{result.ratios[f'numpy/{name}'].median:>9.2f}{gain:>7}"
            f"{result.compile_seconds[name]:>7.2f} s"
        )
    if config.devices > 1:
        lines.append(f"streams that {config.devices} devices divide are split over them, others are drawn by one")
    return [
        *lines,
        f"{config.sample_length:,} characters of each stream a call; x: how many times as many characters a second,",
        f"medians of ratios, round by round; x one: as {first} stream{'s' * (first != '1')}; NumPy: {result.note}",
    ]


def _startup_table(result: StartupResult, config: BenchConfig) -> list[str]:
    lines = ["from the start of the process                       seconds  quartiles"]
    caches = {"first start": "nothing compiled yet", "second start": "compiled programs kept"}
    for which, cache in caches.items():
        lines.append(
            f"{f'train, {which}: {config.chunk_length} steps done':<50}{_range(result.first_steps[which], 1, 2)}"
        )
        lines.append(f"{f'train, {which}: end ({cache})':<50}{_range(result.end[which], 1, 2)}")
    titles = {"python": "python -c pass", "import training": "import jaxrnn.runs", "help": "jaxrnn --help"}
    lines += [f"{titles.get(name, name):<50}{_range(timing, 1, 2)}" for name, timing in result.imports.items()]
    return [*lines, f"steps of the second start done in {result.ratio.median:.2f} x the time of the first"]


def _scaling_table(result: ScalingResult, config: BenchConfig) -> list[str]:
    lines = []
    for axis, growth in result.axes.items():
        letter = LETTERS[axis]
        costs = [timing.median * 1e6 for timing in growth.step_seconds]
        lines += [
            f"{f'{letter}, ' + axis.replace('_', ' '):<22}" + "".join(f"{size:>12,}" for size in growth.sizes),
            f"{'us/step':<22}" + "".join(f"{cost:>12,.{_digits(cost)}f}" for cost in costs),
            f"{'us/step, quartiles':<22}"
            + "".join(
                f"{f'{timing.lower * 1e6:,.0f}-{timing.upper * 1e6:,.0f}':>12}" for timing in growth.step_seconds
            ),
            f"{'compile and first run':<22}" + "".join(f"{seconds:>10.2f} s" for seconds in growth.compile_seconds),
            f"cost ~ {letter}^{growth.exponent:.2f} over all; ~ {letter}^{growth.last_exponent:.2f} at the end",
            "",
        ]
    return [*lines, "the other sizes as in the first line; exponents by least squares on logarithms of medians"]


def _sweep_table(result: SweepResult, config: BenchConfig) -> list[str]:
    lines = ["models   us/step of one  quartiles        char/s in all   one by one      x  quartiles      compile"]
    for name, timing in result.together.items():
        ratio = result.ratios[name]
        lines.append(
            f"{int(name):>6,}   {_range(timing, 1e-6, _digits(timing.median * 1e6))}"
            f"{result.characters / timing.median:>12,.0f}{result.characters / result.alone[name].median:>13,.0f}"
            f"{ratio.median:>7.2f}  {ratio.lower:>5.2f}-{ratio.upper:<5.2f}{result.compile_seconds[name]:>9.2f} s"
        )
    return [
        *lines,
        f"{config.chunk_length} steps a call; one by one: characters a second of the same runs, each by its own",
        "chunk, one after another; x: how many times as many there are in all, medians of ratios by round",
    ]


def _devices_table(result: DevicesResult, config: BenchConfig) -> list[str]:
    lines = ["devices          ms/step  quartiles             char/s   x one device  quartiles      compile"]
    for count in sorted(map(int, {**result.step_seconds, **result.notes})):
        name = str(count)
        if name in result.notes:
            lines.append(f"{count:>7,}   left out: {result.notes[name]}")
            continue
        timing, ratio = result.step_seconds[name], result.ratios[name]
        lines.append(
            f"{count:>7,}      {_range(timing, 1e-3, 2)}{result.characters / timing.median:>13,.0f}"
            f"{ratio.median:>15.2f}  {ratio.lower:>5.2f}-{ratio.upper:<5.2f}{result.compile_seconds[name]:>9.2f} s"
        )
    lines += [
        f"{config.chunk_length} steps a call, the same {config.batch_size} lanes in all; x one device: how many times",
        "the time of a step on one device, medians of ratios by round",
    ]
    if result.cores is not None and max(map(int, result.step_seconds)) > result.cores:
        lines.append(
            f"more devices than the {result.cores} cores there are show what splitting costs, not what they would give"
        )
    return lines


def _bytes(count: int | None) -> str:
    value, units = float(count or 0), iter(("bytes", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000:
        value, unit = value / 1000, next(units)
    return f"{_figures(value)} {unit}"

"""`jaxrnn bench`: what a training step, a sample, a start costs here, beside references and the machine's limits."""

import csv
import dataclasses
import importlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import jaxrnn
from jaxrnn.bench.config import BenchConfig, BenchError
from jaxrnn.cli.arguments import PresetFlag, ProcessFlags
from jaxrnn.cli.flags import some_setting_flags
from jaxrnn.cli.output import json_text, print_result, save_figure, table
from jaxrnn.cli.process import set_up_jax
from jaxrnn.cli.python_file import cell_of, optimizer_of
from jaxrnn.config import PRESETS, OptimizerConfig, TrainConfig, read_config, with_settings
from jaxrnn.config.atomic import check_writable, commit
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError

Suite = Literal["step", "sample", "startup", "scaling", "sweep", "devices", "kernels"]
_SETTINGS = (
    *("cell", "hidden_size", "num_layers", "sequence_length", "batch_size", "dropout", "dtype", "products"),
    *("optimizer", "chunk_length"),
)
_RESULTS = tyro.conf.arg(name="results", help="What to print, write and compare.")
_PARTS = (  # of a training run: what its steps depend on
    *("model", "optimizer", "sequence_length", "batch_size", "chunk_length", "steps", "seed", "average_decay"),
)


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What to print, write and compare."""

    json: bool = False
    """Print one line of JSON instead of the table."""
    csv: bool = False
    """Print comma-separated values instead of the table, times in seconds."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw a chart, as .png or .svg."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write everything measured to a file, for --against."""
    against: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Compare with a file that --save wrote: ratios of the times, and their quartiles."""
    fail_above: Annotated[float | None, tyro.conf.arg(metavar="RATIO", help_behavior_hint="")] = None
    """Exit with code 1 if a program of ours takes more than RATIO times as long as in --against, such as 1.05."""
    trace: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write a profile of the training step to DIR, for Perfetto or TensorBoard; the suite step only."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed against NumPy, PyTorch, flax, haiku, equinox and the machine's own limits.

    By default on min-char-rnn's workload. `pip install '.[bench]'` installs the other libraries but PyTorch; what
    is not installed is left out. `jaxrnn.bench.measure` measures any jitted step in Python.
    """

    workload: Annotated[Any, some_setting_flags(*_SETTINGS)]
    suite: Annotated[tyro.conf.Positional[Suite], tyro.conf.arg(metavar="SUITE")] = "step"
    """step: a training step. sample: characters per second. startup: whole processes. scaling: cost against size.
    sweep: many models at once. devices: a step on 1, 2, 4, ... devices; by default B 64, H 256, on up to 8.
    kernels: what each kernel of jaxrnn.kernels earns."""
    preset: PresetFlag = None
    """Settings to start from; other flags win over them."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A run's config.json to start from; other flags win over it."""
    vocab_size: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: 65, or that of --config)")] = None
    """Distinct symbols (V)."""
    devices: int | Literal["auto"] = "auto"
    """Devices that share the lanes of the suite `step` or the streams of `sample`; the most that `devices` tries.
    auto: as `jaxrnn train` chooses in `step`, 8 in `devices`, else 1."""
    repeats: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 5 to 15)")] = None
    """Rounds; each measures everything once."""
    options: Annotated[BenchOptions, _RESULTS] = dataclasses.field(default_factory=BenchOptions)

    def bench_config(self) -> BenchConfig:
        """Return the workload: of --preset or --config, changed by flags."""
        if self.preset and self.config:
            raise JaxrnnError("--preset and --config both say what to start from; give one of them")
        settings, optimizer = dict(self.workload), None
        training = read_config(self.config, may_wait=True) if self.config else PRESETS[self.preset or "min-char-rnn"]
        if self.suite == "devices" and not (self.preset or self.config):  # lanes to share
            settings = {"batch_size": 64, "hidden_size": 256, **settings}
        if "cell" in settings:
            settings["cell"] = cell_of(settings["cell"])
        if "optimizer" in settings:
            settings["optimizer"], optimizer = optimizer_of(settings["optimizer"])
            name = settings["optimizer"]
            if name != training.optimizer.name:  # what was set for another rule is not for this one
                training = dataclasses.replace(training, optimizer=OptimizerConfig(name=name))
        settings["vocab_size"] = (training.model.vocab_size or 65) if self.vocab_size is None else self.vocab_size
        training = with_settings(TrainConfig(**{name: getattr(training, name) for name in _PARTS}), settings)
        devices = 8 if self.suite == "devices" else 1
        if self.devices != "auto":
            devices = self.devices
        return BenchConfig(training, optimizer, devices, self.repeats)

    def run(self) -> None:
        """Measure and print."""
        config, options = self.bench_config(), self.options
        self._check(config)
        set_up_jax(config.training.model.dtype)
        if self.suite == "devices":
            from jaxrnn.distributed.mesh import make_cpu_devices

            make_cpu_devices(config.devices, beyond_cores=True)
        devices = self.devices if self.suite == "step" else config.devices
        flags: Any = ProcessFlags(devices=devices, num_processes=1).set_up_training(config.training)
        if self.suite == "step":
            config = dataclasses.replace(config, devices=flags.devices)
            flags.mesh("batch_size", config.training.batch_size)
        import jax

        from jaxrnn.cli import bench_comparison as comparison
        from jaxrnn.cli import bench_output as output
        from jaxrnn.runs.programs import ChunkLimit

        if options.plot:
            jaxrnn.plots.check_plot_file(options.plot)
        if options.save:
            check_writable(options.save)
            if options.save.exists():
                comparison.read_measurement(options.save)  # raises if it is something else, which would be lost
        if "chunk_length" not in self.workload:  # as many as in a training run
            config = config.changed(chunk_length=ChunkLimit(config.training).steps)
        jax.config.update("jax_enable_compilation_cache", False)  # compile times are results here
        machine = output.describe_machine()
        values: dict[str, Any] = {
            "suite": self.suite,
            "config": {**vars(config), "optimizer": "custom" if config.optimizer else None},
            "machine": machine,
        }
        values = json.loads(json_text(values))
        baseline, notes = comparison.read_baseline(options.against, values) if options.against else ({}, [])
        title = f"{output.workload_line(config)}\n{output.machine_line(machine)}"
        if not options.json and not options.csv:
            print(f"{title}\nXLA_FLAGS: {machine['xla_flags'] or 'none'}\n", flush=True)
        module = self.suite if self.suite in ("startup", "kernels") else "suites"
        measure = getattr(importlib.import_module(f"jaxrnn.bench.{module}"), f"measure_{self.suite}")
        result: jaxrnn.bench.timing.Result = measure(config)
        values["result"] = vars(result)
        lines = output.result_table(result)
        lines += [textwrap.fill(line, 100) for line in output.explained(self.suite, result, config)]
        if options.trace:
            lines += self._trace(config, options.trace, values)
        if options.save:
            commit(options.save, json_text(values).encode())
            lines.append(f"saved: {options.save}")
        if options.plot:
            lines.append(save_figure(output.figure_of(self.suite, result, title), options.plot))
        ratios = comparison.ratios(result.seconds, baseline)
        if options.against:
            values["ratios"] = ratios
            lines += ["", *table(comparison.ratio_rows(ratios, options.against), right=(1, 2)), *notes]
        if options.csv:
            csv.writer(sys.stdout, lineterminator="\n").writerows(output.csv_rows(result, ratios))
        else:
            print_result(options.json, values | {"plot": options.plot, "trace": options.trace}, *lines)
        if options.against and not ratios:
            raise BenchError(
                f"{options.against} has no measurement of {', '.join(result.seconds)}; nothing is compared"
            )
        slower = [] if options.fail_above is None else comparison.slower(ratios, options.fail_above)
        if slower:
            limit = f"--fail-above allows {options.fail_above:g}"
            raise BenchError(f"slower than in {options.against}: {', '.join(slower)}; {limit}")

    def _check(self, config: BenchConfig) -> None:
        """Raise JaxrnnError for flags that contradict each other, before anything is measured."""
        options = self.options
        if config.devices > 1 and self.suite not in ("step", "sample", "devices"):
            raise JaxrnnError(f"the suite {self.suite} computes on one device; leave --devices out")
        if self.suite == "kernels" and (self.workload or self.preset or self.config or self.vocab_size is not None):
            raise JaxrnnError("the suite kernels has workloads of its own; leave the flags of the workload out")
        if self.suite in ("startup", "sweep") and (config.optimizer or not isinstance(config.training.model.cell, str)):
            raise JaxrnnError(f"the suite {self.suite} takes built-in cells and optimizers; name one")
        if options.json and options.csv:
            raise JaxrnnError("--json and --csv are two forms of the result; give one of them")
        check_in(options.fail_above, "(0, inf)", "--fail-above")
        if options.fail_above is not None and not options.against:
            raise JaxrnnError("--fail-above needs --against FILE, the measurement to compare with")
        if options.trace and self.suite != "step":
            raise JaxrnnError(f"--trace records a training step; leave it out of the suite {self.suite}")

    def _trace(self, config: BenchConfig, directory: Path, values: dict[str, Any]) -> list[str]:
        from jaxrnn.bench.trace import record
        from jaxrnn.bench.workload import make_workload, training_program

        shares = record(training_program(make_workload(config), chunked=True), directory)
        values["shares"] = shares
        in_words = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        return [f"trace: {directory}, with the track `algorithm`; share of time: {in_words}"]

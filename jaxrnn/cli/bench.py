"""`jaxrnn bench`: what a training step, a sample, a start costs here, beside references and the machine's limits."""

import dataclasses
import importlib
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import jaxrnn
from jaxrnn.bench.config import BenchConfig
from jaxrnn.cli.arguments import DeviceFlags
from jaxrnn.cli.flags import field_flags
from jaxrnn.cli.output import fields_of, print_result, save_figure, table
from jaxrnn.cli.process import set_up_jax
from jaxrnn.errors import JaxrnnError

Suite = Literal["step", "sample", "startup", "scaling", "sweep", "devices", "kernels"]


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed against NumPy, PyTorch and the machine's own limits; by default on min-char-rnn's workload."""

    workload: Annotated[Any, field_flags(BenchConfig)]
    suite: Annotated[tyro.conf.Positional[Suite], tyro.conf.arg(metavar="SUITE")] = "step"
    """step: a training step. sample: characters per second. startup: whole processes. scaling: cost against size.
    sweep: many models at once. devices: a step on 1, 2, 4, ... devices; by default B 64, H 256, on up to 8.
    kernels: what each kernel of jaxrnn.kernels earns."""
    json: bool = False
    """Print one line of JSON instead of the table."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw a chart, as .png or .svg."""

    def config(self) -> BenchConfig:
        """Return the workload: min-char-rnn's, or one with lanes to share for the suite `devices`, changed by flags."""
        defaults = {"batch_size": 64, "hidden_size": 256, "devices": 8} if self.suite == "devices" else {}
        return BenchConfig(**{**defaults, **self.workload})

    def run(self) -> None:
        """Measure and print."""
        config = self.config()
        if config.devices > 1 and self.suite not in ("step", "sample", "devices"):
            raise JaxrnnError(f"the suite {self.suite} computes on one device; leave --devices out")
        set_up_jax(config.dtype)
        device = DeviceFlags(devices=config.devices)
        if self.suite == "devices":
            from jaxrnn.distributed.mesh import make_cpu_devices

            make_cpu_devices(config.devices, beyond_cores=True)
        device.set_up()
        if self.suite == "step":
            device.mesh("batch_size", config.batch_size)
        import jax

        from jaxrnn.bench.result import Result, describe_machine, draw, machine_line, workload_line

        if self.plot:
            jaxrnn.plots.check_plot_file(self.plot)
        jax.config.update("jax_enable_compilation_cache", False)  # compile times are results here
        machine = describe_machine()
        title = f"{workload_line(config)}\n{machine_line(machine)}"
        if not self.json:
            print(f"{title}\nXLA_FLAGS: {machine['xla_flags'] or 'none'}\n", flush=True)
        module = self.suite if self.suite in ("startup", "kernels") else "suites"
        measure = getattr(importlib.import_module(f"jaxrnn.bench.{module}"), f"measure_{self.suite}")
        result: Result = measure(config)
        rows = result.table()
        lines = table(rows, right=range(1, len(rows[0])))
        lines += [textwrap.fill(line, 100) for line in result.lines]
        if self.plot:
            save_figure(draw(result, title), self.plot)
            lines.append(f"plot: {self.plot}")
        measured = fields_of(result, "seconds", "columns", "characters", "details")
        values = {"suite": self.suite, "config": dataclasses.asdict(config), "machine": machine, "result": measured}
        print_result(self.json, values | {"plot": self.plot}, *lines)

"""`jaxrnn bench`: what a training step, a sample, a start costs here, beside references and the machine's limits."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tyro

from jaxrnn.bench.config import BenchConfig
from jaxrnn.cli.device_flags import DeviceFlags
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.output import print_result, save_figure
from jaxrnn.errors import JaxrnnError

Suite = Literal["step", "sample", "startup", "scaling", "sweep", "devices"]


@dataclasses.dataclass(frozen=True)
class Bench(BenchConfig):
    """Measure speed against NumPy, PyTorch and the machine's own limits; by default, on min-char-rnn's work."""

    suite: Annotated[tyro.conf.Positional[Suite], tyro.conf.arg(metavar="SUITE")] = "step"
    """step: a training step. sample: characters a second. startup: whole processes. scaling: cost against size.
    sweep: many models at once. devices: a step on 1, 2, 4, ... devices; by default B 64, H 256, on up to 8."""
    json: bool = False
    """Print one line of JSON instead of the table."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw it, as .png or .svg."""

    @classmethod
    def defaults(cls, arguments: list[str]) -> Self:
        """Return what the flags begin from: as a rule min-char-rnn's work, whose one lane devices could not share."""
        if "devices" in arguments:
            return cls(suite="devices", batch_size=64, hidden_size=256, devices=8)
        return cls()

    def run(self) -> None:
        """Measure and print."""
        if self.devices > 1 and self.suite not in ("step", "sample", "devices"):
            raise JaxrnnError(f"the suite {self.suite} computes on one device; leave --devices out")
        set_up_jax(self.dtype)
        device = DeviceFlags(devices=self.devices)
        if self.suite == "devices":
            from jaxrnn.distributed.mesh import make_cpu_devices

            make_cpu_devices(self.devices, beyond_cores=True)
        device.set_up()
        if self.suite == "step":
            device.mesh("batch_size", self.batch_size)
        import jax

        from jaxrnn.bench.chart import draw
        from jaxrnn.bench.devices import measure_devices
        from jaxrnn.bench.machine import machine
        from jaxrnn.bench.sample import measure_sample
        from jaxrnn.bench.scaling import measure_scaling
        from jaxrnn.bench.startup import measure_startup
        from jaxrnn.bench.step import measure_step
        from jaxrnn.bench.sweep import measure_sweep
        from jaxrnn.bench.tables import machine_line, table, workload_line
        from jaxrnn.plots import check_plot_file

        if self.plot:
            check_plot_file(self.plot)
        jax.config.update("jax_enable_compilation_cache", False)  # how long it takes to compile is a result here
        suites: dict[str, Callable[..., Any]] = {
            "step": measure_step,
            "sample": measure_sample,
            "startup": measure_startup,
            "scaling": measure_scaling,
            "sweep": measure_sweep,
            "devices": measure_devices,
        }
        config = BenchConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(BenchConfig)})
        measured_on = machine()
        flags = measured_on["XLA_FLAGS"] or "none"
        if not self.json:
            print(f"{workload_line(config)}\n{machine_line(measured_on)}\nXLA_FLAGS: {flags}\n", flush=True)
        result: Any = suites[self.suite](config, _say)
        lines = [table(result, config)]
        if self.plot:
            save_figure(draw(result, config, machine_line(measured_on)), self.plot)
            lines.append(f"plot: {self.plot}")
        values = {
            "suite": self.suite,
            "config": dataclasses.asdict(config),
            "machine": measured_on,
            "result": result,
            "plot": self.plot,
        }
        print_result(self.json, values, "\n".join(lines))


def _say(message: str) -> None:
    """Tell somebody who waits at a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"... {message}", file=sys.stderr, flush=True)

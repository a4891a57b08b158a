"""The flags that choose devices and processes."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jax.sharding import Mesh


DEVICE = tyro.conf.arg(help="Where to compute.")  # annotates a field of the following types


@dataclasses.dataclass(frozen=True)
class DeviceFlags:
    """Where to compute."""

    device: Literal["cpu", "gpu", "tpu"] | None = None
    """Kind of device; by default the best that JAX finds."""
    devices: int | Literal["all"] = 1
    """Devices to split the lanes over, in all; by default 1, or all of many processes. A CPU core can be one."""

    def set_up(self) -> None:
        """Make JAX use the devices, before anything is computed.

        Raises:
            JaxrnnError: there is no such device.
        """
        import jax

        from jaxrnn.distributed.mesh import make_cpu_devices, use_device

        if self.devices != "all" and not jax.distributed.is_initialized():
            make_cpu_devices(self.devices)
        use_device(self.device)

    def mesh(self, name: str, lanes: int) -> "Mesh | None":
        """Return the devices to split a number of lanes over.

        Args:
            name: the flag that gives the number, for messages.
            lanes: the number.

        Raises:
            JaxrnnError: there are too few devices, or the lanes can't be split evenly.
        """
        from jaxrnn.distributed.mesh import check_divides, make_mesh

        mesh = make_mesh(self.devices)
        check_divides(mesh, name, lanes)
        return mesh


@dataclasses.dataclass(frozen=True)
class ProcessFlags(DeviceFlags):
    """Where to compute, and with which other processes."""

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Address of process 0, to train with many processes; found by itself under Slurm, MPI, Kubernetes, on TPU pods."""
    num_processes: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of processes; 1 is this one alone, whatever a launcher says."""
    process_id: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of this process, from 0. Only process 0 prints and writes files."""

    def set_up(self) -> None:
        """Join the other processes, if there are any, and make JAX use the devices."""
        from jaxrnn.distributed.processes import launched_together, start_processes

        if self.coordinator or (launched_together() and self.num_processes != 1):
            _keep_stdout_for_python()
            start_processes(self.coordinator, self.num_processes, self.process_id)
        elif self.process_id or (self.num_processes or 1) > 1:
            raise JaxrnnError("many processes need --coordinator HOST:PORT, the address of process 0")
        super().set_up()


def _keep_stdout_for_python() -> None:
    """Redirect to stderr what the library that joins processes writes to stdout, where it would break lines of JSON."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(stdout, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)

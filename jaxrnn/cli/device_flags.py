"""The flags that say where to compute."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclasses.dataclass(frozen=True)
class DeviceFlags:
    """Where it computes."""

    device: Literal["cpu", "gpu", "tpu"] | None = None
    """The kind of device; an error where there is none. By default the best there is."""
    devices: int | Literal["all"] = 1
    """How many devices to split the lanes over; with many processes in all, and by default all of theirs. Of a CPU
    each core can be one."""

    def set_up(self) -> None:
        """Let JAX compute there; to be called before anything is computed.

        Raises:
            JaxrnnError: there is no such device.
        """
        import jax

        from jaxrnn.distributed.mesh import make_cpu_devices, use_device

        if self.devices != "all" and not jax.distributed.is_initialized():
            make_cpu_devices(self.devices)
        use_device(self.device)

    def mesh(self, name: str, lanes: int) -> "Mesh | None":
        """Return the devices to split so many lanes over; `name` is the flag that says how many these are.

        Raises:
            JaxrnnError: there are not so many devices, or they don't divide the lanes.
        """
        from jaxrnn.distributed.mesh import check_divides, make_mesh

        mesh = make_mesh(self.devices)
        check_divides(mesh, name, lanes)
        return mesh


@dataclasses.dataclass(frozen=True)
class ProcessFlags(DeviceFlags):
    """Where it computes, and with whom."""

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Where process 0 listens, to train with many processes. Under Slurm, MPI, Kubernetes and on TPU pods it is found;
    the run directory must then be one that all of them see."""
    num_processes: int | None = None
    """How many processes there are; 1: this one alone, whatever a launcher says."""
    process_id: int | None = None
    """Which of them this one is, from 0; process 0 alone prints and writes files."""

    def set_up(self) -> None:
        """Join the other processes, if there are to be any, and let JAX compute."""
        from jaxrnn.distributed.processes import launched_together, start_processes

        given = self.coordinator, self.num_processes, self.process_id
        if self.coordinator or (launched_together() and self.num_processes != 1):
            _keep_stdout_for_python()
            start_processes(*given)
        elif self.process_id or (self.num_processes or 1) > 1:
            raise JaxrnnError("many processes need --coordinator HOST:PORT, where process 0 listens")
        super().set_up()


def _keep_stdout_for_python() -> None:
    """Send to stderr what the library that joins processes says of it on stdout, among lines of JSON."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)

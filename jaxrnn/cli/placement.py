"""The flags that say where to compute."""

import dataclasses
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where it computes."""

    device: Literal["cpu", "gpu", "tpu"] | None = None
    """The kind of device; an error where there is none. By default the best there is."""
    devices: int | Literal["all"] = 1
    """How many devices to split the lanes over."""

    def set_up(self) -> None:
        """Let JAX compute there; to be called before anything is computed.

        Raises:
            JaxrnnError: there is no such device.
        """
        from jaxrnn.sharding import use_device

        use_device(self.device)

    def mesh(self, name: str, lanes: int) -> "Mesh | None":
        """Return the devices to split so many lanes over; `name` is the flag that says how many these are.

        Raises:
            JaxrnnError: there are not so many devices, or they don't divide the lanes.
        """
        from jaxrnn.sharding import check_divides, make_mesh

        mesh = make_mesh(self.devices)
        check_divides(mesh, name, lanes)
        return mesh

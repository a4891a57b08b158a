"""Many devices as a mesh, many processes as one run."""

from jaxrnn.distributed.mesh import Devices, make_mesh

__all__ = ["Devices", "make_mesh"]

"""Many devices as a mesh with one axis, that of the lanes: data parallelism.

The lanes of a batch are split over the mesh, a contiguous group per device; parameters and optimizer memory are
replicated.

Any number of devices trains the same network: in float32, the losses of 50 steps differ by less than 1e-6 from those
of one device. (With Adagrad at its default learning rate of 0.1 training is chaotic, and rounding errors grow.) A
checkpoint from any number of devices resumes on any other. `evaluate --lanes` and `sample --num-samples` are split in
the same way; a sweep trains on one device.

On a CPU, `--devices N` makes a device of each of N cores; `jaxrnn train` chooses N (`cores.devices_for`).
JAX_NUM_CPU_DEVICES=8 makes eight, however many cores there are, to try things out: that shows the overhead of
splitting, not its gain.
"""

import contextlib
import numbers
import os
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.distributed.cores import available_cores
from jaxrnn.errors import JaxrnnError

LANES = "lanes"  # the mesh's only axis
NO_LANES: Any = -1  # in the place of an axis: the array is replicated

Devices = int | Literal["all"]
DeviceKind = Literal["cpu", "gpu", "tpu"]


def use_device(kind: DeviceKind | None = None) -> None:
    """Select the kind of device, by default JAX's, in full precision; call it before anything is computed.

    Raises JaxrnnError if there is none.
    """
    before, reason = jax.config.values["jax_platforms"], ""
    if kind:  # "gpu" is one of several platforms, which JAX finds if none is named
        jax.config.update("jax_platforms", "" if kind == "gpu" else kind)
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # what JAX_PLATFORMS names is not there
        cause = str(error).partition("\n")[0] or "what it needs is not installed"
        names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES")
        wishes = "".join(f"{name} is {os.environ[name]!r}; " for name in names if os.environ.get(name))
        backend, reason = "none", f" ({wishes}{cause})"
    if backend != (kind or backend) or backend == "none":
        jax.config.update("jax_platforms", before)
        raise JaxrnnError(
            f"there is no {kind or 'device'} that JAX can use here, it finds {backend}{reason}; choose another device, "
            f"or install what JAX needs for it, such as jax[{'tpu' if kind == 'tpu' else 'cuda13'}]"
        )
    if backend != "cpu":  # others round the factors of float32 products by default
        jax.config.update("jax_default_matmul_precision", "highest")


def make_cpu_devices(count: int, *, beyond_cores: bool = False) -> None:
    """Make a CPU count as several devices, by default at most one per core; call it before anything is computed.

    Nothing changes if the user has set the number (JAX_NUM_CPU_DEVICES), or if JAX already computes.
    """
    count = count if beyond_cores else min(count, available_cores())
    by_flag = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if count > 1 and not by_flag and jax.config.values["jax_num_cpu_devices"] == -1:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)


def make_mesh(devices: Devices) -> Mesh | None:
    """Return a mesh of this many devices, the first ones of each process; None for one device.

    With many processes, 1 means all of their devices. Raises JaxrnnError if there are fewer, or if the processes can't
    have equally many.
    """
    if devices != "all" and not isinstance(devices, numbers.Integral):
        raise JaxrnnError(f"devices must be a whole number or 'all', got {devices!r}")
    available, processes = jax.devices(), jax.process_count()
    count = len(available) if devices == "all" or processes > 1 == devices else devices
    by_process = [[device for device in available if device.process_index == index] for index in range(processes)]
    if len(set(map(len, by_process))) > 1:
        raise JaxrnnError("every process must have as many devices as the others; use machines that are alike")
    if count % processes:
        raise JaxrnnError(f"devices {count} can't be split over {processes} processes; give a multiple of {processes}")
    if not 1 <= count <= len(available):
        kind = available[0].platform
        hint = f"; JAX_NUM_CPU_DEVICES={count} makes that many of a CPU, to try things out"
        hint = hint if kind == "cpu" and count > 0 else ""
        raise JaxrnnError(f"devices must be from 1 to {len(available)}, the {kind} devices here, got {count}{hint}")
    chosen = [device for own in by_process for device in own[: count // processes]]
    return None if count == 1 else Mesh(np.array(chosen), (LANES,), axis_types=(AxisType.Auto,))


def check_divides(mesh: Mesh | None, name: str, lanes: int) -> None:
    """Raise JaxrnnError unless the devices of a mesh divide the lanes; `name` is the setting that gives these."""
    if mesh and lanes % mesh.size:
        fewer = max(count for count in range(1, mesh.size) if lanes % count == 0)
        raise JaxrnnError(
            f"{name} {lanes} can't be split over {mesh.size} devices; "
            f"make it a multiple of {mesh.size}, or devices {fewer}"
        )


def over_lanes(function: Callable[..., Any], mesh: Mesh, in_axes: Any, out_axes: Any) -> Callable[..., Any]:
    """Return a function of arrays that every device of a mesh runs on its own lanes, by `jax.shard_map`.

    Inside, devices communicate by `mean_over_devices` and `gather_lanes` only. `in_axes` gives the axis of the lanes,
    or NO_LANES, for each argument or, as a pytree, for each of its parts; `out_axes` does so for the result. Whatever
    has NO_LANES there must be equal on every device.
    """
    in_specs, out_specs = jax.tree.map(_spec, (in_axes, out_axes))
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def by_lanes(mesh: Mesh, axes: Any) -> Any:
    """Return how arrays are sharded over a mesh: a NamedSharding for each axis of lanes in a pytree of axes."""
    return jax.tree.map(lambda axis: NamedSharding(mesh, _spec(axis)), axes)


def _spec(axis: int) -> PartitionSpec:
    return PartitionSpec() if axis == NO_LANES else PartitionSpec(*[None] * axis, LANES)


def _inside_over_lanes() -> bool:
    try:
        lax.axis_size(LANES)
    except NameError:
        return False
    return True


def mean_over_devices(tree: Any) -> Any:
    """Return the mean over all devices; outside of `over_lanes` the arrays themselves."""
    return lax.pmean(tree, LANES) if _inside_over_lanes() else tree


def gather_lanes(array: jax.Array, axis: int) -> jax.Array:
    """Return the lanes of all devices, on every device."""
    return lax.all_gather(array, LANES, axis=axis, tiled=True)


def place_among_devices() -> tuple[jax.Array | int, int]:
    """Return the number of this device among all of `over_lanes`, and how many there are; outside of it, 0 and 1."""
    return (lax.axis_index(LANES), lax.axis_size(LANES)) if _inside_over_lanes() else (0, 1)


def local_lanes(mesh: Mesh | None, lanes: int) -> slice:
    """Return the slice of the lanes that this process owns and reads; its devices are neighbors on the mesh."""
    if mesh is None:
        return slice(None)
    indices = by_lanes(mesh, 0).addressable_devices_indices_map((lanes,)).values()
    begins, ends, _ = zip(*(index[0].indices(lanes) for index in indices if index), strict=True)
    return slice(min(begins), max(ends))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Return arrays replicated on a mesh; those of many processes already are."""
    return jax.device_put(tree, by_lanes(mesh, NO_LANES)) if jax.process_count() == 1 else tree


def on_first_device(tree: Any) -> Any:
    """Return the part of the arrays that this process's first device holds: of replicated ones, all."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)

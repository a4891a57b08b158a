"""Many devices: the mesh that they are, and what lies where on it.

The lanes of a batch are split over the mesh, a contiguous group of them a device; everything else, parameters and
optimizer's memory, lies whole on each. What a program has to send between devices is found by JAX's partitioner.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.errors import JaxrnnError

LANES = "lanes"  # the mesh's only axis

Devices = int | Literal["all"]


DeviceKind = Literal["cpu", "gpu", "tpu"]


def use_device(kind: DeviceKind | None = None) -> None:
    """Let JAX compute on this kind of device, in full precision; to be called before anything is computed.

    Args:
        kind: None takes the best there is.

    Raises:
        JaxrnnError: there is none.
    """
    before, reason = jax.config.values["jax_platforms"], ""
    if kind:  # a GPU is of one of several makers, which JAX looks for by itself where no kind is named
        jax.config.update("jax_platforms", "" if kind == "gpu" else kind)
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        found, reason = "none", f" ({str(error).splitlines()[0]})"
    if found != (kind or found) or found == "none":
        jax.config.update("jax_platforms", before)
        raise JaxrnnError(
            f"there is no {kind or 'device'} that JAX can use here, it finds {found}{reason}; choose another device, "
            f"or install what JAX needs for it, such as jax[{'tpu' if kind == 'tpu' else 'cuda13'}]"
        )
    if found != "cpu":  # the others round the factors of float32 products unless they are told not to
        jax.config.update("jax_default_matmul_precision", "highest")


def make_cpu_devices(count: int, *, beyond_cores: bool = False) -> None:
    """Let a CPU be so many devices, as a rule no more than it has cores; to be called before anything is computed.

    Where the user has said how many it is to be (JAX_NUM_CPU_DEVICES), or JAX computes already, it stays as it is.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    count = count if beyond_cores else min(count, available_cores())
    said = jax.config.values["jax_num_cpu_devices"] != -1 or "host_platform_device_count" in flags
    if not said and count > 1:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_mesh(devices: Devices) -> Mesh | None:
    """Return a mesh of so many devices, the first ones of each process; None for one, which needs none.

    Where there are many processes, all of their devices stand for one.

    Raises:
        JaxrnnError: there are not so many.
    """
    found = jax.devices()
    processes = jax.process_count()
    count = len(found) if devices == "all" or processes > 1 == devices else devices
    if len({sum(device.process_index == index for device in found) for index in range(processes)}) > 1:
        raise JaxrnnError(
            "every process must have as many devices as the others; start them on machines that are alike"
        )
    if count % processes:
        raise JaxrnnError(
            f"devices {count} can't be split over {processes} processes; make it a multiple of {processes}"
        )
    if not 1 <= count <= len(found):
        kind = found[0].platform
        more = f"; JAX_NUM_CPU_DEVICES={count} makes so many of a CPU, to try things out" if kind == "cpu" else ""
        raise JaxrnnError(f"devices must be from 1 to {len(found)}, the {kind} devices there are, got {count}{more}")
    chosen = [
        device
        for index in range(processes)
        for device in [device for device in found if device.process_index == index][: count // processes]
    ]
    return None if count == 1 else Mesh(np.array(chosen), (LANES,), axis_types=(AxisType.Auto,))


def check_divides(mesh: Mesh | None, name: str, lanes: int) -> None:
    """Raise JaxrnnError unless each device of a mesh gets as many of the lanes as the others."""
    if mesh and lanes % mesh.size:
        fewer = max(count for count in range(1, mesh.size) if lanes % count == 0)
        raise JaxrnnError(
            f"{name} {lanes} can't be split over {mesh.size} devices; "
            f"make it a multiple of {mesh.size}, or devices {fewer}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what lies whole on each device."""
    return NamedSharding(mesh, PartitionSpec())


def by_lanes(mesh: Mesh, axis: int) -> NamedSharding:
    """Return the sharding of what is split over the devices along its axis of lanes."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, LANES))


def local_lanes(mesh: Mesh | None, lanes: int) -> slice:
    """Return which of the lanes are those of this process: the devices of a process are neighbours on the mesh."""
    if mesh is None:
        return slice(None)
    indices = by_lanes(mesh, 0).addressable_devices_indices_map((lanes,)).values()
    begins, ends, _ = zip(*(index[0].indices(lanes) for index in indices if index), strict=True)
    return slice(min(begins), max(ends))


def to_mesh(tree: Any, sharding: Any) -> Any:
    """Return arrays that lie on a mesh, from what of them is this process's own (`local_lanes`).

    Args:
        tree: of NumPy arrays.
        sharding: where to, for the tree or for parts of it.
    """
    return jax.make_array_from_process_local_data(sharding, tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Return arrays that lie whole on each device of a mesh; those of a single process may have lain elsewhere."""
    return jax.device_put(tree, replicated(mesh)) if jax.process_count() == 1 else tree


def on_first_device(tree: Any) -> Any:
    """Return what of the arrays lies on this process's first device: all of those that lie whole on each."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def over_lanes(function: Callable[..., Any], mesh: Mesh, in_lanes: Sequence[Any], out_lanes: Any) -> Callable[..., Any]:
    """Return `function`, run by every device of a mesh on its own lanes: data parallelism, by `jax.shard_map`.

    Inside, `mean_over_devices` and `own_lanes` are what devices know of each other.

    Args:
        function: of arrays.
        mesh: from `make_mesh`.
        in_lanes: for each argument, or for parts of it as a pytree, which axis its lanes are; NO_LANES: every device
            gets all of it.
        out_lanes: the same for the result; what has no lanes must be the same on every device.
    """
    specs = jax.tree.map(_spec, (tuple(in_lanes), out_lanes))
    return jax.shard_map(function, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)


NO_LANES = -1


def _spec(axis: int) -> PartitionSpec:
    return PartitionSpec() if axis == NO_LANES else PartitionSpec(*[None] * axis, LANES)


def shardings(mesh: Mesh, lanes: Any) -> Any:
    """Return where arrays lie on a mesh, as a pytree of `NamedSharding`; `lanes` as `over_lanes` takes it."""
    return jax.tree.map(lambda axis: NamedSharding(mesh, _spec(axis)), lanes)


def _on_mesh() -> bool:
    """Return whether this is traced by a function inside `over_lanes`."""
    try:
        lax.axis_size(LANES)
    except NameError:
        return False
    return True


def mean_over_devices(tree: Any) -> Any:
    """Return the mean over the devices inside `over_lanes`; elsewhere the arrays themselves."""
    return lax.pmean(tree, LANES) if _on_mesh() else tree


def own_lanes(draw: Callable[[tuple[int, ...]], jax.Array], shape: tuple[int, ...], axis: int) -> jax.Array:
    """Return what one device would draw for all lanes, but only the lanes of this device.

    Args:
        draw: of a shape, the same on every device.
        shape: of this device's lanes.
        axis: which of its axes they are.
    """
    if not _on_mesh():
        return draw(shape)
    size = shape[axis]
    all_lanes = draw((*shape[:axis], size * lax.axis_size(LANES), *shape[axis + 1 :]))
    return lax.dynamic_slice_in_dim(all_lanes, lax.axis_index(LANES) * size, size, axis)


def gather_lanes(array: jax.Array, axis: int) -> jax.Array:
    """Return the lanes of all devices, on every device, inside `over_lanes`."""
    return lax.all_gather(array, LANES, axis=axis, tiled=True)

"""The cores that this process may use, and how many of them should share the lanes of a batch."""

import contextlib
import math
import os
from pathlib import Path, PurePosixPath

_LEAST_LANES = 8  # per device: with fewer, a product costs more to read W than to compute
_LEAST_FLOPS = 5e7  # per device and training step, about a millisecond: with less, the devices wait for each other


def available_cores() -> int:
    """Return the number of cores that this process may use: by its affinity, and by the CPU quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """Return the CPUs that control groups grant this process (cgroup v1 and v2, as containers use); inf: no limit."""
    quotas = [math.inf]
    with contextlib.suppress(OSError, ValueError):  # no Linux, or a file of another format
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                mounts, files = ["sys/fs/cgroup"], ["cpu.max"]
            elif "cpu" in controllers.split(","):
                mounts = [f"sys/fs/cgroup/{name}" for name in ("cpu", controllers)]
                files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            # A limit of a group holds for those inside. In a container, its own group may be the root of the mount.
            groups = [PurePosixPath(group), *PurePosixPath(group).parents]
            for folder in (root / mount / str(part).lstrip("/") for mount in mounts for part in groups):
                with contextlib.suppress(OSError, ValueError):  # "max", or no such group
                    quota, period = (float(word) for file in files for word in (folder / file).read_text().split())
                    quotas.append(quota / period if quota > 0 < period else math.inf)
    return min(quotas)


def devices_for(lanes: int, flops: float, cores: int) -> int:
    """Return how many of the cores, as devices, should share the lanes: the largest number that divides them and pays.

    `flops` are the operations in a training step of all lanes.

    Example:
        >>> devices_for(1, 2.5e6, cores=8), devices_for(50, 2.4e9, cores=8), devices_for(16, 2.7e8, cores=8)
        (1, 5, 2)
    """
    most = min(cores, lanes // _LEAST_LANES, int(flops / _LEAST_FLOPS))
    return max((count for count in range(1, most + 1) if lanes % count == 0), default=1)

"""Many processes that train one network, on one machine or several, joined by `jax.distributed`.

Run the same command on both machines, but with `--process-id 1` on the second. Process 0 alone writes the run
directory, and all processes read it to resume:

    jaxrnn train TEXT --batch-size 256 --run-dir /shared --coordinator 10.0.0.1:1234 --num-processes 2 --process-id 0

Slurm, from which JAX gets the coordinator and the numbers:

    srun --nodes 2 --ntasks-per-node 1 jaxrnn train TEXT --batch-size 256 --run-dir /shared

Kubernetes: the same command without `srun` in an Indexed Job (`completionMode: Indexed`, completions = parallelism =
the number of processes) with a headless service as its `subdomain`, a service account that may read pods and jobs, a
shared volume, and an image with jax's extra `k8s`. `srun -n 1` and a job without an index are one process, alone.

The port of the coordinator needs a trusted network: whoever reaches it can join, disturb and end the run. Nothing is
encrypted. Process 0 listens only at the address of `--coordinator`; without this flag, JAX chooses the address.

At the start, the processes compare their configuration, corpus (SHA-256), step and version of JAX. A signal to any of
them stops all at the same step. A process that dies or hangs ends the others with exit code 1: at once if its
connection breaks, else after HEARTBEAT seconds.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxrnn.errors import JaxrnnError

HEARTBEAT = 15  # seconds without a sign of life after which a process counts as dead
TIMEOUT = 60  # seconds within which all processes must have joined
_ADVICE = "start all of them again, with --resume to continue from the last checkpoint"


class PeerError(JaxrnnError):
    """Another process of the run can't be reached, or has ended."""

    exit_code = 1


def launched_together() -> bool:
    """Return whether a launcher (Slurm, MPI, an indexed job of Kubernetes, a TPU pod) started several processes."""
    sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
    if "SLURM_PROCID" in os.environ and "SLURM_STEP_NODELIST" in os.environ:
        sizes.append("SLURM_NTASKS")
    several = any(os.environ.get(name, "1") != "1" for name in sizes)
    return several or "JOB_COMPLETION_INDEX" in os.environ or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def start_processes(
    coordinator: str | None, num_processes: int | None, process_id: int | None, *, timeout: int = TIMEOUT
) -> None:
    """Join the other processes, before anything is computed. JAX asks the launcher for arguments that are None.

    If another process is lost later, this one prints a message and exits with code 1, where JAX would abort it. The
    coordinator is HOST:PORT, the only address at which process 0 listens; an IPv6 address stands in brackets. The
    process_id counts from 0.

    Raises:
        PeerError: the coordinator or another process does not join within `timeout` seconds.
        JaxrnnError: an argument is invalid, or None and unknown to the launcher.
    """
    host, bind_address = "", None
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        is_ipv6 = host.startswith("[") and host.endswith("]")
        if not host or (":" in host) != is_ipv6 or not port.isdigit() or not 0 < int(port) < 2**16:
            raise JaxrnnError(
                f"coordinator must be HOST:PORT, such as 10.0.0.1:1234 or [fd00::1]:1234, got {coordinator!r}"
            )
        host, bind_address = host.strip("[]"), coordinator
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise JaxrnnError(f"process_id must be from 0 to num_processes - 1 = {num_processes - 1}, got {process_id}")
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    if coordinator is not None and process_id:
        _wait_for(host, int(port), timeout)
    elif coordinator is not None:
        _check_can_listen(host, int(port))
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python can't handle it while JAX waits
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=TIMEOUT,
            coordinator_bind_address=bind_address,
        )
    except ValueError as error:
        raise JaxrnnError(
            f"no launcher says how to join the processes ({error}); give coordinator, num_processes and process_id"
        ) from None
    except RuntimeError as error:
        raise PeerError(
            f"not all {num_processes or ''} processes joined the coordinator at {coordinator or 'its address'} within "
            f"{timeout} s ({str(error).splitlines()[0]}); start them all at about the same time"
        ) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    # Not by signal.signal: JAX aborts in a thread of its own, before Python would run a handler.
    ctypes.pythonapi.PyOS_setsig(signal.SIGABRT, _ON_ABORT)


def _exit_with_message(_: int) -> None:
    """Replace JAX's abort of this process, after it has found another one lost."""
    cause = "JAX ends this process, most likely because another one of the run has ended or does not answer"
    os.write(2, f"jaxrnn: {cause}; {_ADVICE}\n".encode())
    os._exit(PeerError.exit_code)


_ON_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)(_exit_with_message)  # must live as long as the process


def _check_can_listen(host: str, port: int) -> None:
    """Raise JaxrnnError if process 0 can't listen at its address; JAX would abort the process."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise JaxrnnError(
            f"process 0 can't listen at {host}, port {port} ({error.strerror or error}); the coordinator must be an "
            "address of its machine, with a port that is free"
        ) from None


def _wait_for(host: str, port: int, timeout: float) -> None:
    """Wait until the coordinator listens; JAX would abort the process if it did not in time."""
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError as error:
            if time.monotonic() >= end - 0.5:
                raise PeerError(
                    f"no coordinator at {host}:{port} within {timeout:.0f} s ({error.strerror or error}); start "
                    "process 0 there, and make sure that the port can be reached"
                ) from None
            time.sleep(0.5)


@contextlib.contextmanager
def peer_errors() -> Iterator[None]:
    """Turn an error of JAX's that another process has caused into a PeerError."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # On CPUs, waiting for a result raises a ValueError; the name in it tells it from one of ours.
        if jax.process_count() == 1 or (isinstance(error, ValueError) and "Gloo" not in str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise PeerError(f"another process of the run has ended or can't be reached ({reason}); {_ADVICE}") from error


def check_same(facts: dict[str, str]) -> None:
    """Raise JaxrnnError, in every process, unless all processes pass the same facts."""
    if jax.process_count() == 1:
        return
    data = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    size = np.max(multihost_utils.process_allgather(np.asarray(len(data), np.int32)))
    padded = np.pad(data, (0, int(size) - len(data)), constant_values=ord(" "))
    first, *others = (json.loads(bytes(row)) for row in np.asarray(multihost_utils.process_allgather(padded)))
    for index, other in enumerate(others, start=1):
        for name, value in first.items():
            if other[name] != value:
                raise JaxrnnError(
                    f"the processes disagree: {name} is {value} in process 0 and {other[name]} in process {index}; "
                    "start them all with the same command, on the same text"
                )


def any_process(predicate: Callable[[], object]) -> Callable[[], object]:
    """Return a function that is true in all processes if the predicate is true in any; all must call it together."""
    if jax.process_count() == 1:
        return predicate
    return lambda: bool(np.any(multihost_utils.process_allgather(np.asarray(bool(predicate())))))

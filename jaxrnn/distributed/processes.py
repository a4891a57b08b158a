"""Many processes, on one machine or on many, that train one network: JAX's own runtime joins them."""

import contextlib
import ctypes
import ipaddress
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
PATIENCE = 60  # seconds in which all have to be there
_AGAIN = "start all of them again, with --resume to go on from the last checkpoint"


class PeerError(JaxrnnError):
    """Another process of the run is not there, or no more."""

    exit_code = 1


def _tell_and_end(_: int) -> None:
    """Say why, where JAX is about to abort: its own watch has found another process lost."""
    cause = "JAX ends this process, most likely because another one of the run has ended or does not answer"
    os.write(2, f"jaxrnn: {cause}; {_AGAIN}\n".encode())
    os._exit(PeerError.exit_code)


_TELL_AND_END = ctypes.CFUNCTYPE(None, ctypes.c_int)(_tell_and_end)  # has to live as long as the process


def launched_together() -> bool:
    """Return whether a launcher (Slurm, MPI, an indexed job of Kubernetes, a TPU pod) says that we are one of many."""
    counts = [os.environ.get(name, "1") for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")]
    if "SLURM_PROCID" in os.environ and "SLURM_STEP_NODELIST" in os.environ:
        counts.append(os.environ.get("SLURM_NTASKS", "1"))
    return (
        any(count != "1" for count in counts)
        or "JOB_COMPLETION_INDEX" in os.environ
        or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    )


def start_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    patience: int = PATIENCE,
) -> None:
    """Join the other processes; to be called before anything is computed. What is None, JAX asks the launcher for.

    Where JAX would abort this process later on, because another one is lost, it says so and exits with 1 instead.

    Args:
        coordinator: HOST:PORT, where process 0 listens and the others find it.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        patience: seconds in which all have to be there.

    Raises:
        PeerError: the coordinator or one of the others is not there in time.
        JaxrnnError: the arguments are no address or no such numbers, or the launcher doesn't tell.
    """
    host, bind = "", None
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise JaxrnnError(f"coordinator must be HOST:PORT, such as 10.0.0.1:1234, got {coordinator!r}")
        bind = coordinator if _is_loopback(host) else None
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise JaxrnnError(f"process_id must be from 0 to num_processes - 1 = {num_processes - 1}, got {process_id}")
    jax.config.update("jax_enable_preemption_service", False)  # which would swallow SIGTERM
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python can't heed it while JAX waits
    try:
        if coordinator is not None and process_id:
            _wait_for(host, int(port), patience)
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=patience,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PATIENCE,
            coordinator_bind_address=bind,
        )
    except JaxrnnError:
        raise
    except ValueError as error:
        raise JaxrnnError(
            f"can't tell who the other processes are ({error}); give coordinator, num_processes and process_id"
        ) from None
    except RuntimeError as error:
        raise PeerError(
            f"not all {num_processes or ''} processes came to the coordinator at {coordinator or 'its address'} "
            f"within {patience} s ({str(error).splitlines()[0]}); start them all at about the same time"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    # Not by signal.signal: JAX aborts in a thread of its own, and is gone before Python would look at the signal.
    ctypes.pythonapi.PyOS_setsig(signal.SIGABRT, _TELL_AND_END)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait_for(host: str, port: int, patience: float) -> None:
    """Wait until somebody listens there; JAX would end the process if nobody did."""
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError as error:
            if time.monotonic() >= end - 0.5:
                raise PeerError(
                    f"no coordinator at {host}:{port} within {patience:.0f} s ({error.strerror or error}); start "
                    "process 0 there, and see to it that the port can be reached"
                ) from None
            time.sleep(0.5)


@contextlib.contextmanager
def peer_errors() -> Iterator[None]:
    """Say of an error of JAX's that another process has ended, where there are others."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # On CPUs it is a ValueError, if a result is waited for; that is told from one of ours by the name in it.
        if jax.process_count() == 1 or (isinstance(error, ValueError) and "Gloo" not in str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise PeerError(f"another process of the run has ended, or can't be reached ({reason}); {_AGAIN}") from error


def gathered_texts(text: str) -> list[str]:
    """Return the text that each process gives, by process; they all have to ask."""
    data = np.frombuffer(text.encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.asarray(len(data), np.int32))).reshape(-1)
    padded = np.pad(data, (0, int(sizes.max()) - len(data)))
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]


def check_same(facts: dict[str, str]) -> None:
    """Raise JaxrnnError, in every process, unless all processes state the same facts."""
    if jax.process_count() == 1:
        return
    first, *others = map(json.loads, gathered_texts(json.dumps(facts)))
    for index, other in enumerate(others, start=1):
        for name, value in first.items():
            if other[name] != value:
                raise JaxrnnError(
                    f"the processes disagree: {name} is {value} in process 0 and {other[name]} in process {index}; "
                    "start them all with the same command, on the same text"
                )


def together(stop: Callable[[], object]) -> Callable[[], object]:
    """Return a function that is true in all processes once `stop` is in one; they have to ask together."""
    if jax.process_count() == 1:
        return stop
    return lambda: bool(np.any(multihost_utils.process_allgather(np.asarray(bool(stop())))))

"""A reference in a process of its own: its threads are set before its library starts, and disturb nobody else's.

The two ends speak in pickles, a request and its reply at a time, over the worker's stdin and stdout.
"""

import contextlib
import importlib
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from jaxrnn.bench.config import BenchError


class Worker(contextlib.AbstractContextManager["Worker"]):
    """A process that holds a `Reference`; it ends when it is closed, or when this process does."""

    def __init__(self, reference: str, threads: int | None = None) -> None:
        """Start the process.

        Args:
            reference: the module, "numpy_reference" or "torch_reference".
            threads: that its library may use; None leaves it to the library.
        """
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        limits = {} if threads is None else dict.fromkeys(names, str(threads))
        self.reference = reference
        self._complaint = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxrnn.bench.worker", reference],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaint,
            env={**os.environ, **limits},
        )

    def send(self, method: str, *arguments: Any, **named: Any) -> None:
        """Ask for a method of the reference; "Reference" makes it."""
        try:
            pickle.dump((method, arguments, named), self._pipe("stdin"))
            self._pipe("stdin").flush()
        except OSError:
            raise self._failed() from None

    def receive(self, timeout: float | None = None) -> tuple[Any, float]:
        """Return what the method returned, and the seconds that it took.

        Raises:
            BenchError: it failed, or took longer than `timeout` seconds.
        """
        if not select.select([self._pipe("stdout")], [], [], timeout)[0]:
            raise BenchError(f"took more than {timeout:.0f} s")
        try:
            error, result, seconds = pickle.load(self._pipe("stdout"))
        except (EOFError, OSError):
            raise self._failed() from None
        if error:
            raise BenchError(error)
        return result, seconds

    def call(self, method: str, *arguments: Any, **named: Any) -> tuple[Any, float]:
        """Send and receive."""
        self.send(method, *arguments, **named)
        return self.receive()

    def _pipe(self, name: str) -> Any:
        return getattr(self.process, name)

    def _failed(self) -> BenchError:
        self.close()
        self._complaint.seek(0)
        lines = self._complaint.read().decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"exit code {self.process.returncode}"
        return BenchError(f"the process of the {self.reference} ended: {why}")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # a request that it did not take
                pipe.close()  # type: ignore[union-attr]

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()
        self._complaint.close()


def main() -> None:
    """Serve: read a request, run it, reply; end when there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's to handle
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    reference: Any = None
    while True:
        try:
            method, arguments, named = pickle.load(requests)
        except EOFError:
            return
        begin = time.perf_counter()
        reply: tuple[str | None, Any, float]
        try:
            if method == "Reference":
                reference = importlib.import_module(f"jaxrnn.bench.{sys.argv[1]}").Reference(*arguments, **named)
                reply = (None, None, time.perf_counter() - begin)
            else:
                result = getattr(reference, method)(*arguments, **named)
                reply = (None, result, time.perf_counter() - begin)
        except Exception as error:
            lines = str(error).strip().splitlines()
            reply = (f"{type(error).__name__}: {lines[0] if lines else ''}", None, 0.0)
        pickle.dump(reply, replies)
        replies.flush()


if __name__ == "__main__":
    main()

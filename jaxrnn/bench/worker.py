"""A reference in a process of its own, whose threads are limited before its library starts; it talks in pickles."""

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
from typing import Any

from jaxrnn.bench.config import BenchError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Worker(contextlib.AbstractContextManager["Worker"]):
    """A process that holds a `Reference`; it ends with the context, or when this process does."""

    def __init__(self, reference: str, threads: int | None = None) -> None:
        """Start the process for a module, "numpy_reference" or "torch_reference", whose library may use `threads`."""
        self.reference = reference
        limits = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxrnn.bench.worker", reference],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | limits,
        )

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Return what a method of the reference returns, or raise BenchError; "Reference" creates the reference."""
        requests: Any = self.process.stdin
        replies: Any = self.process.stdout
        try:
            pickle.dump((method, arguments, named), requests)
            requests.flush()
            error, result = pickle.load(replies)
        except (EOFError, OSError):
            self.process.kill()
            code = self.process.wait()
            raise BenchError(f"the process of the {self.reference} ended with exit code {code}") from None
        if error:
            raise BenchError(error)
        return result

    def __exit__(self, *_: object) -> None:
        """End the process."""
        with contextlib.suppress(OSError), self.process:  # OSError: it did not read a request
            self.process.kill()


def main() -> None:
    """Serve: read a request, run it, reply; end when there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end handles Ctrl-C
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not a reply
    reference: Any = None
    with contextlib.suppress(EOFError):
        while True:
            method, arguments, named = pickle.load(sys.stdin.buffer)
            error, result = None, None
            try:
                if method == "Reference":
                    reference = importlib.import_module(f"jaxrnn.bench.{sys.argv[1]}").Reference(*arguments, **named)
                else:
                    result = getattr(reference, method)(*arguments, **named)
            except Exception as exception:
                error = f"{type(exception).__name__}: {str(exception).strip().partition(chr(10))[0]}"
            pickle.dump((error, result), replies)
            replies.flush()


if __name__ == "__main__":
    main()

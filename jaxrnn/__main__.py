"""The command `jaxrnn`, also as `python -m jaxrnn`."""

# The built-in module: while `signal` is imported, which is written in Python, Ctrl-C would show a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the command line, so that Ctrl-C ends it with exit code 130 at any time; return its exit code."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else it is ignored, and stays so
        _signal.signal(_signal.SIGINT, _interrupt)
    try:
        from jaxrnn.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the work is done; while Python ends, there is nothing to stop
            if hasattr(_signal, name):
                _signal.signal(getattr(_signal, name), _signal.SIG_IGN)


def _interrupt(_: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt, but end the process during an import, which may swallow it or raise another error."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

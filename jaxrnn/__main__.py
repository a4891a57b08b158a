"""The command `jaxrnn`, also as `python -m jaxrnn`."""

# The built-in module: while `signal` is imported, which is written in Python, Ctrl-C would show a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


_SIGNALS = [getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name)]


def main() -> int:
    """Run the command line, so that signals end it with exit code 130, 143, 129 at any time; return its exit code."""
    for number in _SIGNALS:
        if _signal.getsignal(number) in (_signal.default_int_handler, _signal.SIG_DFL):  # else ignored, and stays so
            _signal.signal(number, _interrupt)
    try:
        from jaxrnn.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        for number in _SIGNALS:  # the work is done; while Python ends, there is nothing to stop
            _signal.signal(number, _signal.SIG_IGN)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Raise what ends the process in order, but end it during an import, which may swallow that."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    if number == _signal.SIGINT:
        raise KeyboardInterrupt
    _signal.signal(number, _signal.SIG_DFL)  # a second one ends it at once
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

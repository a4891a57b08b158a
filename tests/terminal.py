"""Run a command in a real terminal: read what it shows, type what a person types."""

import codecs
import contextlib
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from unittest import mock

from jaxrnn.cli import main

# The command gets a session of its own with this as its controlling terminal, and handles Ctrl-C even if the tests run
# as a background job, for which a shell ignores SIGINT.
_START = """
import fcntl, runpy, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("jaxrnn", run_name="__main__", alter_sys=True)
"""


class Terminal:
    def __init__(self, *arguments, stderr=None, columns=0, **environment):
        self._end, its_end = pty.openpty()
        termios.tcsetwinsize(its_end, (24, columns))  # 0: unknown
        self._unread, self._decoder = "", codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *arguments],
            stdin=its_end,
            stdout=its_end,
            stderr=stderr or its_end,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
            start_new_session=True,
        )
        os.close(its_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Kill the command if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.rest()

    def type(self, keys):
        time.sleep(0.05)  # let the prompt get ready, as a person does
        os.write(self._end, keys.encode())

    def until(self, text, seconds=30.0):
        """Wait for a text to appear; return everything shown up to its end. What comes later is kept for the next."""
        end = time.monotonic() + seconds
        while text not in self._unread:
            assert time.monotonic() < end, self._unread[-1000:]
            if select.select([self._end], [], [], 0.1)[0]:
                self._unread += self._decoder.decode(os.read(self._end, 4096))
        shown, _, self._unread = self._unread.partition(text)
        return shown + text

    def rest(self):
        """Wait for the command to end; return what it showed since, and its exit code."""
        with contextlib.suppress(OSError):  # how Linux reports that the other end is closed
            while piece := os.read(self._end, 4096):
                self._unread += self._decoder.decode(piece)
        os.close(self._end)
        return self._unread, self.process.wait(30)


def shown_here(*arguments, streams=("stdin", "stdout", "stderr"), columns=0, **environment):
    """Run a command in this process, with a real terminal for streams; return what it shows, and its exit code."""
    end, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (24, columns))
    shown = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while piece := os.read(end, 4096):
                shown.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with contextlib.ExitStack() as stack:
        stack.callback(reader.join)
        stack.enter_context(mock.patch.dict(os.environ, {"TERM": "xterm", "NO_COLOR": "", **environment}))
        for name in streams:
            stream = stack.enter_context(open(os.dup(its_end), "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123
            stack.enter_context(mock.patch.multiple(sys, **{name: stream, f"__{name}__": stream}))
        os.close(its_end)
        code = main(list(arguments))
    os.close(end)
    return shown.decode(), code

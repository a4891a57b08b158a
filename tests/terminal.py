"""A real terminal for a command: what it shows there, and what a person types."""

import contextlib
import os
import pty
import select
import subprocess
import sys
import time

# In a session of its own, with the terminal as the one that Ctrl-C is typed at; that is heeded though these tests may
# run in the background of a shell, which has its jobs ignore it.
_START = """
import fcntl, runpy, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("jaxrnn", run_name="__main__", alter_sys=True)
"""


class Terminal:
    def __init__(self, *arguments, stderr=None, **environment):
        self._end, its_end = pty.openpty()
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
        """End the command, if a test has not seen its end."""
        if self.process.poll() is None:
            self.process.kill()
            self.rest()

    def type(self, keys):
        time.sleep(0.05)  # a person, too, waits for the prompt to be ready
        os.write(self._end, keys.encode())

    def until(self, text, seconds=30.0):
        """Return what is shown up to a text."""
        shown, end = "", time.monotonic() + seconds
        while text not in shown:
            assert time.monotonic() < end, shown[-1000:]
            if select.select([self._end], [], [], 0.1)[0]:
                shown += os.read(self._end, 4096).decode(errors="replace")
        return shown

    def rest(self):
        """Return what is shown until the command ends, and its exit code."""
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody is at the other end any more
            while piece := os.read(self._end, 4096):
                shown += piece
        os.close(self._end)
        return shown.decode(errors="replace"), self.process.wait(30)

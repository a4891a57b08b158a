"""Run command lines, each an argument, in a Python that lacks what Windows lacks and refuses what Windows refuses."""

import builtins
import importlib
import io
import mmap
import os
import pkgutil
import signal
import sys
from pathlib import Path

MISSING_MODULES = ("fcntl", "resource", "termios", "readline", "pwd", "grp", "pty", "tty")
MISSING_NAMES = {
    os: ("getuid", "geteuid", "fork", "sched_getaffinity", "fchmod", "mkfifo"),
    signal: ("SIGHUP", "SIGALRM", "SIGUSR1", "pthread_sigmask", "setitimer"),
    mmap: ("MADV_DONTNEED", "MADV_SEQUENTIAL"),
}
real_open, real_mkdir = io.open, os.mkdir


def is_open(path):
    """Whether this process has a file open, or mapped into its memory."""
    name = os.path.realpath(path)
    descriptors = list(map(os.path.realpath, Path("/proc/self/fd").iterdir()))
    with real_open("/proc/self/maps", encoding="utf-8") as maps:
        return name in descriptors or any(line.rstrip().endswith(f" {name}") for line in maps)


def refusing_open(function):
    """A function of os that raises PermissionError if one of the files is open."""

    def called(*paths, **options):
        for path in paths:  # of a link, what it points to may be open
            if not Path(path).is_symlink() and is_open(path):
                raise PermissionError(13, "The process cannot access the file", str(path))
        return function(*paths, **options)

    return called


def check_name(path):
    if not isinstance(path, int) and set(Path(os.fsdecode(path)).name) & set('<>:"|?*'):
        raise OSError(22, "The filename, directory name, or volume label syntax is incorrect", str(path))


def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **options):
    """Open a file: by default text is in cp1252, with a carriage return before each newline that is written."""
    if set(mode) & set("wax"):
        check_name(file)
    if "b" not in mode and sys._getframe(1).f_globals.get("__name__", "").startswith(("jaxrnn", "pathlib")):
        encoding, newline = encoding or "cp1252", "\r\n" if newline is None and set(mode) & set("wax") else newline
    return real_open(file, mode, buffering, encoding, errors, newline, **options)


def made(path, *arguments, **options):
    check_name(path)
    real_mkdir(path, *arguments, **options)


def become_windows():
    for name in MISSING_MODULES:
        sys.modules[name] = None
    os.process_cpu_count = os.cpu_count  # Python 3.13 has another one where there is an affinity
    for module, names in MISSING_NAMES.items():
        for name in names:
            vars(module).pop(name, None)
    os.replace, os.rename = refusing_open(os.replace), refusing_open(os.rename)
    os.unlink, os.remove = refusing_open(os.unlink), refusing_open(os.remove)
    os.mkdir = made
    io.open = builtins.open = opened


if __name__ == "__main__":
    become_windows()
    import jaxrnn
    from jaxrnn.cli import main

    for module in pkgutil.walk_packages(jaxrnn.__path__, "jaxrnn."):
        if not module.name.endswith(("__main__", "torch_reference")):
            importlib.import_module(module.name)
    for line in sys.argv[1:]:
        if main(line.split()):
            sys.exit(f"failed: {line}")

"""Process-wide settings of XLA, JAX and signals, which the command line may change and the library may not."""

import atexit
import contextlib
import gc
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from jaxrnn.errors import JaxrnnError

LARGEST_CACHE = 10**9  # bytes
LONGEST_KEPT = 60 * 86400.0  # seconds

# What XLA does not do on a CPU by default: use the widest vectors of the processor, and compile loops over little data
# to one kernel each where it can, instead of a kernel call per operation and character.
_XLA_FLAGS = (
    "--xla_cpu_prefer_vector_width=512",
    "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000",
)


# Variables that change what JAX computes, or keep it from computing. The others say where it computes and what it logs.
_COMPUTING = re.compile(
    "JAX_(DEFAULT_PRNG_IMPL|ENABLE_CUSTOM_PRNG|LEGACY_PRNG_KEY|DEBUG_KEY_REUSE|RANDOM_SEED_OFFSET|THREEFRY_.*|.*GUMBEL"
    "|.*X64.*|DEFAULT_DTYPE_BITS|DEFAULT_MATMUL_PRECISION|NUMPY_.*_PROMOTION|ALLOW_F16_REDUCTIONS|SOFTMAX_CUSTOM_JVP"
    "|DISABLE_JIT|DEBUG_NANS|DEBUG_INFS|ERROR_CHECKING_.*|ENABLE_CHECKS|CHECK_TRACER_LEAKS|CHECK_STATIC_INDICES"
    "|.*_GUARD.*|NO_EXECUTION|NO_TRACING|DISABLE_MOST_OPTIMIZATIONS|OPTIMIZATION_LEVEL|EXEC_TIME_.*|MEMORY_FITTING_.*"
    "|EAGER_.*|(SCAN|REMAT|CUSTOM_VJP)3|USE_DIRECT_LINEARIZE|SERIALIZATION_VERSION|EXPORT_.*|ACCURATE_.*|.*_LOWERING)"
    "|JAX2TF_.*|EAGER_CONSTANT_FOLDING"
)


def set_environment() -> None:
    """Set the environment variables that are best for JAX, unless JAX is imported already.

    Variables such as JAX_ENABLE_X64, which would change the results of every command, are removed; flags such as
    --dtype say how to compute. XLA_FLAGS gets flags that speed up programs on a CPU. Flags that the user has set keep
    their values; if XLA_FLAGS names a file of flags, it is left alone. Figures need no MPLBACKEND.
    """
    os.environ.pop("MPLBACKEND", None)
    if "jax" in sys.modules:
        return
    for name in filter(_COMPUTING.fullmatch, list(os.environ)):
        del os.environ[name]
    users = os.environ.get("XLA_FLAGS", "").strip()
    if not users or users.startswith("-"):
        ours = [flag for flag in _XLA_FLAGS if flag.partition("=")[0] not in users]
        os.environ["XLA_FLAGS"] = " ".join([*ours, users]).strip()


def set_up_jax(dtype: str) -> None:
    """Set up JAX for parameters of a `dtype`, before anything is computed.

    JAX caches compiled programs for the next start, in the directory that JAX_COMPILATION_CACHE_DIR names, or else in
    the user's cache directory. As JAX executes what it finds there, that directory and every folder on the way to it,
    from XDG_CACHE_HOME or the home directory on, must belong to the user, and nobody else may write to them; otherwise
    there is no cache. The cache there holds at most a gigabyte, and nothing older than 60 days.
    """
    gc.disable()
    import jax

    # The many objects of these modules live as long as the process, so no collection needs to visit them. Tracing makes
    # more such objects: collections become rarer.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
    atexit.register(gc.freeze)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    # On a CPU, compute in the calling thread: handing a chunk to another core and back costs more than it saves.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.config.values["jax_compilation_cache_dir"] is None and (directory := _private_directory()):
        _remove_old_programs(directory)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _remove_old_programs(directory: Path) -> None:
    """Remove programs that were compiled long ago, and the oldest until the others take at most LARGEST_CACHE bytes."""
    with contextlib.suppress(OSError):  # another process removes the same
        files = [(file.stat(), file.path) for file in os.scandir(directory) if file.is_file()]
        total = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda file: file[0].st_mtime):
            if total <= LARGEST_CACHE and status.st_mtime > time.time() - LONGEST_KEPT:
                return
            Path(path).unlink()
            total -= status.st_size


def clear_damaged_cache(warning: str) -> str | None:
    """Delete all programs in the user's cache directory if JAX warns of a damaged one; return what to say instead.

    If JAX can't read a program, such as a half-written file, it compiles it again and warns at every start: it never
    overwrites the file.
    """
    if not warning.startswith("Error reading persistent compilation cache entry"):
        return None
    import jax  # here, as importing it may warn too

    directory = _private_directory()
    if directory is None or jax.config.values["jax_compilation_cache_dir"] != str(directory):
        return None
    for path in directory.glob("*-cache"):
        path.unlink(missing_ok=True)
    return f"a compiled program in {directory} was damaged; all of them will be compiled again"


def _private_directory() -> Path | None:
    """Return the directory of compiled programs in the user's cache; None if somebody else could write to it."""
    from jaxrnn.text.fetch import cache_directory

    try:
        directory = cache_directory() / "compiled"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            return None
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home())
        on_the_way = [directory, *(folder for folder in directory.parents if folder.is_relative_to(base))]
        for folder in on_the_way:
            status, owner = folder.stat(), folder.lstat().st_uid  # of a link, who could point it elsewhere
            if {status.st_uid, owner} != {os.getuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        return directory if os.access(directory, os.W_OK | os.X_OK) else None
    except (JaxrnnError, OSError, AttributeError):  # no home directory; a full disk; a system without users
        return None


@contextlib.contextmanager
def noted_signals(*numbers: signal.Signals, message: str = "") -> Iterator[list[int]]:
    """Yield a list that gets the signals received; with a message for stderr, a second one ends the process.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if message:
            signal.signal(number, signal.SIG_DFL)
            with contextlib.suppress(OSError, ValueError):  # not by print: the signal may interrupt another print
                os.write(sys.stderr.fileno(), message.encode())

    noted = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, note) for number in noted}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stop_signals() -> contextlib.AbstractContextManager[list[int]]:
    """Note SIGINT, SIGTERM and SIGHUP, so that training can save and stop."""
    message = "\njaxrnn: saving, then stopping; again to stop at once\n"
    numbers = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return noted_signals(*numbers, message=message)

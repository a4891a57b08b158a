"""The settings of JAX that are the command line's to make, because they hold for the whole process."""

import atexit
import gc
import os
import stat
import sys
from pathlib import Path

from jaxrnn.errors import JaxrnnError

# What XLA leaves off on a CPU: vectors as wide as the processor has them, and loops of little data as one kernel each
# where it knows how, instead of a call of a kernel for every operation of every character.
_XLA_FLAGS = (
    "--xla_cpu_prefer_vector_width=512",
    "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000",
)


def set_xla_flags() -> None:
    """Set the flags that make XLA's programs for a CPU faster; to be called before JAX is imported, or does nothing.

    A flag that the user has set (XLA_FLAGS) stays as it is, and all of them do where that names a file of flags.
    """
    given = os.environ.get("XLA_FLAGS", "").strip()
    names_file = given and not given.startswith("-")
    if "jax" not in sys.modules and not names_file:
        ours = [flag for flag in _XLA_FLAGS if flag.partition("=")[0] not in given]
        os.environ["XLA_FLAGS"] = " ".join([*ours, given]).strip()


def set_up_jax(dtype: str) -> None:
    """Make JAX ready for the parameters' `dtype`; to be called before anything is computed.

    JAX keeps what it compiles in the user's cache directory, for the next start. It runs what it finds there, so the
    directory has to be the user's own and closed to everybody else (mode 0700); where that can't be had, everything is
    compiled anew each time. A directory of the user's choice (JAX_COMPILATION_CACHE_DIR) is left as it is.
    """
    gc.disable()
    import jax

    # The thousands of objects of these modules live to the end: no collection need look at them, the last one least.
    # Nor often at those that tracing a program makes.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
    atexit.register(gc.freeze)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    # On the CPU, compute in the calling thread: to hand a chunk to another core and back costs more than it saves.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    directory = _compiled()
    if jax.config.values["jax_compilation_cache_dir"] is None and directory and _is_private(directory):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def mend_cache(complaint: str) -> str | None:
    """Remove all that JAX keeps in the user's cache directory, if it complains of it; return what to say instead.

    It would compile what it can't read, but never write over it, and so complain at every start: of a file, say, that
    was half written when the process was killed. A directory of the user's choice is left as it is.
    """
    if not complaint.startswith("Error reading persistent compilation cache entry"):
        return None
    import jax  # here, for other warnings may come from its own import

    directory = _compiled()
    if directory is None or jax.config.values["jax_compilation_cache_dir"] != str(directory):
        return None
    for path in directory.glob("*-cache"):
        path.unlink(missing_ok=True)
    return f"a compiled program in {directory} was damaged; all of them are made again"


def _compiled() -> Path | None:
    """Return where the compiled programs are kept; None where there is no home directory."""
    try:
        from jaxrnn.text.fetch import cache_directory

        return cache_directory() / "compiled"
    except JaxrnnError:
        return None


def _is_private(directory: Path) -> bool:
    """Make the directory if need be; return whether nobody else can write to it, and we can."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        if stat.S_IMODE(found.st_mode) != 0o700:
            directory.chmod(0o700)
        return os.access(directory, os.W_OK | os.X_OK)
    except (OSError, AttributeError):  # not to be made, or read; a system without users
        return False

"""What every test gets: strict broadcasting, eight devices, empty directories of its own, and a switch for float64."""

import functools
import gc
import os
import re
import shlex
import signal
import tempfile
from pathlib import Path
from unittest import mock

import jax
import pytest

# A [B, V] array silently added to a [V] array hides a missing axis.
jax.config.update("jax_numpy_rank_promotion", "raise")
# Some tests need many devices; the others use the first one, which computes as a single device does.
jax.config.update("jax_num_cpu_devices", 8)

# Most of a test's time is compilation. XLA's slowest optimizations are left out, which take a third of it, except by
# `compiled_fully`. Many tests compile the same programs. The smallest ones cost more to cache than to compile again.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Traces are millions of objects, few of them in cycles: a tenth of the time would go to looking for those.
gc.set_threshold(100_000, 50, 100)

SHARED_TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"


def pytest_configure(config):
    """Keep tests and doctests out of the user's cache; each worker has a compilation cache of its own.

    Two processes must not share one: JAX would read files that are half written. The processes that a test starts, one
    after the other, share a second one, which spares most of their time; `own_programs` is for the other tests.
    """
    # A shell lets its background jobs ignore Ctrl-C, and nohup the end of a terminal: tests send both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    home = tempfile.TemporaryDirectory(prefix="jaxrnn-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = home.name
    jax.config.update("jax_compilation_cache_dir", str(Path(home.name, "compiled")))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(home.name, "compiled-by-processes"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two workers for the suite or a directory of it; none for single files and tests, so that pdb works there."""
    names = [name.partition("::")[0] for name in config.option.file_or_dir]
    return 0 if names and not any(Path(name).is_dir() for name in names) else 2


def pytest_collection_modifyitems(items):
    """Mark what needs a browser as slow; begin with the longest tests, so that no worker starts one last."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.name.startswith(("test_it_runs_from_top_to_bottom", "test_a_run_outlives")))


def pytest_sessionfinish(session):
    """Where JAXRNN_EXPECTED_SKIPS is set, fail if the reason of a skip does not match this regular expression."""
    expected = os.environ.get("JAXRNN_EXPECTED_SKIPS")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if expected is None or reporter is None:  # a worker has no reporter
        return
    for report in reporter.stats.get("skipped", []):
        path, line, reason = report.longrepr
        if not re.fullmatch(expected, reason.removeprefix("Skipped: ")):
            reporter.write_line(f"\nunexpected skip: {path}:{line}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled_fully():
    """Compile as users do: for tests of the bits that different programs compute."""
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", True)


class SharingJax:
    """JAX, but a function that is jitted again, with equal values in its closure, is the one that was jitted before."""

    def __init__(self):
        self.jitted = {}

    def __getattr__(self, name):
        return getattr(jax, name)

    def jit(self, function, **options):
        closure = [cell.cell_contents for cell in function.__closure__ or ()]
        jitted = jax.jit(function, **options)
        try:
            return self.jitted.setdefault((function.__code__, *closure, *options.items()), jitted)
        except TypeError:  # an array, or shardings: they have no hash
            return jitted


@pytest.fixture(scope="module")
def programs_shared():
    """Trace and load a program once for all runs of a module that have the same config; else each run does."""
    from jaxrnn.runs import many, programs

    make_train_chunk = functools.cache(programs.make_train_chunk)
    make_sweep_chunk = functools.cache(lambda *configs, make=many.make_sweep_chunk: make(configs))
    with (
        mock.patch.multiple(programs, jax=SharingJax(), make_train_chunk=make_train_chunk),
        mock.patch.object(many, "make_sweep_chunk", lambda configs: make_sweep_chunk(*configs)),
    ):
        yield


@pytest.fixture
def tinyshakespeare():
    """The real text, where the developers' shared folder lies beside the repository."""
    if not SHARED_TEXT.is_file():
        pytest.skip("shared/data/tinyshakespeare.txt is not here")
    return SHARED_TEXT


@pytest.fixture(autouse=True)
def _own_directories(tmp_path_factory, monkeypatch):
    """No test reads what another one cached, and none leaves a run in the working directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture
def own_programs(monkeypatch):
    """Processes that run at the same time, or are killed while they compile, share no compilation cache."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")


@pytest.fixture
def jaxrnn(capsys):
    """Run a command in this process; return its exit code, what it wrote to stdout, and what to stderr."""

    from jaxrnn.cli import main  # after JAX is set up above, and by the tests that use it only

    def call(command):
        code = main(shlex.split(command))
        return code, *capsys.readouterr()

    return call

"""What every test gets: strict broadcasting, eight devices, empty directories of its own, and a switch for float64."""

import contextlib
import copy
import dataclasses
import functools
import gc
import os
import re
import shlex
import signal
import tempfile
import types
import uuid
from pathlib import Path
from unittest import mock

import jax
import pytest
from jax._src import compilation_cache, compiler, lru_cache

from jaxrnn.config import TrainConfig

# A [B, V] array silently added to a [V] array hides a missing axis.
jax.config.update("jax_numpy_rank_promotion", "raise")
# Some tests need many devices; the others use the first one, which computes as a single device does.
jax.config.update("jax_num_cpu_devices", 8)

# Most of a test's time is compilation. XLA's slowest optimizations are left out, a third of it, and the newer
# emitters of its kernels, two thirds of the rest, where it has older ones; `compiled_fully` is for the other tests.
# Many tests compile the same programs. The smallest ones cost more to cache than to compile again.
jax.config.update("jax_disable_most_optimizations", True)
QUICKLY = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
try:
    jax.jit(lambda x: x, compiler_options=QUICKLY).lower(0).compile()
except jax.errors.JaxRuntimeError:  # no such option
    QUICKLY.clear()
full_options = compiler.get_compile_options


def quick_options(*arguments, env_options_overrides=None, **options):
    """Compile as JAX would, with QUICKLY beside the test's own options."""
    quickly = QUICKLY if jax.config.values["jax_disable_most_optimizations"] else {}
    return full_options(*arguments, env_options_overrides=quickly | dict(env_options_overrides or {}), **options)


def put_whole(cache, key, value):
    """Write a compiled program under another name first, as JAX does not: workers share a directory of them."""
    path = cache.path / str(uuid.uuid4())
    path.write_bytes(value)
    path.replace(cache.path / f"{key}{lru_cache._CACHE_SUFFIX}")


compiler.get_compile_options = quick_options
lru_cache.LRUCache.put = put_whole
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.01)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Traces are millions of objects, few of them in cycles: a tenth of the time would go to looking for those.
gc.set_threshold(100_000, 50, 100)

SHARED_TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"


def pytest_configure(config):
    """Keep tests and doctests out of the user's cache; the workers share a compilation cache.

    It stays where JAXRNN_COMPILED names a directory. The processes that the tests of a worker start, one after the
    other, share a second one, which spares most of their time; `own_programs` is for the other tests: JAX would read
    files that are half written.
    """
    # A shell lets its background jobs ignore Ctrl-C, and nohup the end of a terminal: tests send both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    home = tempfile.TemporaryDirectory(prefix="jaxrnn-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = home.name
    # The controlling process sets it for its workers.
    compiled = os.environ.setdefault("JAXRNN_COMPILED", str(Path(home.name, "compiled")))
    jax.config.update("jax_compilation_cache_dir", compiled)
    compilation_cache.reset_cache()  # a worker began with the directory of processes when it compiled QUICKLY
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
def compiled_fully(monkeypatch):
    """Compile as users do, in processes too: for tests of the bits that different programs compute."""
    monkeypatch.delenv("XLA_FLAGS")
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", True)


READ_BY_PROGRAMS = {"model", "optimizer", "sequence_length", "batch_size", "average_decay", "sample_length"}


def as_programs_see_it(value):
    """Return a config whose other fields are None: a program that computes with one of those fails."""
    if not isinstance(value, TrainConfig):
        return value
    config, read = copy.copy(value), READ_BY_PROGRAMS | ({"steps"} if value.optimizer.schedule != "constant" else set())
    for field in dataclasses.fields(config):
        if field.name not in read:
            object.__setattr__(config, field.name, None)
    return config


@pytest.fixture(scope="session", autouse=True)
def _processes_compile_quickly():
    """Let the processes that tests start compile as the tests do; this one has read its XLA_FLAGS before."""
    flags = {**QUICKLY, "xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", " ".join(f"--{name}={value}" for name, value in flags.items()))
        yield


class SharingJax:
    """JAX, but a function that is jitted again, with equal values in its closure, is the one that was jitted before."""

    def __init__(self):
        self.jitted = {}

    def __getattr__(self, name):
        return getattr(jax, name)

    def jit(self, function, **options):
        closure = [as_programs_see_it(cell.cell_contents) for cell in function.__closure__ or ()]
        cells = tuple(map(types.CellType, closure))
        jitted = jax.jit(types.FunctionType(function.__code__, function.__globals__, closure=cells), **options)
        try:
            return self.jitted.setdefault((function.__code__, *closure, *options.items()), jitted)
        except TypeError:  # an array, or shardings: they have no hash
            return jitted


@pytest.fixture(scope="session")
def _programs():
    """What `programs_shared` replaces: each remembers its programs until the end."""
    from jaxrnn.runs import many, programs

    make_train_chunk = functools.cache(programs.make_train_chunk)
    make_sweep_chunk = functools.cache(lambda *configs, make=many.make_sweep_chunk: make(configs))

    def shared_chunk(config, **options):
        return make_train_chunk(as_programs_see_it(config), **options)

    sharing = SharingJax()
    return {
        programs: {"jax": sharing, "make_train_chunk": shared_chunk},
        many: {"jax": sharing, "make_sweep_chunk": lambda configs: make_sweep_chunk(*configs)},
    }


@pytest.fixture(scope="module")
def programs_shared(_programs):
    """Trace and load a program once for all runs of such modules that compute the same; else each run does."""
    with contextlib.ExitStack() as stack:
        for module, replacements in _programs.items():
            stack.enter_context(mock.patch.multiple(module, **replacements))
        yield


@pytest.fixture
def tinyshakespeare():
    """The real text, where the developers' shared folder lies beside the repository."""
    if not SHARED_TEXT.is_file():
        pytest.skip("shared/data/tinyshakespeare.txt is not here")
    return SHARED_TEXT


@pytest.fixture(scope="session")
def _all_directories(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(autouse=True)
def _own_directories(_all_directories, monkeypatch):
    """No test reads what another one cached, and none leaves a run in the working directory.

    Only the latter is made: thousands of directories take long to remove, and `mktemp` lists them all each time.
    """
    directory = tempfile.mkdtemp(dir=_all_directories)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{directory}-cache")
    monkeypatch.setenv("XDG_STATE_HOME", f"{directory}-state")
    monkeypatch.chdir(directory)


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

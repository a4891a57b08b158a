"""What every test gets: strict broadcasting, eight devices, a home of its own, and a switch for float64."""

import os
import tempfile
from pathlib import Path

import jax
import pytest

# A [B, V] quietly added to a [V] hides a forgotten axis.
jax.config.update("jax_numpy_rank_promotion", "raise")
# Some tests need many devices; the others use the first of them, which computes as an only one does.
jax.config.update("jax_num_cpu_devices", 8)

# Most of a test is compiling, and many compile the same programs; to keep the smallest takes longer than to make them.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

SHARED_TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"


def pytest_configure(config):
    """Nothing reads or writes the user's cache, not what is outside of tests either; each worker compiles for itself.

    Two processes must not share what they compile: JAX would read what is half written.
    """
    home = tempfile.TemporaryDirectory(prefix="jaxrnn-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = home.name
    jax.config.update("jax_compilation_cache_dir", str(Path(home.name, "compiled")))


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker begins one when the others are done."""
    items.sort(key=lambda item: not item.name.startswith(("test_it_runs_from_top_to_bottom", "test_a_run_outlives")))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def compiled_quickly():
    """XLA leaves out what costs it most: for tests of what a formula computes, not of its bits or its speed."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def tinyshakespeare():
    """The real text, where the developers' shared folder lies beside the repository."""
    if not SHARED_TEXT.is_file():
        pytest.skip("shared/data/tinyshakespeare.txt is not here")
    return SHARED_TEXT


@pytest.fixture(autouse=True)
def _home_of_its_own(tmp_path_factory, monkeypatch):
    """No test finds what another has left in the cache, or leaves a run where it was started."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))

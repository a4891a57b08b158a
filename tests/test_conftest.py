"""The suite's own behavior: skips that continuous integration does not expect."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_with_torch():
    pytest.importorskip("a_module_that_nobody_has")

@pytest.mark.skipif(True, reason="fish is not installed")
def test_in_fish():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expected", "exit_code"),
    [
        ("fish is.*", pytest.ExitCode.TESTS_FAILED),
        ("fish is.*|could not import 'a_module_that.*", pytest.ExitCode.OK),
    ],
)
def test_a_skip_that_is_not_expected_fails_the_suite(expected, exit_code, tmp_path, monkeypatch):
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    tmp_path.joinpath("test_skips.py").write_text(SKIPS)
    monkeypatch.setenv("JAXRNN_EXPECTED_SKIPS", expected)
    command = [sys.executable, "-m", "pytest", "-n2", "-pno:cacheprovider", str(tmp_path)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == exit_code, process.stdout
    assert "2 skipped" in process.stdout
    assert ("unexpected skip: " in process.stdout) == bool(exit_code)

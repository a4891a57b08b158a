import pytest
from small_runs import prose


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(prose())
    return path


@pytest.fixture(scope="module", autouse=True)
def _programs_shared(programs_shared):
    """These tests are of files and of bits."""

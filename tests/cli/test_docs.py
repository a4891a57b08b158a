import errno
import subprocess
import sys

import pdoc
import pytest


@pytest.mark.slow
def test_the_reference_is_built_from_the_docstrings_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "jaxrnn", "docs", "--out", tmp_path / "api"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == (f"{tmp_path / 'api' / 'index.html'}\n", "")
    top = (tmp_path / "api" / "jaxrnn.html").read_text("utf-8")
    for name in ("fit", "train_step", "TrainConfig", "Cell"):
        assert f'id="{name}"' in top
    assert "summed over the T characters of a lane" in (tmp_path / "api/jaxrnn/network.html").read_text("utf-8")


@pytest.mark.slow
def test_on_a_full_disk_no_page_is_left(tmp_path, jaxrnn, monkeypatch):
    def fill(*_, output_directory):
        (output_directory / "index.html").write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pdoc, "pdoc", fill)
    code, _, stderr = jaxrnn(f"docs --out {tmp_path / 'new' / 'api'}")
    assert (code, "can't write" in stderr, "make room there" in stderr) == (1, True, True)
    assert list((tmp_path / "new" / "api").iterdir()) == []


def test_without_pdoc_it_says_what_to_install(jaxrnn, monkeypatch):
    monkeypatch.setitem(sys.modules, "pdoc", None)
    code, _, stderr = jaxrnn("docs")
    assert (code, "pip install '.[docs]'" in stderr) == (2, True)

import contextlib
import io
import shlex
import shutil

import numpy as np
import pytest
import safetensors.numpy
from command_line import DAMAGES, PROSE, TINY, damage

from jaxrnn.cli import main
from jaxrnn.config import to_json


@pytest.fixture(scope="module", autouse=True)
def _programs_shared(programs_shared):
    """These tests are of commands and files; others are of the programs."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory with a run of the command line in it, and with everything that can't be used as an input."""
    path = tmp_path_factory.mktemp("prepared")
    files = {
        "text.txt": PROSE.encode(),
        "tiny.json": to_json(TINY).encode(),
        "empty.txt": b"",
        "short.txt": b"abcdef",
        "one.txt": b"a" * 100,
        "latin1.txt": PROSE.encode("latin-1"),
        "utf16.txt": PROSE.encode("utf-16"),
        "bom.txt": b"\xef\xbb\xbf" + PROSE.encode(),
        "crlf.txt": PROSE.replace("\n", "\r\n").encode(),
        "other.txt": PROSE.encode()[::-1].replace(b"\xa9\xc3", b"\xc3\xa9"),
        **{f"novel{suffix}": PROSE.encode() for suffix in (".docx", ".pdf", ".epub", ".html")},
        "as-text-docx.txt": b"PK\x03\x04\x14\x00\x06\x00word/document.xml",
        "as-text-pdf.txt": b"%PDF-1.7\n" + PROSE.encode(),
        "as-text-html.txt": b"\n <!DOCTYPE html>\n<html><p>" + PROSE.encode(),
        "as-text-doc.txt": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "nan.json": b'{"optimizer": {"learning_rate": NaN}}',
        "misspelt.json": b'{"model": {"hiden_size": 8}}',
        "list.json": b"[]",
        "notes/thesis.txt": b"years of work",
        "other.safetensors": safetensors.numpy.save({"x": np.zeros(3)}),
    }
    for name, data in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    with contextlib.chdir(path), contextlib.redirect_stdout(io.StringIO()):
        assert main(shlex.split("train --config tiny.json --run-dir run --quiet")) == 0
    for kind in DAMAGES:
        damage(shutil.copytree(path / "run", path / f"damaged-{kind}"), kind)
    return path


@pytest.fixture
def place(prepared, monkeypatch):
    """The prepared directory, to be left as it is."""
    monkeypatch.chdir(prepared)
    return prepared


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    """A directory with the text, the config and the run, to do with as a test likes."""
    for name in ("text.txt", "tiny.json", "crlf.txt", "latin1.txt"):
        shutil.copy(prepared / name, tmp_path)
    shutil.copytree(prepared / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path

import errno
import json

import pytest

from jaxrnn.cli import COMMANDS

BENCH = "--hidden-size 4 --sequence-length 3 --vocab-size 5 --chunk-length 2 --repeats 1"
ARGUMENTS = {
    "train": ["--config tiny.json --run-dir new", "--config tiny.json --run-dir new --quiet", "--dry-run"],
    "sweep": ["--config tiny.json --seeds 2 --run-dir new --plot sweep.svg", "--seeds 2 --dry-run"],
    "sample": ["run --length 20", "run --length 20 --num-samples 2 --report-copies"],
    "evaluate": ["run", "run text.txt --per-character bits.tsv"],
    "info": ["", "run", "run --repair"],
    "runs": [".", "notes"],
    "compare": ["run run"],
    "plot": ["run --out loss.svg"],
    "page": ["run --text the"],
    "bench": [f"step {BENCH} --plot bench.svg"],
    "export": ["run --out weights.safetensors"],
    "import": ["weights.safetensors --corpus text.txt --run-dir imported"],
    "prepare": ["text.txt"],
    "presets": [""],
}


@pytest.fixture
def offline(monkeypatch):
    """Measure nothing but this package, and that quickly."""
    monkeypatch.setattr("jaxrnn.bench.references.version", lambda name: None)
    monkeypatch.setattr("jaxrnn.bench.limits.SECONDS", 0.004)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("command", "arguments"), [(command, arguments) for command in ARGUMENTS for arguments in ARGUMENTS[command]]
)
def test_json_is_one_line_on_stdout_and_nothing_else(home, jaxrnn, command, arguments):
    pytest.importorskip("matplotlib")
    (home / "notes").mkdir()
    if command == "import":
        assert jaxrnn("export run --out weights.safetensors")[0] == 0
    code, out, _ = jaxrnn(f"{command} {arguments} --json")
    assert (code, out.count("\n")) == (0, 1)
    assert json.dumps(json.loads(out)) == out.removesuffix("\n")


def test_every_command_has_json_but_those_that_print_a_script_or_write_pages():
    assert set(ARGUMENTS) == set(COMMANDS) - {"completion", "docs"}


@pytest.mark.parametrize(
    "command",
    [
        "plot run --out FILE.svg",
        "page run --out FILE.html --text the",
        "export run --out FILE.safetensors --overwrite",
        "evaluate run --per-character FILE.tsv --overwrite",
    ],
)
def test_a_file_is_replaced_whole_or_not_at_all(home, jaxrnn, monkeypatch, command):
    pytest.importorskip("matplotlib")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = home / next(word for word in command.split() if word.startswith("FILE"))
    file.write_text("the old one")
    names = sorted(home.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        code, out, err = jaxrnn(command)
    assert (code, out) == (1, "")
    assert f"jaxrnn: can't write {file.name} (No space left on device)" in err
    assert (file.read_text(), sorted(home.iterdir())) == ("the old one", names)
    assert jaxrnn(command)[0] == 0
    assert file.read_bytes()[:11] != b"the old one"
    assert sorted(home.iterdir()) == names

import errno
import json
import os
import subprocess
import sys

import pytest
from command_line import contents

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


WRITERS = {
    "plot": "plot run --out {}.svg",
    "page": "page run --out {}.html --text the",
    "export": "export run --out {}.safetensors",
    "evaluate": "evaluate run --per-character {}.tsv",
    "sweep": "sweep --config tiny.json --seeds 2 --run-dir new --plot {}.svg",
    "bench": f"bench step {BENCH} --plot {{}}.svg",
}


@pytest.mark.parametrize("command", WRITERS.values(), ids=list(WRITERS))
def test_a_place_that_cannot_be_written_is_one_error_in_all_commands(home, jaxrnn, command):
    for suffix in ("svg", "html", "safetensors", "tsv"):
        (home / f"folder.{suffix}").mkdir()
    for place, reason, advice in [
        ("nowhere/file", "No such file or directory", "make its directory first, or choose another"),
        ("folder", "Is a directory", "give the name of a file"),
        ("x" * 300, "File name too long", "choose another place"),
    ]:
        code, out, err = jaxrnn(command.format(place))
        assert (code, out) == (1, "")
        assert err.startswith(f"jaxrnn: can't write {place}.")
        assert err.endswith(f"({reason}); {advice}\n")
    assert not (home / "new").exists()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("page run --out text.txt", 2, "a page, whose name ends in .html, got text.txt"),
        ("page run --out run/config.json", 2, "a page, whose name ends in .html, got run/config.json"),
        ("page run --out run/checkpoints/step-0000000020.safetensors", 2, "a page, whose name ends in .html"),
        ("export run --out run/checkpoints/best.safetensors", 2, "is named as a checkpoint"),
        ("export run --out run/checkpoints/step-0000000020.safetensors --overwrite", 2, "is named as a checkpoint"),
        ("bench --save run/config.json --repeats 1", 2, "run/config.json is no measurement"),
        ("bench --save text.txt --repeats 1", 2, "text.txt is no measurement"),
    ],
)
def test_what_is_of_another_kind_is_not_replaced(home, jaxrnn, command, code, message):
    before = contents(home)
    actual, _, err = jaxrnn(command)
    assert (actual, message in err) == (code, True), err
    assert contents(home) == before


@pytest.mark.parametrize("command", ["plot run --out FILE.svg", "page run --out FILE.html --text the"])
def test_a_file_that_is_replaced_is_said_to_be(home, jaxrnn, command):
    assert "replaced" not in jaxrnn(command)[1]
    assert "replaced)" in jaxrnn(command)[1]


@pytest.mark.slow
@pytest.mark.parametrize("command", list(WRITERS.values())[:4], ids=list(WRITERS)[:4])
def test_a_file_beyond_the_limit_leaves_the_old_one(home, command):
    name = command.format("FILE").partition("FILE")[2].partition(" ")[0]
    (home / f"FILE{name}").write_text("the old one")
    names = sorted(home.iterdir())
    overwrite = " --overwrite" if "export" in command or "evaluate" in command else ""
    limited = f"ulimit -f 1; {sys.executable} -m jaxrnn {command.format('FILE')}{overwrite}"
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = subprocess.run(["bash", "-c", limited], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert f"jaxrnn: can't write FILE{name} (File too large); allow larger files" in done.stderr
    assert ((home / f"FILE{name}").read_text(), sorted(home.iterdir())) == ("the old one", names)

import dataclasses
import io
import re
import shlex
import sys
import tomllib
from pathlib import Path

import optax
import pytest

from jaxrnn.bench import timing
from jaxrnn.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))


def test_it_is_short():
    assert len(README.splitlines()) <= 200
    assert len(README.split()) <= 1800
    long = [line for line in README.splitlines() if len(line) > 120]
    assert all(line.startswith("![") for line in long), long


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_tree_names_every_module_and_no_other():
    tree = re.search(r"^jaxrnn/ .*?\n(.*?)^notebooks/", README, re.DOTALL | re.MULTILINE).group(1)
    named = {
        name for names in re.findall(r"^  ([^\s,]+(?:, [^\s,]+)*) ", tree, re.MULTILINE) for name in names.split(", ")
    }
    there = (path for path in (ROOT / "jaxrnn").iterdir() if path.name not in ("__pycache__", "__main__.py"))
    assert named == {path.name + "/" * path.is_dir() for path in there}


def test_its_first_two_commands_install_the_package():
    install = r"python3 -m venv .venv && .venv/bin/pip install (\.|-e '\.\[test\]') && .venv/bin/(jaxrnn train|pytest)"
    assert re.findall(rf"^{install}$", README, re.MULTILINE) == [(".", "jaxrnn train"), ("-e '.[test]'", "pytest")]


def test_every_command_of_it_is_one():
    named = set(re.findall(r"jaxrnn ([a-z]+)\b", SHELL))
    assert named == set(COMMANDS) & named
    assert {"train", "sweep", "sample", "evaluate", "page", "plot", "export", "import"} <= named


def test_the_changelog_begins_with_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(r"^## (.*)$", (ROOT / "jaxrnn" / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == version


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*donated buffers")
def test_its_python_runs(capsys, tmp_path, monkeypatch):
    *blocks, cell = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(block.replace("10_000", "200"), names)
    assert "step 100, " in capsys.readouterr().out
    assert names["tokens"].shape == (50, 1)

    exec(cell, names)
    assert names["config"].model.cell is names["MGU"]
    fits = re.findall(r"`(fit\(.*?\))`", README)
    assert len(fits) == 2
    names |= {"fit": names["jaxrnn"].fit, "my_loss": names["jaxrnn"].loss, "optax": optax}
    names["config"] = dataclasses.replace(names["config"], steps=20)
    for call in fits:
        assert list(eval(call, names))[-1].finished

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_cells.py").write_text(cell, "utf-8")
    assert not main(["train", "--cell", "my_cells.py:MGU", "--steps", "20", "--quiet"])


def shortened(command):
    """A command of the README with less to do."""
    if "--resume" in command:
        return re.sub(r"--steps \d+", "--steps 30", command)
    if command.startswith(("train", "sweep")):
        little = command.replace("--minutes 10", "--minutes 0.02").replace("quick", "quick --hidden-size 16")
        return f"{little} --steps 20 --quiet"
    command = command.replace("--dynamic", "--dynamic --dynamic-rate 1e-4 --dynamic-decay 0")
    return f"{command} --repeats 1" if command.startswith("bench") else command


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*donated buffers")
def test_its_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "SECONDS", 0.004)
    (tmp_path / "novel.txt").write_text("The cat sat on the mat, and the dog on the log.\n" * 2000, "utf-8")
    (tmp_path / "more.txt").write_text("The owl sat on the wall, and the bat on the vat!\n" * 2000, "utf-8")
    commands = re.findall(r"^(?:source <\()?jaxrnn (.*?)\)? +#", SHELL, re.MULTILINE)
    assert len(commands) > 12
    for command in commands:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"The \n"), encoding="utf-8"))
        code = main(shlex.split(shortened(command)))
        assert code == 0, f"{command}: {capsys.readouterr().err}"
    assert {"model.html", "loss.png", "novel.safetensors"} <= {path.name for path in tmp_path.iterdir()}

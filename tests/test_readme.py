import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*donated buffers")
def test_the_python_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    shared = {}
    for block in blocks:
        exec(block.replace("steps=10_000", "steps=200"), shared)
    assert "The " in capsys.readouterr().out
    assert shared["tokens"].shape == (50, 1)
    assert shared["model"].cell is shared["MGU"]


def test_every_command_of_the_readme_is_one():
    from jaxrnn.cli import COMMANDS

    named = set(re.findall(r"jaxrnn ([a-z]+) ", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))))
    assert named <= set(COMMANDS)
    assert {"train", "sample", "evaluate", "info", "export"} <= named


def test_the_tree_of_the_readme_names_every_module_and_no_other():
    tree = re.search(r"^jaxrnn/\n(.*?)^notebooks/", README, re.DOTALL | re.MULTILINE).group(1)
    named = set(re.findall(r"^  (\S+?)/? ", tree, re.MULTILINE))
    package = Path(__file__).parent.parent / "jaxrnn"
    found = {path.name for path in package.iterdir() if path.name not in ("__pycache__", "__main__.py")}
    assert named == found

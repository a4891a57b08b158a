"""Whatever the width of the terminal, and without any, commands end and say what they should."""

import subprocess
import sys

import pytest
from terminal import shown_here

pytestmark = pytest.mark.slow

TRAIN = "train --config tiny.json --overwrite --run-dir runs/new"


@pytest.mark.parametrize("columns", ["0", "1", "5", "20"])
@pytest.mark.parametrize("command", ["--help", "train --help", "train --hiden-size 3", TRAIN, "runs"])
def test_any_number_of_columns_in_the_environment_will_do(home, columns, command):
    (home / "run").rename(home / "runs")
    shown, code = shown_here(*command.split(), COLUMNS=columns)
    assert code == (2 if "hiden" in command else 0), shown
    assert {TRAIN: "20 of 20 steps", "runs": "finished"}.get(command, "--help") in shown


@pytest.mark.parametrize("columns", [1, 3, 10])
@pytest.mark.parametrize("command", ["sample --help", "sample run --temprature 3", TRAIN, "compare run run"])
def test_a_terminal_a_few_characters_wide_will_do(home, columns, command):
    shown, code = shown_here(*command.split(), columns=columns)
    assert code == (2 if "temprature" in command else 0), shown
    assert {TRAIN: "20 of 20 steps", "compare run run": "steps done"}.get(command, "--temperature") in shown


@pytest.mark.parametrize("command", ["train --help", TRAIN, "runs run", "sample run --length 20", "info run"])
def test_no_terminal_and_a_closed_stdin_will_do(home, command):
    in_a_shell = ["sh", "-c", f"{sys.executable} -m jaxrnn {command} <&-"]
    done = subprocess.run(in_a_shell, check=False, capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout

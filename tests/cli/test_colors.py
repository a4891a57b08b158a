import subprocess

import pytest
from terminal import Terminal, shown_here

from jaxrnn.cli import COMMANDS, main


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_help_has_colors_on_a_terminal_unless_no_color_is_set(environment, colored):
    shown, code = shown_here("sample", "--help", **environment)
    assert code == 0
    assert "--temperature" in shown
    assert ("\x1b" in shown) == colored


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_help_writes_escape_codes_to_a_pipe(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert "--help" in out
    assert "\x1b" not in out + err


@pytest.mark.slow
def test_an_error_in_a_log_has_no_escape_codes():
    terminal = Terminal("sample", "run", "--temprature", "2", stderr=subprocess.PIPE)
    assert terminal.rest() == ("", 2)
    err = terminal.process.stderr.read().decode()
    terminal.process.stderr.close()
    assert "Perhaps you meant" in err
    assert "--temperature FLOAT" in err
    assert "\x1b" not in err


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_a_mistake_has_colors_at_a_terminal_but_not_with_no_color(environment, colored):
    shown, code = shown_here("sample", "run", "--temprature", "2", **environment)
    assert code == 2
    assert "Perhaps" in shown
    assert ("\x1b" in shown) == colored

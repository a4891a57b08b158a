import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from jaxrnn.cli import COMMANDS, main

# What stands before the cursor, and some of what is offered there.
CASES = {
    "jaxrnn ": set(COMMANDS),
    "jaxrnn tr": {"train"},
    "jaxrnn train --ce": {"--cell"},
    "jaxrnn train --schedule ": {"constant", "cosine", "exponential"},
    "jaxrnn train --schedule ex": {"exponential"},
    "jaxrnn train --preset ": {"min-char-rnn", "char-rnn", "quick", "best"},
    "jaxrnn train novel.txt --init f": {"fan_in"},
    "jaxrnn sweep novel.txt --learning-": {"--learning-rate"},
    "jaxrnn sample runs/a --te": {"--temperature"},
    "jaxrnn evaluate runs/a --split-name ": {"train", "validation", "test"},
    "jaxrnn train --config t": {"text.txt"},
    "jaxrnn train tex": {"text.txt"},
    "jaxrnn sample runs/": {"runs/a", "runs/b"},
}


@pytest.fixture
def script(capsys, tmp_path, monkeypatch):
    def script(shell):
        assert main(["completion", shell]) == 0
        path = tmp_path / "scripts" / ("_jaxrnn" if shell == "zsh" else f"jaxrnn.{shell}")
        path.parent.mkdir()
        path.write_text(capsys.readouterr().out)
        return path

    for name in ("runs/a", "runs/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "text.txt").touch()
    monkeypatch.chdir(tmp_path)
    return script


def shell(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


class Typing:
    """A shell in a terminal of its own, and what it shows when a line and the tab key are typed."""

    def __init__(self, *command):
        self._end, its_end = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "PS1": "READY ", "INPUTRC": "/dev/null"}
        self._process = subprocess.Popen(
            command, stdin=its_end, stdout=its_end, stderr=its_end, env=environment, start_new_session=True
        )
        os.close(its_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def until(self, pattern, keys):
        """Type keys, and return what is shown up to a pattern."""
        os.write(self._end, keys.encode())
        shown, end = "", time.monotonic() + 30
        while not re.search(pattern, shown):
            assert time.monotonic() < end, shown
            if select.select([self._end], [], [], 0.1)[0]:
                shown += os.read(self._end, 4096).decode().replace("\a", "").replace("\b", "")
        return shown

    def completes(self, line, completed):
        self.until(re.escape(completed), f"{line}\t")
        self.until("READY", "\x15\n")  # Ctrl-U


LINES = {
    "jaxrnn tr": "ain ",
    "jaxrnn train --schedule ex": "ponential ",
    "jaxrnn train --hidden-s": "ize ",
    "jaxrnn train tex": "t.txt ",
    "jaxrnn train --config tex": "t.txt ",
}


def test_bash_completes_commands_flags_values_and_files(script):
    with Typing("bash", "--norc", "--noprofile", "-i") as bash:
        bash.until("OK", f"source {script('bash')}; echo O''K\n")
        for line, rest in LINES.items():
            bash.completes(line, line + rest)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_commands_flags_values_and_files(script, tmp_path):
    with Typing("zsh", "-f", "-i") as zsh:
        directory = script("zsh").parent
        zsh.until("OK", f"fpath+=({directory}); autoload -Uz compinit; compinit -u -d {tmp_path}/dump; echo O''K\n")
        for line, rest in LINES.items():
            zsh.completes(line, line + rest)


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.slow
def test_fish_completes_commands_flags_values_and_files(script):
    lines = [f"source {script('fish')}"]
    for case in CASES:
        lines += [f"complete -C '{case}'", "echo ---"]
    offers = shell("fish", "--no-config", "-c", "\n".join(lines)).split("---\n")
    for (case, expected), text in zip(CASES.items(), offers, strict=False):
        assert expected <= {line.partition("\t")[0].rstrip("/") for line in text.splitlines()}, case


def test_without_a_name_the_script_is_for_the_users_shell(capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main(["completion"]) == 0
    assert "\nfunction _tyro_jaxrnn\n" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["completion"]) == 2
    assert "there is completion for bash, zsh, fish, not for tcsh" in capsys.readouterr().err

import shutil
import subprocess

import pytest

from jaxrnn.cli import COMMANDS, main

# What stands before the cursor, and some of what is offered there; a leading "not" takes it back.
CASES = {
    "jaxrnn ": set(COMMANDS),
    "jaxrnn tr": {"train"},
    "jaxrnn train --ce": {"--cell"},
    "jaxrnn train --cell ": {"tanh", "gru", "lstm"},
    "jaxrnn train --cell g": {"gru"},
    "jaxrnn sweep --cell g": {"gru"},
    "jaxrnn train --preset ": {"min-char-rnn", "char-rnn", "quick", "best"},
    "jaxrnn train novel.txt --optimizer ad": {"adagrad", "adam", "adamw"},
    "jaxrnn train t": {"tinyshakespeare", "text.txt"},
    "jaxrnn sample runs/a --from ": {"best", "last"},
    "jaxrnn sample runs/a --te": {"--temperature"},
    "jaxrnn evaluate runs/a --split-name ": {"train", "validation", "test"},
    "jaxrnn bench s": {"step", "sample", "startup", "scaling", "sweep"},
    "jaxrnn completion ": {"bash", "zsh", "fish"},
}
FILES = {"jaxrnn sample runs/": {"runs/a", "runs/b"}, "jaxrnn train --config t": {"text.txt"}}


@pytest.fixture
def script(capsys, tmp_path, monkeypatch):
    def script(shell):
        assert main(["completion", shell]) == 0
        path = tmp_path / f"jaxrnn.{shell}"
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


def test_bash_completes_commands_flags_values_and_files(script):
    lines = [f"source {script('bash')}"]
    for case in (*CASES, *FILES):
        words = " ".join(f'"{word}"' for word in case.split(" "))
        lines.append(f'COMP_WORDS=({words}) COMP_CWORD={case.count(" ")}; _jaxrnn; echo "${{COMPREPLY[*]}}"')
    offered = [set(line.split()) for line in shell("bash", "--norc", "-c", "\n".join(lines)).split("\n")]
    assert dict(zip(CASES, offered, strict=False)) == CASES
    # What is not ours it leaves to bash: names of files.
    assert offered[len(CASES) : -1] == [set()] * len(FILES)
    assert "-o default" in shell("bash", "--norc", "-c", f"{lines[0]}; complete -p jaxrnn")


def test_bash_offers_names_with_spaces_whole(script, tmp_path):
    (tmp_path / "my novel.txt").touch()
    code = 'COMP_WORDS=(jaxrnn train my) COMP_CWORD=2; _jaxrnn; printf "%s|" "${COMPREPLY[@]}"'
    assert shell("bash", "--norc", "-c", f"source {script('bash')}; {code}") == "my novel.txt|"


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_commands_flags_values_and_files(script):
    lines = [f"source {script('fish')}"]
    cases = {**CASES, **FILES}
    for case in cases:
        lines += [f"complete -C '{case}'", "echo ---"]
    offered = shell("fish", "--no-config", "-c", "\n".join(lines)).split("---\n")
    found = {
        case: {line.partition("\t")[0].rstrip("/") for line in text.splitlines()}
        for case, text in zip(cases, offered, strict=False)
    }
    assert all(expected <= found[case] for case, expected in cases.items()), found
    assert found["jaxrnn train --cell "] == CASES["jaxrnn train --cell "]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_takes_the_script(script, tmp_path):
    code = f"autoload -Uz compinit; compinit -u -d {tmp_path}/dump; source {script('zsh')}; echo $_comps[jaxrnn]"
    assert shell("zsh", "-f", "-c", code) == "_jaxrnn\n"


def test_without_a_name_the_script_is_for_the_users_shell(capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main(["completion"]) == 0
    assert capsys.readouterr().out.startswith("# Completion of jaxrnn in fish")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["completion"]) == 2
    assert "there is completion for bash, zsh, fish, not for tcsh" in capsys.readouterr().err

"""What commands print is safe on any terminal, and whole in any pipe; streams may be closed or full."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from command_line import process
from terminal import Terminal, shown_here

from jaxrnn.runs import load_checkpoint

pytestmark = pytest.mark.slow

CONTROLS = "\x1b[31mred \x1b]0;title\x07 \x9b5m \x08\x7f\x0b back\rover \u202edrawkcab\u2066\n"
NAME = "new\x1b]0;name\x07\r"
TRAIN = "train --config tiny.json --overwrite --run-dir new"
WIDE = "кот сидел на ковре.\n" * 20
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def in_shell(command, **environment):
    options = {"check": False, "capture_output": True, "start_new_session": True}
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} -m jaxrnn {command}"], env=os.environ | environment, **options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with a run on control characters and one on letters beyond ASCII."""
    directory = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(directory):
        for text, name in ((CONTROLS * 20, NAME), (WIDE, "wide")):
            with open("text.txt", "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
                file.write(text)
            done = in_shell(f"train text.txt --hidden-size 16 --steps 300 --quiet --run-dir '{name}'")
            assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def at_runs(home, trained):
    shutil.copytree(trained, home, dirs_exist_ok=True)


closed = pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])


@closed
@pytest.mark.parametrize("command", ["--help", "--version", "runs run", "runs run --json"])
def test_a_closed_stream_is_no_error_and_no_file_takes_its_place(home, command, closed):
    done = in_shell(f"{command} {closed}")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


# Forks of a process that has imported JAX spare the time of its import; their streams are closed as its own are.
FORKS = """
import os, sys
import jax, jaxrnn.cli, jaxrnn.runs.checkpoint
for line in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.exit(jaxrnn.cli.main(line.split()))
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(code)
"""


@closed
def test_neither_is_it_where_something_is_computed(home, closed):
    commands = shlex.join([TRAIN, "sample run --length 9", "page run"])
    command = f"{sys.executable} -c {shlex.quote(FORKS)} {commands} {closed}"
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, start_new_session=True)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert load_checkpoint("new").counters["step"] == 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-7", "utf-16", "utf-32", "ascii", "shift_jis"])
def test_a_file_name_that_is_not_utf_8_can_be_written_in_any_encoding(home, encoding):
    done = in_shell(r"""train "$(printf 'x\377')" """, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert "no such file" in done.stderr.decode(encoding, "replace")
    assert b"bug" not in done.stderr
    assert in_shell(r"""evaluate run --version "$(printf 'x\377')" """, PYTHONIOENCODING=encoding).returncode == 2


@pytest.mark.parametrize("command", ["sample run --prompt-file -", "sample run --interactive"])
def test_what_reads_a_closed_stdin_says_so(home, command):
    done = in_shell(f"{command} <&-")
    assert done.returncode == 2
    assert b"stdin" in done.stderr
    assert b"closed" in done.stderr


@pytest.mark.parametrize("command", ["no-command", "sample nowhere", "train --hiden-size 3"])
def test_an_error_that_cannot_be_shown_keeps_its_exit_code(home, command):
    assert in_shell(f"{command} 2>/dev/full").returncode == 2
    assert in_shell(f"{command} 2>&-").returncode == 2


def test_training_goes_on_where_stdout_is_full(home):
    done = in_shell(f"{TRAIN} >/dev/full")
    assert (done.returncode, load_checkpoint("new").counters["step"]) == (1, 20)  # the result can't be printed either
    assert done.stderr.count(b"training goes on without printing samples") == 1
    assert done.stderr.rstrip().endswith(b"make room, or write elsewhere")


def test_no_control_character_of_a_text_or_a_name_reaches_a_terminal(at_runs):
    for command in (["sample", NAME, "--greedy"], ["info", NAME], ["runs", "."], ["compare", NAME, "run"]):
        shown, code = shown_here(*command, NO_COLOR="1")
        assert code == 0
        assert r"\x1b]0;" in shown
        assert all(character.isprintable() for character in shown.replace("\r\n", "").replace("\t", "")), repr(shown)
    shown, code = shown_here("sample", "nowhere\x1b]0;name\x07")
    assert (code, r"nowhere\x1b]0;name\x07" in shown, "\x1b]" in shown) == (2, True, False)
    shown, code = shown_here("train", "--hi\x1b]0;den\x07", "3")
    assert (code, r"\x1b]0;" in shown, "\x1b]" in shown) == (2, True, False)


def test_a_terminal_still_gets_the_colors_of_this_program(home):
    shown, _ = Terminal("runs", ".").rest()
    assert "\x1b[1mrun " in shown


def test_a_pipe_gets_samples_as_they_are(at_runs):
    out, _ = process(shlex.join(["sample", NAME, *["--greedy", "--length", "200"]])).communicate()
    assert out.count("\x1b") > 2
    assert "\\x" not in out


@pytest.mark.parametrize("encoding", ["", "latin-1"])
def test_a_file_gets_utf_8_whatever_the_locale_is(at_runs, encoding):
    environment = {**ASCII, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    done = in_shell("sample wide --prompt кот --greedy --length 5", **environment)
    if not encoding:
        assert done.stdout.decode() == "кот сиде\n"
        assert b"encoding" not in done.stderr
    else:  # the user's wish, but said
        assert done.stdout.startswith(rb"\u043a")
        assert done.stderr.count(b"encoding") == 1


def test_a_terminal_whose_encoding_lacks_characters_is_told_once(at_runs):
    shown, code = Terminal("sample", "wide", "--prompt", "кот", "--greedy", **ASCII).rest()
    assert code == 0
    assert shown.count("the encoding of this terminal is ascii") == 1
    assert r"\u0441\u0438\u0434" in shown


def test_a_prompt_can_be_typed_where_python_expects_ascii(at_runs):
    command = "sample wide --interactive --greedy --length 5"
    options = {"check": True, "capture_output": True, "input": "кот\n".encode(), "env": os.environ | ASCII}
    done = subprocess.run([sys.executable, "-m", "jaxrnn", *command.split()], **options)
    assert done.stdout.decode() == "кот сиде\n"


def test_json_has_no_lone_surrogates(home):
    name = os.fsdecode(b"run-\xff")
    (home / "run").rename(home / name)
    done = in_shell("runs . --json")
    (run,) = json.loads(done.stdout)
    assert run["path"] == r"run-\xff"
    done = in_shell(f"train text.txt --prompt {'é'} --dry-run --json", **ASCII)
    assert json.loads(done.stdout)["prompt"] == "é"

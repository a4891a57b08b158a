import io
import os
import shlex
import subprocess
import sys

import jax
import pytest
from arrays import init_params
from terminal import Terminal

from jaxrnn.cli import main
from jaxrnn.cli.interactive import WORDS, history_file
from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.runs import begin_run
from jaxrnn.text import load_corpus

TEXT = "the cat sat on a mat\nand a café\n" * 9


def make_run(path, **values):
    """Make a run of an untrained network, which always writes the same nonsense."""
    (path / "text.txt").write_text(TEXT, "utf-8")
    corpus = load_corpus(path / "text.txt")
    model = ModelConfig(hidden_size=8, init_scale=1.0, vocab_size=len(corpus.vocabulary))
    config = TrainConfig(model=model, sequence_length=5, steps=10, **values)
    begin_run(init_params(jax.random.key(0), model), config, corpus, path / "run")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("place")
    make_run(path)
    return path


@pytest.fixture
def talk(place, capsys, monkeypatch):
    """Type lines; return the output to stdout and to stderr."""
    monkeypatch.chdir(place)

    def talk(*lines, flags="", run="run"):
        typed = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
        assert main(["sample", str(run), "--interactive", "--length", "130", *shlex.split(flags)]) == 0
        return capsys.readouterr()

    return talk


@pytest.fixture
def sample(place, capsys, monkeypatch):
    monkeypatch.chdir(place)

    def sample(flags):
        assert main(["sample", "run", "--length", "130", *shlex.split(flags)]) == 0
        return capsys.readouterr().out

    return sample


@pytest.mark.parametrize("beginning", ["t", "the café", "a cat " * 50])
def test_the_first_turn_writes_what_sample_writes_after_the_same_prompt(talk, sample, beginning):
    expected = sample(f"--prompt '{beginning}'")
    assert talk(beginning) == (expected, "")
    assert talk(flags=f"--prompt '{beginning}'") == (expected, "")


def test_an_empty_line_lets_the_network_continue_where_it_stopped(talk, sample):
    whole = sample("--greedy --prompt the --length 390")
    assert talk("the", "", "", "/show", flags="--greedy").out.endswith(whole)
    assert talk("", "/show").out.count(sample("")) == 2  # without a beginning it finds one


def test_the_next_typed_text_starts_a_new_line_and_the_network_has_read_everything(talk, sample):
    first = sample("--greedy --prompt the").removesuffix("\n")
    prompt = first + "\n" * (not first.endswith("\n")) + "a mat"
    written = talk("the", "a mat", "/show", flags="--greedy").out
    assert written.endswith(sample(f"--greedy --prompt '{prompt}'"))


def test_reset_starts_over(talk):
    once = talk("the").out
    assert talk("the", "/reset", "the").out == once + once
    assert talk("the", "/reset", "the", "/show").out == once + once + once[: len("the") + 130] + "\n"


def test_again_replaces_the_last_turn_of_the_network(talk):
    once = talk("the").out
    written = talk("the", "/again", "/show").out.removeprefix(once)
    other = written[:130]
    assert written.endswith(f"the{other}\n")
    assert f"the{other}" != once[: len("the") + 130]


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("/temperature 0.3", "--temperature 0.3"),
        ("/top-k 2", "--top-k 2"),
        ("/top_p 0.4", "--top-p 0.4"),
        ("/greedy on", "--greedy"),
        ("/length 7", "--length 7"),
        (r"/stop \n", "--stop '\n'"),
        ("/seed 3", "--seed 3"),
    ],
)
def test_a_setting_does_what_the_flag_of_that_name_does(talk, sample, command, flags):
    out, err = talk(command, "the")
    assert out.removesuffix("\n") == sample(f"--prompt the {flags}").rstrip("\n")
    assert out != talk("the").out
    assert err.startswith(command[1:].split()[0].replace("_", "-") + ": ")


def test_a_setting_can_be_shown_and_switched_off(talk):
    lines = ("/top-k 2", "/top-k", "/top-k off", "/greedy", "/stop", "/temperature")
    assert talk(*lines, "the") == (
        talk("the").out,
        "top-k: 2\ntop-k: 2\ntop-k: off\ngreedy: off\nstop: off\ntemperature: 1.0\n",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("the 猫", "the model has never seen 猫"),
        ("/temperature -1", "temperature must be"),
        ("/temperature hot", "/temperature must be a number, got hot"),
        ("/top-k 1000", "top_k must be a whole number from 1 to"),
        ("/top-k 1.5", "/top-k must be a whole number, got 1.5"),
        ("/top-p 2", "top_p must be"),
        ("/length 0", "length must be"),
        ("/seed -1", "seed must be"),
        ("/greedy maybe", "/greedy must be on or off, got maybe"),
        ("/stop 猫", "the stop string '猫' can't occur"),
        ("/temprature 2", "no such command: /temprature; did you mean /temperature?"),
        ("/x", "no such command: /x; /help"),
        ("/save", "/save needs a file's name"),
        ("/save text.txt", "text.txt exists already; choose another file"),
        ("/save nowhere/text.txt", "can't write nowhere/text.txt"),
        ("\udcff", "the model has never seen"),  # a byte that is not UTF-8
    ],
    ids=ascii,
)
def test_a_mistake_is_reported_in_a_line_and_changes_nothing(talk, place, line, message):
    expected = talk("the", "").out
    out, err = talk("the", line, "")
    assert out == expected
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert (place / "text.txt").read_text("utf-8") == TEXT


def test_save_writes_the_text_so_far_and_replaces_only_its_own_file(talk, tmp_path):
    path = tmp_path / "saved.txt"
    out, err = talk("the café", f"/save {path}", "", f"/save {path}", "/show")
    assert out.endswith(path.read_text("utf-8") + "\n")
    assert len(path.read_text("utf-8")) == len("the café") + 260
    assert err == f"saved: {path}\n" * 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_the_conversation_and_a_file_that_cannot_be_written_does_not(place):
    program = [sys.executable, "-m", "jaxrnn", "sample", "run", "--interactive", "--length", "5"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        run = subprocess.run(program, cwd=place, input=b"a\n", stdout=full, stderr=subprocess.PIPE, check=False)
    assert (run.returncode, b"jaxrnn: can't write to stdout" in run.stderr) == (1, True)
    run = subprocess.run(program, cwd=place, input=b"a\n/save no/where\n", capture_output=True, check=False)
    assert (run.returncode, b"can't write no/where" in run.stderr) == (0, True)


def test_help_names_every_command_and_quit_leaves(talk):
    out, err = talk("/help", "/quit", "the")
    assert out == ""
    assert all(f"  {word} " in err for word in WORDS)


def test_lines_can_be_joined_and_a_text_can_begin_with_a_slash(talk, sample):
    assert talk("the\\", "cat").out == sample("--prompt 'the\ncat'")
    assert "never seen /" in talk("//save").err


def test_documents_reset_the_state_as_in_sample(talk, tmp_path, capsys):
    make_run(tmp_path, reset_on="\n")
    for flags in ("--greedy", "--seed 2"):
        assert (
            main(["sample", str(tmp_path / "run"), "--length", "130", "--prompt", "the cat\nan", *flags.split()]) == 0
        )
        expected = capsys.readouterr().out
        assert talk("the cat\\", "an", flags=flags, run=tmp_path / "run").out == expected


@pytest.mark.parametrize("flag", ["--json", "--report-copies", "--num-samples 2", "--prompt-file -"])
def test_conflicting_flags_are_refused(place, capsys, monkeypatch, flag):
    monkeypatch.chdir(place)
    assert main(["sample", "run", "--interactive", *flag.split()]) == 2
    assert "don't go together" in capsys.readouterr().err


def test_a_closed_stdin_is_reported(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdin", None)  # as after <&-
    assert main(["sample", "run", "--interactive"]) == 2
    assert "stdin, which is closed" in capsys.readouterr().err


@pytest.mark.slow
def test_at_a_terminal_ctrl_c_stops_the_writing_and_ctrl_d_leaves(place, monkeypatch):
    monkeypatch.chdir(place)
    with Terminal("sample", "run", "--interactive", "--length", "1000000000") as terminal:
        assert "after step 0; it knows" in terminal.until("> ")
        terminal.type("the café\r")
        terminal.until("\x1b[1mthe café\x1b[0m")
        terminal.type("\x03")
        terminal.until("\r\n> ")
        terminal.type("half a line\x03")
        terminal.until("\r\n> ")
        terminal.type("/length 20\r")
        terminal.until("length: 20\r\n> ")
        terminal.type("\x1b[A\x1b[A\r")  # two lines back in the history
        terminal.until("the café\x1b[0m")
        terminal.until("\r\n> ")
        terminal.type("/temp\t 0.5\r")
        terminal.until("temperature: 0.5\r\n> ")
        terminal.type("\x04")
        assert terminal.rest()[1] == 0
    history = history_file()
    assert history.read_text("utf-8").splitlines()[:2] == ["the café", "/length 20"]
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_input_in_another_encoding_than_stdins_is_told_in_a_line(place):
    command = [sys.executable, "-m", "jaxrnn", "sample", str(place / "run"), "--interactive"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-16"}
    done = subprocess.run(command, input=b"the\n", capture_output=True, env=environment, timeout=100)
    lines = done.stderr.decode("utf-16").splitlines()
    assert [line.partition(" (")[0] for line in lines if "stdin" in line] == ["stdin is no utf-16"], lines
    assert (done.returncode, "this is a bug" in done.stderr.decode("utf-16")) == (0, False)

"""What a run says while it trains and at its end."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from terminal import Terminal

from jaxrnn.cli import main
from jaxrnn.cli.advice import closing_lines
from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.config.presets import PRESET_FACTS
from jaxrnn.runs.checkpoint_files import list_checkpoints

pytestmark = pytest.mark.filterwarnings("ignore:training reads")  # not all of so short a text

LEARNED = "train noise.txt --config overfit.json --run-dir 'a run'"


@pytest.fixture
def noise(tmp_path, monkeypatch):
    """A directory with a text that can only be learned by heart."""
    monkeypatch.chdir(tmp_path)
    letters = np.random.default_rng(0).choice(list("abcdefgh"), 400)
    Path("noise.txt").write_text("".join(letters) + "\n", "utf-8")
    config = TrainConfig(
        model=ModelConfig(hidden_size=32),
        sequence_length=10,
        batch_size=4,
        steps=400,
        split=(0.5, 0.5),
        validate_every=20,
        sample_length=20,
        log_every=20,
        chunk_length=20,
    )
    Path("overfit.json").write_text(to_json(config), "utf-8")


@pytest.mark.usefixtures("noise")
@pytest.mark.slow
def test_a_loss_that_rises_is_said_once_on_the_way_and_at_the_end(jaxrnn):
    code, out, err = jaxrnn(LEARNED)
    assert code == 0
    (line,) = re.findall("^validation loss rises: .*", err, re.MULTILINE)
    step, best = map(int, re.search(r"after step (\d+), best \S+ after step (\d+): the network begins", line).groups())
    assert best < step < 400
    last = re.search(
        rf"best after step {best} of 400: (\S+) bits per character; now (\S+): it has learned the text by heart; "
        r"sample, page and evaluate take the best \(--from best\)",
        out,
    )
    assert float(last[2]) > 1.03 * float(last[1])
    assert "the best checkpoint of a run, after step" in jaxrnn("sample 'a run' --length 3")[2]
    assert not jaxrnn(f"{LEARNED} --overwrite --quiet")[2]


@pytest.mark.usefixtures("noise")
def test_a_loss_that_falls_is_not_said_to_rise(jaxrnn):
    code, out, err = jaxrnn(f"{LEARNED} --steps 20")
    assert (code, "rises" in err, "by heart" in out) == (0, False, False)
    assert re.search(r"best after step 20 of 20: \S+ bits per character; now \S+$", out, re.MULTILINE)


def commands(text):
    """The commands to copy at the end of a text."""
    lines = text.splitlines()[-3:]
    assert [line[:12] for line in lines] == ["sample it:  ", "see it:     ", "go on:      "]
    return [shlex.split(line[12:]) for line in lines]


@pytest.mark.usefixtures("noise")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("flags", "exit_code", "resume"),
    [
        ("", 0, ["--steps", "800"]),
        ("--patience 2", 0, ["--patience", "4"]),
        ("--resume --learning-rate 3e38", 4, ["--steps", "400", "--learning-rate", "1.5e+38"]),
    ],
)
def test_training_ends_with_commands_that_run(jaxrnn, flags, exit_code, resume):
    start = LEARNED
    if exit_code:
        assert jaxrnn(f"{LEARNED} --steps 20")[0] == 0
        start = "train --run-dir 'a run' --steps 400"
    code, out, err = jaxrnn(f"{start} {flags}")
    assert code == exit_code, err
    sample, page, go_on = commands(err if code else out)
    assert go_on == ["jaxrnn", "train", "--run-dir", "a run", "--resume", *resume]
    step = list_checkpoints(Path("a run/checkpoints"))[0]
    for program, *words in (sample, page):
        assert (program, main(words)) == ("jaxrnn", 0)
    assert main(go_on[1:]) == code
    assert code or list_checkpoints(Path("a run/checkpoints"))[0] > step


@pytest.mark.slow
@pytest.mark.usefixtures("noise")
def test_a_stopped_run_ends_with_commands_that_go_on_with_it():
    words = ("train", "noise.txt", "--config", "overfit.json", "--run-dir", "it's", "--steps", "100000")
    with Terminal(*words) as terminal:
        terminal.until("step 20:")
        terminal.type("\x03")
        shown, code = terminal.rest()
    assert code == 130
    *_, go_on = commands(shown.replace("\r", "").rstrip())
    assert go_on[go_on.index("train") :] == ["train", "--run-dir", "it's", "--resume"]


def test_a_cell_in_a_file_is_named_in_the_commands(jaxrnn, noise):
    Path("my cell.py").write_text("from jaxrnn import TANH\nMINE = TANH._replace(additive=False)\n", "utf-8")
    _, out, _ = jaxrnn(f"{LEARNED} --steps 20 --cell 'my cell.py:MINE'")
    sample, go_on = (shlex.split(line[12:]) for line in out.splitlines()[-2:])
    assert sample == ["jaxrnn", "sample", "a run", "--cell", "my cell.py:MINE"]
    assert go_on[-2:] == ["--cell", "my cell.py:MINE"]
    assert main([*sample[1:], "--length", "3"]) == 0


@pytest.mark.slow
def test_the_first_command_fills_at_most_a_screen_of_40_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jaxrnn").touch(0o755)  # where jaxrnn is a command, the lines to copy name it
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("XLA_FLAGS")  # it trains for 40,000 steps
    with Terminal("train", columns=80) as terminal:
        shown, code = terminal.rest()
    assert code == 0
    lines = [line.rsplit("\r", 1)[-1] for line in shown.replace("\r\n", "\n").rstrip().split("\n")]
    assert sum(max(1, -(-len(line) // 80)) for line in lines) <= 40
    assert 7 <= sum(line.startswith("---- step ") for line in lines) <= 9
    assert lines[-1].startswith("go on: ")


def test_presets_are_compared_by_a_command_and_by_the_help_of_train(jaxrnn):
    _, table, _ = jaxrnn("presets")
    lines = table.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:9:2]] == list(PRESET_FACTS)
    assert lines[3].endswith(" 2.10")
    code, out, _ = jaxrnn("train --help")
    assert (code, out.endswith("\n".join(lines[:-3]) + "\n")) == (0, True)
    assert lines[-2:] == [
        "Train with one: jaxrnn train novel.txt --preset quick",
        "Or let text and time decide: jaxrnn train novel.txt --minutes 10",
    ]
    facts = json.loads(jaxrnn("presets --json")[1])
    assert [fact["bits_per_character"] for fact in facts] == [3.03, 2.10, 2.27, 2.05]


@pytest.mark.slow
@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize("name", ["quick", "best"])
def test_a_preset_runs_for_few_steps(jaxrnn, name):
    text = Path("noise.txt").read_text("utf-8")
    Path("noise.txt").write_text(30 * text, "utf-8")
    code, out, err = jaxrnn(f"train noise.txt --preset {name} --steps 5 --hidden-size 8 --run-dir run")
    assert (code, "5 of 5 steps" in out) == (0, True), err


@pytest.mark.parametrize(
    ("name", "word"),
    [("a run", "'a run'"), ("-run", "./-run"), ("--run dir", "'./--run dir'"), ("~", "'./~'"), ("runs/-1", "runs/-1")],
    ids=["space", "dash", "dashes", "home", "below"],
)
def test_commands_to_copy_name_a_run_as_a_shell_and_a_parser_take_it(name, word):
    lines = closing_lines(Path(name), {}, "", Path(name))
    assert [line.partition("jaxrnn ")[2].removesuffix(" --resume") for line in lines] == [
        f"sample {word}",
        f"page {word}",
        f"sweep --run-dir {word}",
    ]

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from arrays import init_params
from terminal import shown_here

import jaxrnn
from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig, to_json
from jaxrnn.runs import begin_run
from jaxrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from jaxrnn.runs.lock import WriterLock
from jaxrnn.text import load_corpus

CONFIG = TrainConfig(model=ModelConfig(hidden_size=8), sequence_length=5, steps=40, split=(0.5, 0.5), validate_every=10)
OTHER = dataclasses.replace(
    CONFIG, optimizer=OptimizerConfig(name="adam"), model=ModelConfig(hidden_size=12), seed=3, steps=100
)
TRAIN = [2.0, 1.5, 1.6]  # after steps 0, 10, 20
VALIDATION = [None, 1.75, 1.5]


def metrics(train=TRAIN, validation=VALIDATION):
    lines = [
        {
            "step": 10 * place,
            "train_bits_per_character": loss,
            "validation_bits_per_character": value,
            "seconds": 60.0 * place,
        }
        for place, (loss, value) in enumerate(zip(train, validation, strict=True))
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs as training leaves them, with known metrics."""
    path = tmp_path_factory.mktemp("made")
    (path / "text.txt").write_text("the cat sat on a mat\n" * 9)
    (path / "other.txt").write_text("a cat\n" * 30)
    for name, text, config in (
        ("a", "text.txt", CONFIG),
        ("b", "text.txt", OTHER),
        ("elsewhere/c", "other.txt", dataclasses.replace(CONFIG, split=(1.0,), validate_every=0)),
    ):
        corpus = load_corpus(path / text)
        model = dataclasses.replace(config.model, vocab_size=len(corpus.vocabulary))
        begin_run(init_params(jax.random.key(0), model), config, corpus, path / "runs" / name)
    (path / "runs" / "a" / "metrics.jsonl").write_text(metrics())
    (path / "runs" / "b" / "metrics.jsonl").write_text(metrics([2.0, 1.0], [None, 1.0]))
    (path / "runs" / "notes").mkdir()
    (path / "runs" / "notes" / "config.json").write_text("mine")
    return path


def save_at_step(run, step, **counters):
    checkpoint = load_checkpoint(run)
    state = checkpoint.state._replace(step=jax.numpy.asarray(step))
    path = checkpoint.file.with_name(f"step-{step:010d}.safetensors")
    facts = {"corpus": checkpoint.corpus, "counters": counters}
    save_checkpoint(path, state, checkpoint.config, checkpoint.vocabulary, **facts)


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def output(capsys):
    """Run a command that succeeds; return what it printed, parsed with --json."""

    def output(*arguments):
        assert main(list(arguments)) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return json.loads(out) if "--json" in arguments else out

    return output


def by_name(runs):
    return {run["path"].removeprefix("runs/"): run for run in runs}


def set_age(path, seconds):
    """Let a run have been written to so many seconds ago."""
    for file in (path, path / "metrics.jsonl"):
        os.utime(file, (time.time() - seconds,) * 2)


def test_runs_lists_every_run_with_its_step_model_losses_and_corpus(home, output):
    set_age(home / "runs" / "a", 330)
    runs = by_name(output("runs", "--json"))
    assert set(runs) == {"a", "b", "elsewhere/c"}
    a = runs["a"]
    assert (a["state"], a["step"], a["seconds"], a["problem"]) == ("stopped", 20, 120.0, None)
    assert a["train_bits_per_character"] == {"last": 1.6, "best": 1.5, "best_step": 10}
    assert a["validation_bits_per_character"] == {"last": 1.5, "best": 1.5, "best_step": 20}
    assert a["config"] == json.loads((home / "runs" / "a" / "config.json").read_text())
    vocab = len(set("the cat sat on a mat\n"))
    assert a["parameters"] == 8 * vocab + 8 * 8 + 8 + 8 * vocab + vocab
    assert a["corpus"]["source"].endswith("/text.txt")
    assert (runs["elsewhere/c"]["train_bits_per_character"], runs["elsewhere/c"]["step"]) == (None, 0)
    lines = output("runs").splitlines()
    row = next(line for line in lines if line.startswith("runs/a "))
    assert row.split() == [
        "runs/a",
        "stopped",
        "5",
        "min",
        "20",
        "of",
        "40",
        "tanh",
        "1",
        "x",
        "8",
        "1.600",
        "1.500",
        "1.500",
        "1.500",
        "text",
    ]
    assert lines[4:] == ["losses are in bits per character"]


def test_runs_shows_the_state_of_each_run(home, output):
    runs = home / "runs"
    (runs / "b" / "metrics.jsonl").write_text(metrics([9.0] * 11, [None, *[1.0] * 10]))  # all 100 steps
    save_at_step(runs / "b", 100)
    patient = dataclasses.replace(CONFIG, patience=2)
    (runs / "elsewhere" / "c" / "config.json").write_text(to_json(patient))
    save_at_step(runs / "elsewhere" / "c", 30, best_step=10, best_loss=1.0, best_since=2)
    lock = WriterLock(runs / "a")
    states = {name: run["state"] for name, run in by_name(output("runs", "--json")).items()}
    assert states == {"a": "running", "b": "finished", "elsewhere/c": "finished"}
    lock.close()
    assert by_name(output("runs", "--json"))["a"]["state"] == "stopped"


@pytest.mark.parametrize(
    ("name", "content", "state", "message"),
    [
        ("config.json", b"{", "damaged", "config.json can't be read"),
        ("config.json", b'{"stepps": 3}', "unusable", "config.json can't be read"),
        ("config.json", None, "damaged", "config.json can't be read (No such file"),
        ("config.json", os.mkdir, "unreadable", "config.json can't be read (it is not a regular file"),
        ("config.json", os.mkfifo, "unreadable", "config.json can't be read (it is not a regular file"),
        ("metrics.jsonl", os.mkfifo, "unreadable", "metrics.jsonl can't be read (it is not a regular file"),
        ("config.json", b"\xff\xfe", "damaged", "config.json can't be read"),
        ("metrics.jsonl", b"garbage\n", "damaged", "metrics.jsonl can't be read"),
        ("metrics.jsonl", b"[]\n7\n", "damaged", "metrics.jsonl can't be read"),
        ("metrics.jsonl", b'{"step": 1' + b"0" * 400 + b"}\n", "damaged", "metrics.jsonl can't be read"),
        ("metrics.jsonl", b'{"step": -1}\n', "damaged", "metrics.jsonl can't be read (a line has no step)"),
        ("metrics.jsonl", b'{"step": 1, "seconds": 1e400}\n', "damaged", "a line has impossible seconds"),
        ("metrics.jsonl", b"[" * 100_000 + b"\n", "damaged", "metrics.jsonl can't be read"),
        ("metrics.jsonl", b'{"loss": 3}\n', "damaged", "metrics.jsonl can't be read (a line has no step)"),
        ("metrics.jsonl", None, "damaged", "metrics.jsonl can't be read (No such file"),
        ("checkpoints/step-0000000000.safetensors", b"", "damaged", "step-0000000000.safetensors is damaged"),
        ("checkpoints/step-0000000000.safetensors", b"\0" * 99, "damaged", "step-0000000000.safetensors is damaged"),
        ("checkpoints/step-0000000000.safetensors", os.mkdir, "unusable", "is not a regular file"),
        ("checkpoints/best.safetensors", b"half", "damaged", "best.safetensors is damaged"),
    ],
    ids=str,
)
def test_a_run_that_cannot_be_read_is_reported_and_the_others_are_listed(home, output, name, content, state, message):
    path = home / "runs" / "a" / name
    path.unlink(missing_ok=True)
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    runs = by_name(output("runs", "--json"))
    states = {name: run["state"] for name, run in runs.items()}
    assert states == {"a": state, "b": "stopped", "elsewhere/c": "stopped"}
    assert message in runs["a"]["problem"]
    for command in (["runs"], ["compare", "runs/a", "runs/b"], ["compare", "runs/a", "runs/a"]):
        lines = output(*command).splitlines()
        (problem,) = [line for line in lines if line.startswith(f"{state}: runs/a: ")]
        assert message in problem


def test_a_folder_of_checkpoints_that_cannot_be_listed_now_is_reported(home, output, monkeypatch, capsys):
    iterdir = Path.iterdir

    def refuse(path):
        if path.parts[-2:] == ("a", "checkpoints"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    runs = by_name(output("runs", "--json"))
    assert {name: run["state"] for name, run in runs.items()}["a"] == "unreadable"
    assert runs["a"]["problem"] == "runs/a/checkpoints can't be read now (Permission denied)"
    assert main(["sample", "runs/a"]) == 3
    assert capsys.readouterr().err == "jaxrnn: runs/a/checkpoints can't be read now (Permission denied)\n"


def test_a_folder_of_checkpoints_that_is_none_is_reported(home, output):
    (home / "runs" / "a" / "checkpoints").rename(home / "kept")
    (home / "runs" / "a" / "checkpoints").touch()
    problem = "runs/a/checkpoints is not a directory; move it elsewhere"
    assert by_name(output("runs", "--json"))["a"]["problem"] == problem


def test_a_run_that_is_removed_while_runs_are_listed_is_left_out(home, output, monkeypatch):
    found = jaxrnn.runs.find_runs("runs")
    monkeypatch.setattr(jaxrnn.runs, "find_runs", lambda directory: found)
    shutil.rmtree(home / "runs" / "a")
    assert {*by_name(output("runs", "--json"))} == {"b", "elsewhere/c"}


def test_a_pipe_in_place_of_the_lock_is_not_waited_for(home, output):
    (home / "runs" / "a" / ".lock").unlink(missing_ok=True)
    os.mkfifo(home / "runs" / "a" / ".lock")
    assert by_name(output("runs", "--json"))["a"]["state"] == "stopped"


def test_lines_of_the_metrics_may_be_blank_or_lack_fields(home, output):
    (home / "runs" / "a" / "metrics.jsonl").write_text('\n{"step": 30}\n \n{"step": 40}\n\n')
    for command in (["runs"], ["runs", "--json"], ["compare", "runs/a", "runs/b"]):
        output(*command)
    assert by_name(output("runs", "--json"))["a"]["step"] == 40


def test_the_last_line_of_the_metrics_may_be_half_written(home, output):
    with (home / "runs" / "a" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 30, "lo')
    assert by_name(output("runs", "--json"))["a"]["step"] == 20


def test_runs_can_be_sorted(home, output):
    for age, name in enumerate(("elsewhere/c", "a", "b")):
        set_age(home / "runs" / name, 100 * age)
    orders = {
        order: [run["path"].removeprefix("runs/") for run in output("runs", "--sort", order, "--json")]
        for order in ("recent", "best", "name")
    }
    assert orders == {
        "recent": ["elsewhere/c", "a", "b"],
        "best": ["b", "a", "elsewhere/c"],
        "name": ["a", "b", "elsewhere/c"],
    }


def test_the_newest_run_is_first_and_each_has_its_age(home, output):
    for name, age in {"a": 7300, "b": 5, "elsewhere/c": 5 * 86_400 + 9}.items():
        set_age(home / "runs" / name, age)
    rows = [re.split(r"  +", line) for line in output("runs").splitlines()[1:4]]
    assert [(row[0], row[2]) for row in rows] == [("runs/b", "5 s"), ("runs/a", "2 h"), ("runs/elsewhere/c", "5 d")]
    set_age(home / "runs" / "b", -60)  # another computer's clock
    assert "  0 s  " in output("runs")


def test_the_step_of_a_run_that_was_stopped_is_that_of_its_newest_checkpoint(home, output):
    save_at_step(home / "runs" / "a", 24)
    assert by_name(output("runs", "--json"))["a"]["step"] == 24  # the metrics end at step 20
    assert "24 of 40" in output("runs")


@pytest.fixture
def sweep(home):
    """A sweep of four members in runs/, of which three have begun."""
    path = home / "runs" / "s"
    for seed, name in enumerate(("a", "b", "elsewhere/c")):  # after steps 20, 10 and 0
        member = path / f"seed={seed}"
        shutil.copytree(home / "runs" / name, member)
        (member / "config.json").write_text(to_json(dataclasses.replace(CONFIG, steps=20, seed=seed)))
        if name == "a":
            save_at_step(member, 20)
        set_age(member, 60 * (seed + 1))
    (path / "sweep.json").write_text(
        json.dumps({"config": json.loads(to_json(CONFIG)), "axes": {"seed": [0, 1, 2, 3]}})
    )
    for name in ("a", "b", "elsewhere"):
        shutil.rmtree(home / "runs" / name)
    return path


def test_a_sweep_is_one_row_with_its_members_and_the_losses_of_the_best(sweep, output, capsys):
    (row,) = [re.split(r"  +", line) for line in output("runs").splitlines()[1:-1]]
    assert row == [
        "runs/s",
        "stopped",
        "1 min",
        "30",
        "1 of 4 models",
        "1.000",
        "1.000",
        "1.000",
        "1.000",
        "python-docs",
    ]
    (summary,) = output("runs", "--json")
    assert (summary["path"], summary["state"], summary["size"]) == ("runs/s", "stopped", 4)
    assert [member["step"] for member in summary["members"]] == [20, 10, 0]
    for command in ("runs s", "runs runs/ss", "sweep --resume --run-dir s"):
        assert main(command.split()) == 2
        assert "did you mean runs/s?" in capsys.readouterr().err
    for opened in (["--members"], ["runs/s"]):
        lines = output("runs", *opened, "--sort", "name").splitlines()
        assert [line.split()[0] for line in lines[1:4]] == [f"runs/s/seed={seed}" for seed in range(3)]


def test_a_sweep_that_is_trained_finished_or_damaged_says_so(sweep, output):
    lock = WriterLock(sweep)
    assert output("runs", "--json")[0]["state"] == "running"
    lock.close()
    (sweep / "seed=1" / "metrics.jsonl").write_text("garbage\n")
    lines = output("runs").splitlines()
    assert lines[1].split()[:2] == ["runs/s", "damaged"]
    assert lines[-1].startswith("damaged: runs/s/seed=1: metrics.jsonl can't be read")
    for seed in (1, 2, 3):
        shutil.rmtree(sweep / f"seed={seed}", ignore_errors=True)
        shutil.copytree(sweep / "seed=0", sweep / f"seed={seed}")
    assert output("runs", "--json")[0]["state"] == "finished"
    assert "4 of 4 models" in output("runs")
    (sweep / "sweep.json").write_text("{")
    lines = output("runs").splitlines()
    assert lines[1].split()[:2] == ["runs/s", "damaged"]
    assert lines[-1].startswith("damaged: runs/s: sweep.json can't be read")


def test_a_sweep_of_nested_lists_is_refused(sweep, capsys):
    (sweep / "sweep.json").write_text("[" * 100_000)
    assert main(["sweep", "--resume", "--run-dir", str(sweep)]) == 2
    assert "is no sweep (it lacks a configuration or lists of values)" in capsys.readouterr().err


def test_a_run_is_listed_once_however_many_links_lead_to_it(home, output):
    runs = output("runs", "--json")
    (home / "runs" / "z").symlink_to("a")
    (home / "runs" / "loop").symlink_to(".")
    assert output("runs", "--json") == runs


def test_a_name_that_is_not_printable_stays_in_its_row(home, output):
    rows = len(output("runs").splitlines())
    (home / "runs" / "a").rename(home / "runs" / "a\nb\tc\u202ed")
    table = output("runs")
    assert len(table.splitlines()) == rows
    assert r"'runs/a\nb\tc\u202ed'" in table


def test_losses_of_a_run_that_has_diverged_stay_short(home, output):
    (home / "runs" / "a" / "metrics.jsonl").write_text(metrics([1e30], [None]))
    table = output("runs")
    assert "1e+30" in table
    assert max(map(len, table.splitlines())) < 160


def test_a_directory_without_runs_is_reported(tmp_path, capsys):
    assert main(["runs"]) == 0
    assert capsys.readouterr() == ("", "no runs in runs; `jaxrnn train` makes one\n")
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["runs", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("jaxrnn: no such directory: nowhere")


def test_compare_shows_different_settings_and_the_results(home, output):
    comparison = output("compare", "runs/a", "runs/b", "--json")
    assert comparison["differences"] == {
        "steps": [40, 100],
        "seed": [0, 3],
        "model.hidden_size": [8, 12],
        "optimizer.name": ["adagrad", "adam"],
        "optimizer.learning_rate": [0.1, 0.002],  # what each rule makes of none
    }
    assert comparison["runs"] == [by_name(output("runs", "--json"))[name] for name in "ab"]
    assert comparison["same_text"] is True
    rows = {
        line.split("  ")[0]: line.split()[-2:] for line in output("compare", "runs/a", "runs/b").splitlines() if line
    }
    assert rows["model.hidden_size"] == ["8", "12"]
    assert rows["steps done"] == ["20", "10"]
    assert rows["train loss, last"] == ["1.600", "1.000"]
    assert rows["training time"] == ["0:02:00", "0:01:00"]
    assert "batch_size" not in rows


def test_compare_says_if_losses_are_not_of_the_same_text(home, output):
    comparison = output("compare", "runs/a", "runs/elsewhere/c", "runs/b", "--json")
    assert comparison["same_text"] is False
    assert comparison["differences"]["split"] == [[0.5, 0.5], [1.0], [0.5, 0.5]]
    assert "they are not of the same text: text, split differ" in output("compare", "runs/a", "runs/elsewhere/c")
    assert "the settings are the same" in output("compare", "runs/a", "runs/a")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare", "compare needs two runs at least, got 0"),
        ("compare runs/a", "compare needs two runs at least, got 1"),
        ("compare runs/a nowhere", "nowhere is not a run directory"),
        ("compare runs/a runs/notes", "runs/notes is not a run directory"),
    ],
)
def test_a_directory_that_is_no_run_is_refused(home, capsys, command, message):
    assert main(command.split()) == 2
    assert message in capsys.readouterr().err


def test_runs_and_compare_do_not_import_jax(home):
    script = """
import sys
from jaxrnn.cli import main
assert main(["runs"]) == main(["compare", "runs/a", "runs/b"]) == 0
assert "jax" not in sys.modules and "optax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["runs", "compare runs/a runs/b"])
def test_colors_are_used_on_a_terminal_unless_no_color_is_set(home, output, command):
    assert "\x1b" not in output(*command.split())
    for environment, colored in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        shown, code = shown_here(*command.split(), **environment)
        assert code == 0
        assert ("\x1b[1m" in shown) == colored
        assert ("\x1b" in shown) == colored

import json
import re
import shlex
import shutil

import numpy as np
import pytest
from command_line import assert_refused

from jaxrnn.cli import main
from jaxrnn.plots import sweep_curves
from jaxrnn.runs.checkpoint_files import list_checkpoints

LISTS = "--learning-rate 0.05,0.1 --seeds 2"


@pytest.fixture(scope="module")
def swept(prepared, tmp_path_factory):
    """A directory with a text, a config, and a sweep of the command line."""
    path = tmp_path_factory.mktemp("swept")
    for name in ("text.txt", "tiny.json"):
        shutil.copy(prepared / name, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert main(shlex.split(f"sweep --config tiny.json --split 0.6,0.4 {LISTS} --run-dir s --quiet")) == 0
    return path


@pytest.fixture
def home(swept, tmp_path, monkeypatch):
    """A copy of it."""
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sweep_ends_with_a_table_a_plot_and_json_and_its_members_are_runs(home, capsys):
    assert main(shlex.split("sweep --run-dir s --resume --plot losses.png")) == 0
    out, err = capsys.readouterr()
    table = out.splitlines()
    assert table[0].split("  ")[0] == "learning_rate"
    assert [line.split()[:2] for line in table[1:3]] == [["0.05", "2"], ["0.1", "2"]]
    assert all(" ± " in line and " to " in line for line in table[1:3])
    assert table[3] == "losses are in bits per character"
    assert table[4].startswith("best on average: learning_rate 0.")
    assert table[5:7] == ["sweep: s", "plot: losses.png"]
    assert [shlex.split(line[12:])[:2] for line in table[7:]] == [["jaxrnn", "sample"], ["jaxrnn", "page"]]
    assert main(shlex.split(table[7][12:])[1:]) == 0
    capsys.readouterr()
    assert (home / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(
        r"^80 of 80 steps: \d\.\d{3} to \d\.\d{3} bits per character, 4 of 4 models done", err, re.MULTILINE
    )
    assert main(shlex.split("sweep --run-dir s --resume --json")) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["best_run"] == shlex.split(table[7])[-1]
    assert values["axes"] == {"learning_rate": [0.05, 0.1], "seed": [0, 1]}
    assert values["finished"]
    name = "validation_bits_per_character"
    mean = np.mean([values["members"][f"learning_rate=0.1,seed={seed}"]["best"][name] for seed in (0, 1)])
    assert values["settings"][1][name]["mean"] == pytest.approx(mean)
    for member in values["members"].values():
        assert list_checkpoints(home / member["run_dir"] / "checkpoints")
        assert main(["sample", member["run_dir"], "--length", "5"]) == 0
        assert main(["info", member["run_dir"], "--json"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == 20
    assert main(shlex.split("train --run-dir s/learning_rate=0.1,seed=1 --resume --steps 30 --quiet")) == 0


def test_more_steps_may_be_asked_of_a_sweep_that_is_resumed(home, capsys):
    assert main(shlex.split("sweep --run-dir s --resume --steps 30 --seeds 2 --learning-rate 0.05,0.1 --json")) == 0
    values = json.loads(capsys.readouterr().out)
    assert {member["step"] for member in values["members"].values()} == {30}


def test_of_a_single_setting_the_best_is_a_seed_and_no_average(home, capsys):
    assert main(shlex.split("sweep --config tiny.json --seeds 2 --run-dir seeds --quiet")) == 0
    assert re.search(r"^best: seed=[01]$", capsys.readouterr().out, re.MULTILINE)


def test_the_figure_has_a_curve_a_setting_and_a_point_a_run(swept):
    curves, ends = sweep_curves(swept / "s").axes
    assert len(curves.lines) == len(curves.collections) == 2
    assert [label.get_text() for label in ends.get_yticklabels()] == ["learning_rate 0.05", "learning_rate 0.1"]
    assert [len(line.get_xdata()) for line in ends.lines if line.get_marker() == "o"] == [2, 2]


def test_the_figure_leaves_out_a_run_that_has_only_begun(swept, tmp_path):
    shutil.copytree(swept / "s", tmp_path / "s")
    (tmp_path / "s" / "learning_rate=0.1,seed=0" / "metrics.jsonl").write_text("")
    ends = sweep_curves(tmp_path / "s").axes[1]
    assert [len(line.get_xdata()) for line in ends.lines if line.get_marker() == "o"] == [2, 1]


def test_a_dry_run_says_what_would_be_trained(home, capsys):
    assert main(shlex.split("sweep --config tiny.json --hidden-size 4,8 --seeds 2 --seed 5 --dry-run")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["axes"] == {"hidden_size": [4, 8], "seed": [5, 6]}
    assert told["members"] == [f"hidden_size={size},seed={seed}" for size in (4, 8) for seed in (5, 6)]
    assert told["config"]["steps"] == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "there is nothing to sweep"),
        ("--learning-rate 0.1,x", "Error parsing --learning-rate: .*'x'"),
        ("--learning-rate 0.1,", "Error parsing --learning-rate: .*''"),
        ("--hidden-size 8,8.5", "Error parsing --hidden-size: .*'8.5'"),
        ("--cell tanh,gru,lstn --seeds 2", "lstn"),
        ("--optimizer adam,adagard", "must be 'adagrad' or .*, got 'adagard'"),
        ("--learning-rate=0.1,-1", "learning_rate must be a finite number above 0, got -1"),
        ("--optimizer mine.py:SGD --seeds 2", "a sweep can't have a user-defined optimizer"),
        ("--seeds 0", "--seeds must be at least 1"),
        ("--seed 4294967295 --seeds 2", "seed must be at most"),
        # Values that clash.
        ("--learning-rate 0.1,0.10", "learning_rate=0.1 is listed twice"),
        ("--seed 1,2 --seeds 2", "--seed with a list and --seeds both say which seeds"),
        ("--learning-rate 0.1,0.2 --learning-rate 0.3", "--learning-rate is given twice"),
        ("--momentum 0.5,0.9", "the same run"),
        # What is there already.
        ("--learning-rate 0.05,0.1 --seeds 2 --run-dir s", "holds a sweep already"),
        ("--seeds 2 --run-dir s", "holds a sweep of other values"),
        ("--cell mine.py:MGU,gru", "a user-defined cell can't be swept; sweep built-in ones, or use it for all"),
        (
            "--run-dir s --resume --learning-rate 0.3",
            r"learning_rate is what the sweep in --run-dir goes over \(0.05,0.1\)",
        ),
        ("--run-dir s --resume --learning-rate 0.3,0.4", "holds a sweep of other values"),
        ("--run-dir s --resume --seeds 3", "holds a sweep of other values"),
        ("--run-dir nowhere --resume", "nowhere is no sweep"),
        ("--resume", "--resume needs --run-dir"),
        ("--seeds 2 --plot losses.txt", "--plot writes .png or .svg"),
        ("--learning-rte 0.1,0.2", "Perhaps you meant: --learning-rate"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_trained(swept, monkeypatch, jaxrnn, arguments, words):
    monkeypatch.chdir(swept)
    base = "" if "resume" in arguments else "text.txt --config tiny.json"
    assert_refused(swept, jaxrnn, f"sweep {base} {arguments}", 2, words)


def test_flags_that_can_not_be_swept_keep_their_commas(home, capsys):
    (home / "a,b.txt").write_text((home / "text.txt").read_text())
    command = "sweep a,b.txt --config tiny.json --split 0.9,0.1 --prompt=x,y --hidden_size 4,8 --steps=5 --dry-run"
    assert main(shlex.split(command)) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["axes"] == {"hidden_size": [4, 8]}
    config = plan["config"]
    assert (config["corpus"], config["split"], config["prompt"], config["steps"]) == ("a,b.txt", [0.9, 0.1], "x,y", 5)

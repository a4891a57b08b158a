import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import jax
import pytest
from command_line import DAMAGES, PROSE, TINY, assert_refused, contents, damage, logged_steps, process
from terminal import shown_here

from jaxrnn.cli import COMMANDS, main
from jaxrnn.cli import process as process_settings
from jaxrnn.cli.flags import GROUPS
from jaxrnn.config import SETTINGS, OptimizerConfig, SampleConfig, TrainConfig, from_json, to_json
from jaxrnn.config.presets import PRESETS, preset
from jaxrnn.evaluation.copies import longest_copy
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import all_checkpoints, checkpoint_path, list_checkpoints
from jaxrnn.runs.lock import WriterLock

# ---- what is there -------------------------------------------------------------------------------------------------


def test_help_version_and_completion_answer_without_importing_jax():
    script = """
import sys
from jaxrnn.cli import COMMANDS, main
helps = ([command, "--help"] for command in COMMANDS)
for arguments in (["--version"], [], ["--help"], ["completion", "bash"], *helps):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    print("exit", code)
print("imported:", [name for name in ("jax", "optax", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("jaxrnn 0.")
    assert re.findall(r"^exit (.*)", done.stdout, re.MULTILINE) == ["0"] * (4 + len(COMMANDS))
    assert not re.search(r"│ +│\n│ +│", done.stdout)  # a docstring of two paragraphs would tear the list of commands
    assert done.stdout.endswith("imported: []\n")
    assert done.stderr == ""


def test_a_process_of_the_command_line_sets_xlas_flags_but_for_those_that_the_user_has_set(monkeypatch):
    script = "import os, jaxrnn.cli; jaxrnn.cli.main(['--version']); print(os.environ['XLA_FLAGS'])"
    monkeypatch.setenv("XLA_FLAGS", " --xla_cpu_prefer_vector_width=128 --xla_force_host_platform_device_count=3")
    for _ in range(2):  # a process of this one's finds them set
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        flags = done.stdout.splitlines()[-1]
        assert flags.split() == [
            "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000",
            "--xla_cpu_prefer_vector_width=128",
            "--xla_force_host_platform_device_count=3",
        ]
        monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("XLA_FLAGS", "/a/file")  # which XLA would not read if flags stood before it
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "/a/file"
    monkeypatch.setenv("XLA_FLAGS", "")
    done = subprocess.run([sys.executable, "-c", "import jax; " + script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""  # too late: JAX may have begun, and a checkpoint names the flags it had


LAST = "run/checkpoints/step-0000000020.safetensors"
NEWEST = "the newest checkpoint of run, after step 20\n"


@pytest.mark.parametrize("command", ["train", "sample", "info"])
def test_help_shows_every_flag_of_its_configuration(jaxrnn, capsys, command):
    with contextlib.suppress(SystemExit):
        assert main([command, "--help"]) == 0
    shown = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    flags = {
        "train": set(json.loads(to_json(TINY)))
        | set(json.loads(to_json(OptimizerConfig())))
        | {"hidden_size", "optimizer", "preset", "dry_run", "resume", "overwrite", "quiet"},
        "sample": set(json.loads(to_json(SampleConfig()))) | {"prompt_file", "json", "report_copies"},
        "info": set(),
    }[command] - {"corpus", "model", "name", "symbols", "parent"}
    assert {"--" + name.replace("_", "-") for name in flags} <= shown
    assert "--vocab-size" not in shown  # the corpus gives it


FIRST_FLAGS = ["CORPUS", "--preset", "--run-dir", "--resume", "--minutes"]
FIRST_FLAGS += ["--steps", "--split", "--cell", "--hidden-size", "--learning-rate", "--sample-every"]


def test_help_of_train_shows_first_what_people_use_most_then_groups_with_titles(jaxrnn):
    _, out, _ = jaxrnn("train --help")
    flags = re.findall(r"^\W*(CORPUS|--[a-z][a-z-]*)", out.partition("positional arguments")[2], re.MULTILINE)
    assert flags[:12] == [*FIRST_FLAGS, "--vocabulary"]  # CORPUS and ten flags, then those of the text
    titles = re.findall(r"^\W*(\w+) options\b", out, re.MULTILINE)
    assert titles == ["text", "network", "optimizer", "training", "logging", "run", "device"]


def test_every_setting_has_a_flag_in_one_group():
    names = [name for group in GROUPS.values() for name in group]
    assert sorted([*names, "corpus", "parent", "vocab_size"]) == sorted(SETTINGS)


def test_train_writes_samples_and_the_result_to_stdout_and_progress_to_stderr(home, jaxrnn):
    code, out, err = jaxrnn("train --config tiny.json --run-dir new")
    assert code == 0
    samples = (home / "new" / "samples.txt").read_text()
    assert out.startswith(samples)
    result = out.removeprefix(samples).splitlines()
    assert re.fullmatch(r"20 of 20 steps, \d+\.\d s: \d\.\d{3} bits per character", result[0])
    assert result[1] == "run: new"
    assert re.match("Corpus\\(text: .*sha256", err)
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == ["run", "step 0 of 20", "step 20 of 20"]


def test_quiet_leaves_the_last_sample_and_the_result(home, jaxrnn):
    code, out, err = jaxrnn("train --config tiny.json --run-dir new --quiet")
    assert (code, err) == (0, "")
    assert re.findall(r"^---- step (\d+)", out, re.MULTILINE) == ["20"]
    assert "\nCorpus(text: " in out
    assert "\nrun: new\n" in out


def test_runs_have_a_directory_of_their_own_where_none_is_given(home, jaxrnn):
    for number in (1, 2):
        assert jaxrnn("train text.txt --config tiny.json --steps 10")[1].split("\n")[-5] == f"run: runs/text-{number}"
        assert load_checkpoint(home / "runs" / f"text-{number}").counters["step"] == 10


def test_runs_that_begin_at_the_same_time_each_get_a_directory(home, jaxrnn, monkeypatch):
    names = iter([home / "run", home / "runs" / "text-1"])  # the first was free when it was looked for
    monkeypatch.setattr("jaxrnn.runs.new_run_directory", lambda _: next(names))
    code, out, _ = jaxrnn("train --config tiny.json --quiet")
    assert (code, out.splitlines()[-4]) == (0, f"run: {home / 'runs' / 'text-1'}")


def test_the_config_of_a_run_runs_it_again_and_flags_beside_it_win(home, jaxrnn):
    assert jaxrnn("train --config run/config.json --run-dir again")[0] == 0
    assert jaxrnn("train --config run/config.json --run-dir other --seed 7 --prompt café")[0] == 0
    for name in ("config.json", "samples.txt"):
        assert (home / "again" / name).read_bytes() == (home / "run" / name).read_bytes()
    config = from_json(TrainConfig, (home / "run" / "config.json").read_text())
    expected = dataclasses.replace(config, seed=7, prompt="café")
    assert from_json(TrainConfig, (home / "other" / "config.json").read_text()) == expected
    assert (home / "other" / "samples.txt").read_bytes() != (home / "run" / "samples.txt").read_bytes()


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run_prints_a_preset_as_a_config_and_writes_nothing(place, jaxrnn, tmp_path, name):
    before = contents(place)
    code, out, err = jaxrnn(f"train --preset {name} --dry-run")
    assert (code, err) == (0, "")
    assert from_json(TrainConfig, out) == preset(name)
    (tmp_path / "preset.json").write_text(out)
    assert jaxrnn(f"train --config {tmp_path / 'preset.json'} --dry-run")[1] == out
    assert contents(place) == before


def test_flags_beside_a_preset_win_over_it(place, jaxrnn):
    command = "train text.txt --preset char-rnn --cell gru --learning-rate 0.5 --decay-rate 1 --steps 7 --dry-run"
    expected = preset("char-rnn")
    expected = dataclasses.replace(
        expected,
        corpus="text.txt",
        model=dataclasses.replace(expected.model, cell="gru"),
        optimizer=dataclasses.replace(expected.optimizer, learning_rate=0.5, decay_rate=1.0),
        steps=7,
    )
    assert from_json(TrainConfig, jaxrnn(command)[1]) == expected


def test_dry_run_shows_what_flags_a_file_or_a_run_amount_to(place, jaxrnn):
    defaults = from_json(TrainConfig, jaxrnn("train --optimizer adam --dry-run")[1])
    assert defaults == TrainConfig(optimizer=OptimizerConfig(name="adam"))
    assert defaults.optimizer.peak_learning_rate == 0.002
    assert from_json(TrainConfig, jaxrnn("train --config tiny.json --seed 3 --dry-run")[1]) == dataclasses.replace(
        TINY, seed=3
    )
    resumed = from_json(TrainConfig, jaxrnn("train --resume --run-dir run --dry-run")[1])
    assert resumed == from_json(TrainConfig, (place / "run" / "config.json").read_text())


def test_a_preset_trains(home, jaxrnn):
    flags = "--hidden-size 8 --sequence-length 5 --batch-size 2 --steps 4 --warmup-steps 1 --quiet --run-dir new"
    assert jaxrnn(f"train text.txt --preset quick {flags}")[0] == 0
    config = load_checkpoint("new").config
    assert (config.model.cell, config.optimizer.schedule) == ("gru", "cosine")


def test_resume_goes_on_with_the_runs_own_configuration(home, jaxrnn):
    assert jaxrnn("train --config tiny.json --run-dir short --steps 10")[0] == 0
    code, out, _ = jaxrnn("train --resume --run-dir short --steps 20")
    assert code == 0
    assert re.findall(r"^---- step (\d+)", out, re.MULTILINE) == ["20"]
    assert (home / "short" / "samples.txt").read_bytes() == (home / "run" / "samples.txt").read_bytes()
    assert logged_steps(home / "short") == [0, 10, 20]


def test_resuming_a_finished_run_shows_its_result_and_changes_nothing(home, jaxrnn):
    before = contents(home)
    code, out, _ = jaxrnn("train --resume --run-dir run")
    assert code == 0
    assert out.startswith("---- step 20")
    assert contents(home) == before


def test_overwrite_replaces_a_run(home, jaxrnn):
    assert jaxrnn("train --config tiny.json --run-dir run --overwrite --steps 10 --seed 3")[0] == 0
    assert logged_steps(home / "run") == [0, 10]
    assert list_checkpoints(home / "run" / "checkpoints") == [checkpoint_path(home / "run" / "checkpoints", 10)]


@pytest.mark.parametrize(
    ("flags", "kind"), [("crlf.txt --normalize newlines", "characters"), ("latin1.txt --vocabulary bytes", "bytes")]
)
def test_the_advice_for_a_text_that_is_refused_works(home, jaxrnn, flags, kind):
    assert jaxrnn(f"train {flags} --config tiny.json --steps 10 --run-dir new")[0] == 0
    assert jaxrnn("sample new --length 20")[0] == 0
    vocabulary = load_checkpoint("new").vocabulary
    assert vocabulary.kind == kind
    assert "\r" not in vocabulary.symbols


@pytest.mark.slow
def test_float64_runs_can_be_trained_resumed_sampled_and_described(home, jaxrnn):
    try:
        for command in (
            "train --config tiny.json --dtype float64 --steps 10 --run-dir new",
            "train --resume --run-dir new --steps 20",
            "sample new --length 20",
            "info new",
        ):
            jax.config.update("jax_enable_x64", False)  # a process of its own would begin so
            assert jaxrnn(command)[0] == 0
        assert load_checkpoint("new").state.params.Why.dtype == "float64"
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_ends_the_run_with_exit_code_4(home, jaxrnn):
    code, out, err = jaxrnn("train --config tiny.json --learning-rate 3e38 --run-dir new --quiet")
    assert (code, out) == (4, "")
    assert re.fullmatch(r"jaxrnn: the loss of step \d+ is not finite; .*learning_rate.*\n", err)


# ---- sample and info -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "prompt", "length"),
    [
        ("", "", 1000),
        ("--length 1", "", 1),
        ("--length 250 --prompt 'the café'", "the café", 250),
        ("--length 50 --seed 3 --temperature 0.5", "", 50),
        ("--length 50 --temperature 0", "", 50),
        ("--length 50 --greedy --prompt a", "a", 50),
    ],
)
def test_sample_writes_the_prompt_and_the_text_and_the_same_text_again(place, jaxrnn, flags, prompt, length):
    code, out, err = jaxrnn(f"sample run {flags}")
    assert (code, err) == (0, NEWEST)
    assert out.startswith(prompt)
    assert len(out) == len(prompt) + length + 1
    assert out.endswith("\n")
    assert jaxrnn(f"sample run {flags}")[1] == out


def test_sample_takes_the_newest_checkpoint_or_the_one_that_is_named(place, jaxrnn):
    newest, last, earlier = (
        jaxrnn(f"sample {name} --length 200 --temperature 2")[1]
        for name in ("run", *(f"run/checkpoints/step-00000000{step}.safetensors" for step in (20, 10)))
    )
    assert newest == last != earlier


def test_each_flag_of_sample_changes_the_text(place, jaxrnn):
    flags = ("", "--seed 1", "--greedy", "--temperature 0.2", "--prompt t", "--top-k 3", "--top-p 0.5", "--stop e")
    assert len({jaxrnn(f"sample run --length 200 {flag}")[1] for flag in flags}) == len(flags)


@pytest.mark.parametrize("kind", ["a file", "stdin"])
def test_a_prompt_comes_from_a_file_or_stdin_with_the_new_line_at_its_end(place, jaxrnn, tmp_path, monkeypatch, kind):
    (tmp_path / "prompt.txt").write_text("the café\n", "utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("the café\n".encode()), encoding="ascii"))
    name = "-" if kind == "stdin" else tmp_path / "prompt.txt"
    assert jaxrnn(f"sample run --length 50 --prompt-file {name}") == jaxrnn(
        "sample run --length 50 --prompt 'the café\n'"
    )


def test_a_model_of_bytes_takes_any_file_as_its_prompt_and_writes_bytes(home, capsysbinary):
    assert main(shlex.split("train latin1.txt --vocabulary bytes --config tiny.json --steps 2 --run-dir new")) == 0
    (home / "prompt").write_bytes(b"caf\xe9")  # not UTF-8
    capsysbinary.readouterr()
    assert main(shlex.split("sample new --length 5 --prompt-file prompt")) == 0
    out = capsysbinary.readouterr().out
    assert out.startswith(b"caf\xe9")
    assert len(out) == len(b"caf\xe9") + 5 + 1


def test_the_text_ends_with_the_stop_string(place, jaxrnn):
    whole = jaxrnn("sample run --length 500 --prompt the")[1]
    code, out, _ = jaxrnn("sample run --length 500 --prompt the --stop e")
    assert code == 0
    assert out == whole[: whole.index("e", len("the")) + 1] + "\n"


def test_many_samples_stand_under_titles_and_each_is_its_seeds(place, jaxrnn):
    code, out, err = jaxrnn("sample run --length 120 --prompt the --seed 4 --num-samples 3")
    assert (code, err) == (0, NEWEST)
    alone = [jaxrnn(f"sample run --length 120 --prompt the --seed {seed}")[1] for seed in (4, 5, 6)]
    expected = [f"---- sample {index + 1} of 3, seed {4 + index} ----\n{text}" for index, text in enumerate(alone)]
    assert out == "".join(expected)


def test_json_is_a_line_that_says_it_all(place, jaxrnn):
    command = "sample run --length 60 --prompt café --num-samples 2 --top-k 5 --stop e"
    code, out, err = jaxrnn(f"{command} --json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    config = SampleConfig(length=60, prompt="café", num_samples=2, top_k=5, stop="e")
    assert from_json(SampleConfig, json.dumps(found["config"])) == config
    assert (found["prompt"], found["run"], found["step"]) == ("café", "run", 20)
    assert found["checkpoint"] == LAST
    titles = [f"---- sample {number} of 2, seed {number - 1} ----\n" for number in (1, 2)]
    samples = [f"{title}café{text}\n" for title, text in zip(titles, found["samples"], strict=True)]
    assert jaxrnn(command)[1] == "".join(samples)
    likelihoods = {"log_probabilities", "drawn_log_probabilities"}
    assert set(found) == {"prompt", "samples", "config", "dynamic", "run", "step", "checkpoint", *likelihoods}
    assert all(len(found[name]) == len(samples) and max(found[name]) < 0 for name in likelihoods)


@pytest.mark.slow
def test_json_of_the_other_commands_is_a_line_of_what_they_made(home, jaxrnn):

    def told(command):
        code, out, _ = jaxrnn(f"{command} --json")
        assert (code, out.count("\n")) == (0, 1)
        return json.loads(out)

    corpus = load_checkpoint("run").corpus
    trained = told("train --config tiny.json --split 0.6,0.4 --run-dir new --quiet")
    assert (trained["run"], trained["step"], trained["steps"], trained["finished"]) == ("new", 20, 20, True)
    assert trained["corpus"] | {"source": ""} == {**corpus, "source": "", "symbols": len(set(PROSE))}
    assert [part["end"] for part in trained["slices"]] == [int(0.6 * len(PROSE)), len(PROSE)]
    last = json.loads((home / "new" / "metrics.jsonl").read_text().splitlines()[-1])
    names = ("smooth_loss_nats", "train_bits_per_character", "validation_bits_per_character", "step")
    assert {name: trained[name] for name in names} == {name: last[name] for name in names}
    assert trained["best"] == {name: last[name] for name in ("step", "validation_bits_per_character")}
    assert len(trained["sample"]) == TINY.sample_length
    assert trained["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(load_checkpoint("new").state.params))
    page = told("page run --out model.html")
    size = (home / "model.html").stat().st_size
    assert page == {"page": "model.html", "bytes": size, "step": 20, "checkpoint": LAST}
    assert told("plot run --out loss.svg") == {"plot": "loss.svg", "kind": "loss", "runs": ["run"]}
    weights = told("export run --out weights.safetensors")
    assert weights == {"weights": "weights.safetensors", "step": 20, "checkpoint": LAST}
    imported = told("import weights.safetensors --corpus text.txt --run-dir imported")
    assert (imported["run"], imported["cell"], imported["hidden_size"]) == ("imported", "tanh", 8)
    prepared = told("prepare text.txt")
    assert (prepared["length"], prepared["sha256"], prepared["cache_file"]) == (len(PROSE), corpus["sha256"], None)


@pytest.mark.parametrize("flags", ["", "--prompt the", "--num-samples 2"])
def test_report_copies_names_the_longest_span_that_stands_in_the_training_text(place, jaxrnn, flags):
    command = f"sample run --length 300 {flags}"
    plain = jaxrnn(command)[1]
    code, out, err = jaxrnn(f"{command} --report-copies")
    assert (code, err) == (0, NEWEST)
    pattern = (
        r"---- longest copy: (\d+) of 300 characters, from (\d+) on, in the training text from (\d+) on: (.*) ----\n"
    )
    assert re.sub(pattern, "", out) == plain
    reports = re.findall(pattern, out)
    copies = json.loads(jaxrnn(f"{command} --report-copies --json")[1])
    assert len(reports) == len(copies["copies"]) == len(copies["samples"])
    for report, copy, sample in zip(reports, copies["copies"], copies["samples"], strict=True):
        assert copy == longest_copy(sample, PROSE)._asdict()
        length, place_in_sample, place_in_text = map(int, report[:3])
        assert repr(PROSE[place_in_text : place_in_text + length]) == report[3] == repr(copy["text"])
        assert sample[place_in_sample:].startswith(copy["text"])
        assert sample[: copy["sample_offset"] + len(copy["text"]) + 1] not in PROSE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: path.unlink(),
            "for --report-copies, the text of the run can.t be read as it was .no such file",
        ),
        (
            lambda path: path.write_text(PROSE + "the"),
            "text.txt is no longer the text of .*restore the old text",
        ),
    ],
    ids=["gone", "changed"],
)
def test_report_copies_of_a_text_that_is_no_more_is_refused(home, jaxrnn, change, message):
    assert jaxrnn("train --config tiny.json --steps 2 --run-dir new")[0] == 0  # on the text in this directory
    change(home / "text.txt")
    assert jaxrnn("sample new --length 5")[0] == 0
    code, out, err = jaxrnn("sample new --length 5 --report-copies")
    assert (code, out) == (2, "")
    assert re.search(message, err)


def test_info_describes_a_run(place, jaxrnn):
    code, out, err = jaxrnn("info run")
    assert (code, err) == (0, "")
    corpus = load_checkpoint(place / "run").corpus
    for fact in ("step: 20 of 20", "tanh, 1 x 8", corpus["sha256"], str(place / "text.txt"), "bits", jax.__version__):
        assert fact in out
    assert re.findall(r"step-(\d+)", out) == ["0000000020", "0000000010"]


@pytest.fixture
def damaged(home, jaxrnn):
    """A run whose newest checkpoint is damaged, with a best one, and with what a dead writer left."""
    assert jaxrnn("train --config tiny.json --split 0.5,0.5 --validate-every 10 --run-dir new --quiet")[0] == 0
    newest, _ = list_checkpoints(home / "new" / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-1])
    (newest.parent / ".step-0000000030.safetensors.7.tmp").write_bytes(b"half")
    return home / "new"


@pytest.mark.filterwarnings("default")
def test_info_verifies_every_checkpoint_and_says_what_is_wrong_with_which(damaged, jaxrnn):
    before = contents(damaged)
    code, out, _ = jaxrnn("info new")
    assert code == 0
    assert re.search(
        r"^damaged checkpoint: new/checkpoints/step-0000000020.* [\d,]+ bytes, \d{4}-.*--repair", out, re.MULTILINE
    )
    assert re.search(
        r"^checkpoint: new/checkpoints/step-0000000010.safetensors, step 10, [\d,]+ bytes, .*good$", out, re.MULTILINE
    )
    assert re.search(
        rf"^best checkpoint: .*, step \d+, validation loss \d\.\d{{3}} bits per character \(validation, characters "
        rf"{len(PROSE) // 2}-{len(PROSE)}\), .*good$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^left by an interrupted writer: .*\.7\.tmp; --repair", out, re.MULTILINE)
    told = json.loads(jaxrnn("info new --json")[1])
    assert [(file["step"], file["good"]) for file in told["files"][:2]] == [(None, False), (10, True)]
    assert "is damaged" in told["files"][0]["problem"]
    assert (told["step"], told["corpus"]["sha256"]) == (
        10,
        load_checkpoint(damaged / "checkpoints/best.safetensors").corpus["sha256"],
    )
    assert from_json(TrainConfig, json.dumps(told["config"])).model.hidden_size == 8
    assert contents(damaged) == before


def test_repair_moves_aside_what_is_damaged_after_saying_so_and_nothing_else(damaged, jaxrnn):
    before = contents(damaged)
    code, _, err = jaxrnn("info new --repair")
    assert code == 0
    for name in (bad := ["step-0000000020.safetensors", ".step-0000000030.safetensors.7.tmp"]):
        undo = rf"undo: mv (new/checkpoints/damaged/{name}) new/checkpoints/{name}$"
        assert re.search(rf"^new/checkpoints/{name} .*; moved to \S+/damaged/{name}, {undo}", err, re.MULTILINE)
    assert len(err.splitlines()) == len(bad)
    moved = {Path("checkpoints", name): Path("checkpoints/damaged", name) for name in bad}
    after = {Path("checkpoints/damaged"): False, **{moved.get(path, path): data for path, data in before.items()}}
    assert contents(damaged) == after
    (damaged / "checkpoints" / bad[0]).write_bytes(b"damaged again")
    assert jaxrnn("info new --repair")[0] == 0
    assert contents(damaged) == {**after, Path("checkpoints/damaged", f"{bad[0]}.2"): b"damaged again"}
    assert jaxrnn("train --resume --run-dir new --quiet")[0] == 0


def test_a_run_all_of_whose_checkpoints_were_damaged_does_not_begin_again_unasked(damaged, jaxrnn):
    for path in (damaged / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    assert jaxrnn("info new --repair")[0] == 2
    before = contents(damaged)
    assert jaxrnn("train --resume --run-dir new --quiet")[0] == 2
    (run,) = json.loads(jaxrnn("runs new --json")[1])
    assert (run["state"], run["problem"]) == (
        "damaged",
        "its checkpoints were damaged; they are in checkpoints/damaged",
    )
    assert contents(damaged) == before


def test_repair_of_a_run_that_cannot_be_locked_says_what_to_do(damaged, jaxrnn):
    Path("new/.lock").unlink(missing_ok=True)
    Path("new/.lock").mkdir()
    code, _, err = jaxrnn("info new --repair")
    assert (code, err) == (1, "jaxrnn: can't write new/.lock (Is a directory); give the name of a file\n")


def test_repair_leaves_a_checkpoint_that_cannot_be_read_now(damaged, jaxrnn, monkeypatch):
    best, read_bytes = damaged / "checkpoints" / "best.safetensors", Path.read_bytes

    def fail(path):
        if path.name == best.name:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        code, out, err = jaxrnn("info new --repair")
    assert (code, best.name in err) == (0, False)
    assert re.search(
        r"^unreadable checkpoint: new/\S*best.safetensors can't be read now \(Permission denied\)", out, re.MULTILINE
    )
    assert load_checkpoint(best).counters["step"]


def test_info_leaves_out_a_checkpoint_that_the_run_removes_meanwhile(damaged, jaxrnn, monkeypatch):
    files, gone = all_checkpoints(damaged), checkpoint_path(damaged / "checkpoints", 5)
    monkeypatch.setattr("jaxrnn.cli.info.all_checkpoints", lambda _: [*files, gone])
    _, out, err = jaxrnn("info new")
    assert gone.name not in out + err


@pytest.mark.filterwarnings("default")
def test_a_run_without_a_checkpoint_whose_left_over_files_are_moved_has_lost_none(home, jaxrnn):
    folder = home / "run" / "checkpoints"
    for file in list(folder.iterdir()):
        file.rename(folder / f".{file.name}.7.tmp")
    (home / "run" / "metrics.jsonl").write_text("")
    code, _, err = jaxrnn("info run --repair")
    assert (code, err.splitlines()[-1]) == (
        2,
        "jaxrnn: run holds no checkpoint; it ended before its first one; begin it again with --resume or --overwrite",
    )
    assert "damaged" not in jaxrnn("runs run")[1]
    assert jaxrnn("train --run-dir run --resume --quiet")[0] == 0


def test_a_run_that_replaces_a_damaged_one_has_lost_no_checkpoints(damaged, jaxrnn):
    jaxrnn("info new --repair")
    assert any((damaged / "checkpoints" / "damaged").iterdir())
    assert jaxrnn("train --config tiny.json --run-dir new --overwrite --quiet")[0] == 0
    assert not any((damaged / "checkpoints" / "damaged").glob("[!.]*"))


def test_a_run_that_is_being_trained_is_not_repaired_but_can_be_described_and_sampled(damaged, jaxrnn):
    before, lock = contents(damaged), WriterLock(damaged)
    code, out, err = jaxrnn("info new --repair")
    assert (code, out) == (2, "")
    assert err.startswith("jaxrnn: new is being trained")
    assert contents(damaged) == before
    for command in ("info new/checkpoints/step-0000000010.safetensors", "sample new --from 10 --length 5"):
        assert jaxrnn(command)[0] == 0
    lock.close()


@pytest.mark.parametrize("command", ["info --repair", "info text.txt --repair", "info nowhere --repair"])
def test_there_must_be_a_run_to_repair(place, jaxrnn, command):
    assert_refused(place, jaxrnn, command, 2, "--repair needs")


def test_info_does_one_thing_at_a_time(place, jaxrnn):
    assert_refused(place, jaxrnn, "info damaged-cut --repair --vocabulary", 2, "give one of them")


def test_info_of_a_run_without_a_good_checkpoint_still_lists_them(place, jaxrnn):
    code, out, err = jaxrnn("info damaged-cut")
    assert (code, out.count("damaged checkpoint: "), len(err.splitlines())) == (3, 2, 1)


def test_info_without_a_run_describes_the_installation(place, jaxrnn):
    code, out, _ = jaxrnn("info")
    assert code == 0
    for fact in ("cpu", "python-docs", "tinyshakespeare", os.environ["XDG_CACHE_HOME"]):
        assert fact in out


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("kind", "command"),
    [*zip(DAMAGES, 2 * ["sample run --length 20", "info run", "train --resume --run-dir run --quiet"], strict=True)],
)
def test_a_damaged_newest_checkpoint_is_named_once_and_the_one_before_is_used(home, jaxrnn, kind, command):
    path, older = list_checkpoints(home / "run" / "checkpoints")
    good = older.read_bytes()
    damage(home / "run", kind)
    older.write_bytes(good)
    code, out, err = jaxrnn(command)
    assert code == 0
    assert out
    err = re.sub("^the newest checkpoint of .*\n", "", err, flags=re.MULTILINE)
    assert len(err.splitlines()) == 1
    assert err.startswith("jaxrnn: warning: ")
    assert path.name in err
    assert older.name in err


# ---- bad input -----------------------------------------------------------------------------------------------------

TRAIN = "train text.txt --config tiny.json"
# The tests of config have every field; here stand one of each kind of value, and flags that rename a field.
OUT_OF_RANGE = [
    (f"{TRAIN} --hidden-size 0", "hidden_size"),
    (f"{TRAIN} --learning-rate nan", "learning_rate"),
    (f"{TRAIN} --init-scale inf", "init_scale"),
    (f"{TRAIN} --decay-rate 1.1", "decay_rate"),
    (f"{TRAIN} --dropout=-0.1", "dropout"),
    (f"{TRAIN} --cell ''", "--cell"),
    (f"{TRAIN} --optimizer Adam", "--optimizer"),
    ("sample run --seed 4294967296", "seed"),
    ("sample run --top-k 1000", "top_k"),
    ("sample run --num-samples 1000000", "num_samples"),
]

BAD = [
    ("train nowhere.txt", "no such file.*nowhere.txt; give a text file or one of: python-docs"),
    ("train notes", "has 13 symbols"),
    ("train empty.txt", "empty.txt is empty; give a text"),
    ("train short.txt --config tiny.json", r"has 6 symbols.*= 7; give a longer text"),
    ("train short.txt", r"has 6 symbols.*= 27; give a longer text"),
    (f"{TRAIN} --sequence-length 1000000", "give a longer text or make them smaller"),
    (f"{TRAIN} --batch-size 1000000", "give a longer text or make them smaller"),
    ("train one.txt", "one.txt .*distinct"),
    ("train latin1.txt", rf"0xe9\) at offset {PROSE.index('é')}; .*--vocabulary bytes"),
    ("train utf16.txt", "UTF-16 by its byte-order mark; .*--encoding utf-16.*--vocabulary bytes"),
    ("train bom.txt", "byte-order mark.*--normalize"),
    ("train crlf.txt", r"CRLF.*in line 1\).*--normalize newlines"),
    (f"{TRAIN} --prompt 'the 猫, ça va'", "never seen , .*, ç .*, 猫 "),
    ("sample run --prompt 猫", "never seen 猫"),
    ("sample run --prompt a --prompt-file text.txt", "give one of them"),
    ("sample run --prompt-file nowhere.txt", "no such file: .*nowhere.txt; give a text file"),
    ("sample run --prompt-file '*.nothing'", "matches no files; give a text file"),
    (
        "sample run --prompt-file latin1.txt",
        rf"latin1.txt is not UTF-8 .* at offset {PROSE.index('é')}; .*cp1252",
    ),
    ("sample run --prompt-file crlf.txt", r"CRLF line ends .*--normalize newlines"),
    ("sample run --stop 'the 猫'", "the stop string 'the 猫' can't occur: the model has never seen 猫"),
    ("sample run --length 4 --stop 'the cat'", "'the cat' can't occur: it is 7 characters long, and length is 4"),
    ("sample run --seed 4294967295 --num-samples 2", "seed, the first of 2, must be at most 4294967294"),
    (f"{TRAIN} --steps 2147483648", "steps must be at most"),
    (f"{TRAIN} --hidden-size 1000000000000", "hidden_size"),
    (f"{TRAIN} --sample-length 10000000000000", "sample_length"),
    (f"{TRAIN} --cell GRU", "--cell must be tanh, relu, gru, lstm or FILE.py:NAME, got 'GRU'"),
    # what is not plain text
    *((f"train novel{suffix}", "save it as plain text .UTF-8") for suffix in (".docx", ".pdf", ".epub", ".html")),
    *((f"train as-text-{name}.txt", "as plain text .UTF-8") for name in ("docx", "pdf", "html", "doc")),
    ("train novel.html --normalize newlines", "save it as plain text .UTF-8"),
    ("evaluate run novel.html", "save it as plain text .UTF-8"),
    # what is not there, or said wrongly
    ("train text.tx", "no such file: .*/text.tx; did you mean text.txt"),
    ("train notes/theses.txt", "no such file: .*; did you mean thesis.txt"),
    ("evaluate run txt.txt", "did you mean text.txt"),
    ("sample runn", "no such run: runn; did you mean run"),
    ("info '\0'", r"'\\x00' contains a NUL"),
    ("evaluate run --per-character 'a\0'", r"'a\\x00' contains a NUL"),
    ("trian text.txt", "no such command: trian; did you mean train"),
    ("swim", "no such command: swim; there are train, presets, sweep, sample, evaluate, info"),
    (
        "train --config nowhere.json",
        r"can't read nowhere.json \(No such file or directory\); give the config.json of a run",
    ),
    ("train --config notes", "can't read notes.*; give the config.json of a run"),
    ("train --config latin1.txt", "can't read latin1.txt.*; give the config.json of a run"),
    ("train --config text.txt", "text.txt: not JSON"),
    ("train --config list.json", "list.json: expected an object"),
    ("train --config nan.json", "nan.json: learning_rate must be a finite number above 0, got nan"),
    ("train --config misspelt.json", "misspelt.json: .*'hiden_size'; did you mean hidden_size"),
    ("train --preset quick --config tiny.json --dry-run", "--preset and --config both .*; give one of them"),
    ("train --preset quick --resume --run-dir run", "--preset and --resume both .*; give one of them"),
    (f"{TRAIN} --schedule cosine --warmup-steps 20", "more steps in all than warmup_steps 20, got 20"),
    # what tyro refuses, in a box
    (f"{TRAIN} --steps 1e3", "Error parsing --steps: .*'1e3'"),
    (f"{TRAIN} --momentum much", "Error parsing --momentum: .*'much'"),
    (f"{TRAIN} --learning-rate 'a: b'", "Error parsing --learning-rate: .*'a: b'"),
    (f"{TRAIN} --split 0.9,x", "Error parsing --split: .*'x'"),
    (f"{TRAIN} --init Normal", "invalid choice 'Normal' for argument '--init'. Expected one of .*'fan_in'"),
    ("sample run --top-k 2.5", "Error parsing --top-k: .*2.5"),
    (f"{TRAIN} --hiden-size 8", "Unrecognized options: --hiden-size.*Perhaps you meant: --hidden-size"),
    (f"{TRAIN} --learningrate 8", "Unrecognized options: --learningrate.*Perhaps you meant: --learning-rate"),
    ("sample run --temprature 2", "Unrecognized options: --temprature.*Perhaps you meant: --temperature"),
    (f"{TRAIN} --temperature 0.5", "--temperature .applied to jaxrnn train.*: --temperature.*in jaxrnn sample --help"),
    (f"{TRAIN} --top_k 3", "Unrecognized options: --top_k, 3.*Perhaps you meant: --top-k .*in jaxrnn sample --help"),
    ("docs --json", "--json .applied to jaxrnn docs.*Perhaps you meant: --json .*in jaxrnn bench --help"),
    ("sample run --patience=3", "--patience.*in jaxrnn sweep --help in jaxrnn train --help"),
    ("--steps 5", "--steps .*Available subcommands: train, .*Perhaps you meant: --steps INT.*in jaxrnn train --help"),
    (f"{TRAIN} --num-sample 3", "Unrecognized options: --num-sample"),
    ("--verion", "--verion"),
    ("sample", "Missing from jaxrnn sample: RUN"),
    ("info run --step 3", "Unrecognized options: --step, 3"),
    # words that stand in no place
    ("sample run run", "`jaxrnn sample` can't take run there: files and runs come first"),
    ("runs a b c d e", "can't take b c d ... there: .*as many as `jaxrnn runs --help` shows"),
    ("sample run --prompt to be or", "`jaxrnn sample` can't take be or there: .*a text with spaces is quoted"),
    (
        f"{TRAIN} other.txt",
        "`jaxrnn train` can't take other.txt there: files and runs come first, together, as",
    ),
    ("train text.txt --quiet other.txt --steps 3", "`jaxrnn train` can't take other.txt there"),
    ("sweep text.txt --seeds 2 'a b.txt'", "`jaxrnn sweep` can't take 'a b.txt' there"),
    (f"{TRAIN} --seed", "Missing value for argument '--seed'"),
    ("train --config", "Missing value for argument '--config'"),
    ("train --preset", "Missing value for argument '--preset'"),
    (
        "train --preset charrnn",
        "invalid choice 'charrnn' for argument '--preset'. .*'min-char-rnn', 'char-rnn', 'quick'",
    ),
    # where to compute
    (f"{TRAIN} --devices 0", "--devices must be at least 1, got 0"),
    (f"{TRAIN} --num-processes 0", "--num-processes must be at least 1, got 0"),
    ("sample run --devices -1", "--devices must be at least 1, got -1"),
    (f"{TRAIN} --device tpu", "there is no tpu that JAX can use here, it finds cpu.*; choose another device"),
    (f"{TRAIN} --devices 9", "devices must be from 1 to 8, the cpu devices here, got 9"),
    (f"{TRAIN} --devices 8 --batch-size 6", "batch_size 6 can't be split over 8 devices; .*, or devices 6"),
    ("evaluate run --devices 2 --lanes 3", "lanes 3 can't be split over 2 devices"),
    ("sample run --devices all", "num_samples 1 can't be split over 8 devices"),
    # where the run is to be kept
    (f"{TRAIN} --run-dir run", "holds a run already; .*--resume.*--overwrite"),
    (f"{TRAIN} --run-dir notes", "notes is not a run directory and not empty; choose another --run-dir"),
    (f"{TRAIN} --run-dir notes --overwrite", "notes is not a run directory and not empty; choose another --run-dir"),
    (f"{TRAIN} --run-dir text.txt --overwrite", "text.txt .*; choose another --run-dir"),
    (f"{TRAIN} --run-dir .", "not a run directory and not empty; choose another --run-dir"),
    # what is to be gone on with
    (f"{TRAIN} --resume", "--resume needs --run-dir"),
    (f"{TRAIN} --resume --overwrite --run-dir run", "give one of them"),
    ("train --resume --run-dir nowhere", "no such run: nowhere"),
    ("train --resume --run-dir notes", "notes holds no checkpoint"),
    ("train --resume --run-dir text.txt", "text.txt is not a checkpoint"),
    ("train other.txt --resume --run-dir run --steps 30", "SHA-256"),
    ("train --resume --run-dir run --hidden-size 9", "hidden_size"),
    ("train --resume --run-dir run --seed 9", "seed 0, not 9"),
    # what is no checkpoint
    *(
        (f"{command} {name}", message)
        for command in ("sample", "info")
        for name, message in {
            "nowhere": "no such run: nowhere; give the run directory",
            "notes": "notes holds no checkpoint; give the run directory",
            "text.txt": "text.txt is not a checkpoint.*; give a run directory",
            "empty.txt": "empty.txt is not a checkpoint.*; give a run directory",
            "run/config.json": "config.json is not a checkpoint.*; give a run directory",
            "other.safetensors": "other.safetensors is not a checkpoint.*; give a run directory",
        }.items()
    ),
]
RUN_COMMANDS = [
    "sample",
    "evaluate",
    "info",
    "page --out x.html",
    "plot --out x.png",
    "export --out x",
    "compare runs/novel-1",
]


@pytest.mark.parametrize("command", [*RUN_COMMANDS, "sample --from best", "train --resume --run-dir"])
def test_a_run_named_without_its_folder_or_nearly_is_named_rightly(home, jaxrnn, command):
    (home / "runs").mkdir()
    (home / "run").rename(home / "runs" / "novel-1")
    for name in ("novel-1", "runs/novle-1", "./nowel-1"):
        code, _, err = jaxrnn(f"{command} {name}")
        assert (code, "did you mean runs/novel-1?" in err) == (2, True), err
    assert "give one of the runs in it, such as runs/novel-1" in jaxrnn(f"{command} runs")[2]


DAMAGED = [
    (f"{command} damaged-{kind}", "step-0000000020.safetensors is damaged")
    for command in ("sample", "info --json", "train --resume --run-dir")
    for kind in DAMAGES
]


@pytest.mark.parametrize(("command", "message"), BAD, ids=lambda value: ascii(value)[1:50])
def test_a_mistake_is_told_in_a_line_or_two_and_nothing_is_written(place, jaxrnn, command, message):
    assert_refused(place, jaxrnn, command, 2, message)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{TRAIN} --run-dir text.txt/run", "can't write to text.txt/run .*; choose another --run-dir"),
        (f"{TRAIN} --run-dir /proc/run", "can't write to /proc/run .*; choose another --run-dir"),
        (f"{TRAIN} --run-dir {300 * 'x'}", "can't write to x+ .*; choose another --run-dir"),
        (f"sweep --seeds 2 --steps 1 --run-dir {300 * 'x'}", "can't write to x+ .*; choose another --run-dir"),
    ],
    ids=["below-a-file", "nowhere", "too-long", "too-long-for-a-sweep"],
)
def test_a_run_directory_that_cannot_be_written_is_exit_code_1(place, jaxrnn, command, message):
    assert_refused(place, jaxrnn, command, 1, message)


@pytest.mark.parametrize(("command", "name"), OUT_OF_RANGE, ids=lambda value: value.removeprefix(TRAIN))
def test_a_value_out_of_range_is_refused_and_named(place, jaxrnn, command, name):
    assert_refused(place, jaxrnn, command, 2, f"^jaxrnn: {name} must be")


@pytest.mark.parametrize(("command", "message"), DAMAGED, ids=lambda value: value[:50])
def test_a_run_without_a_checkpoint_that_can_be_used_is_exit_code_3(place, jaxrnn, command, message):
    assert_refused(place, jaxrnn, command, 3, message)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "ascii", "latin-1", "cp1252"])
def test_a_terminal_of_any_encoding_gets_the_error_and_the_text(place, capsys, monkeypatch, encoding):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["train", "text.txt", "--hiden-size", "8"]) == 2
    assert "--hidden-size" in capsys.readouterr().err
    assert main(["sample", "run", "--prompt", "café", "--length", "5"]) == 0
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue().decode(encoding).startswith(r"caf\xe9" if encoding == "ascii" else "café")


@pytest.mark.parametrize("flag", ["", "--debug"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ZeroDivisionError("division by zero\nand more"),
            "ZeroDivisionError: division by zero\nthis is a bug; .*output of --debug",
        ),
        (MemoryError(), "out of memory; try a smaller"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), "out of memory; try a smaller"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PackageNotFoundError("jaxrnn"), "No package metadata was found for jaxrnn; run `pip install .`"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_that_nobody_foresaw_is_exit_code_1_and_its_traceback_is_for_debug(
    place, jaxrnn, monkeypatch, error, message, flag
):
    def fails(_):
        raise error

    monkeypatch.setattr("jaxrnn.cli.info.Info.run", fails)
    code, out, err = jaxrnn(f"info run {flag}")
    assert (code, out) == (1, "")
    assert re.search(rf"^jaxrnn: .*{message}", err, re.MULTILINE)
    assert ("Traceback" in err) == (flag == "--debug")
    assert flag or len(err.splitlines()) <= 2


def test_debug_shows_the_traceback_of_a_mistake_too(place, jaxrnn):
    code, _, err = jaxrnn("--debug train nowhere.txt")
    assert code == 2
    assert "Traceback" in err
    assert "\njaxrnn: no such file" in err


@pytest.mark.parametrize("prompt", ["-To", "--To be", "-1", "-"])
def test_a_text_may_begin_with_a_dash(home, jaxrnn, prompt):
    code, out, _ = jaxrnn(f"train --prompt '{prompt}' --dry-run --json")
    assert (code, json.loads(out)["prompt"]) == (0, prompt)


def test_a_number_may_begin_with_a_minus(home, jaxrnn):
    assert jaxrnn("plot run --kind units --layer -1 --out layer.png")[0] == 0


def test_the_home_directory_is_found_in_every_path(home, jaxrnn, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    assert jaxrnn("train text.txt --config=~/tiny.json --run-dir=~/new --quiet")[0] == 0
    assert jaxrnn("export ~/new --out=~/weights.safetensors")[0] == 0
    assert jaxrnn("import ~/weights.safetensors --corpus=~/text.txt --run-dir=~/imported")[0] == 0
    assert jaxrnn("evaluate ~/imported --per-character=~/bits.tsv")[0] == 0
    assert not (home / "~").exists()
    (home / "~no-such-user").write_text((home / "text.txt").read_text())
    assert jaxrnn("import weights.safetensors --corpus=~no-such-user --run-dir=other")[0] == 0


def test_all_devices_are_all_cores(home, jaxrnn):
    code, _, err = jaxrnn("train --config tiny.json --run-dir new --devices all")
    assert (code, "batch_size 1 can't be split over 8 devices" in err) == (2, True)


# ---- real processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_saves_the_run_and_resume_goes_on_with_it(home, stopped_by):
    running = process("train --config tiny.json --run-dir new --steps 2000000000 --log-every 100 --sample-every 100")
    while not running.stdout.readline().startswith("---- step 100:"):
        assert running.poll() is None
    running.send_signal(stopped_by)
    out, err = running.communicate()
    assert running.returncode == 128 + stopped_by
    assert "saving" in err
    assert "Traceback" not in err
    step = int(re.search(r"^([\d,]+) of 2,000,000,000 steps", out, re.MULTILINE)[1].replace(",", ""))
    assert step == load_checkpoint("new").counters["step"]
    more = (step // 100 + 2) * 100
    resumed = process(f"train --resume --run-dir new --steps {more}")
    assert "can't be promised" not in resumed.communicate()[1]
    assert resumed.returncode == 0
    assert logged_steps(home / "new") == list(range(0, more + 1, 100))


@pytest.mark.slow
def test_a_signal_is_heeded_though_no_report_is_due_for_long(home):
    rare = "--steps 100000 --log-every 2000000000 --sample-every 0 --checkpoint-every 1000"
    running = process(f"train --config tiny.json --run-dir new {rare}")
    while not list_checkpoints(home / "new" / "checkpoints"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    assert load_checkpoint("new").counters["step"] < 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "read"),
    [("--help", 0), ("sample run --length 1000000", 10), ("train --config tiny.json --run-dir new", 1)],
)
def test_a_reader_that_has_had_enough_is_no_error(home, command, read):
    reader, its_end = os.pipe()
    running = process(command, stdout=its_end)
    os.close(its_end)
    assert len(os.read(reader, read)) == read
    os.close(reader)
    _, err = running.communicate()
    assert running.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["--help", "sample run --length 10"])
def test_a_full_disk_is_an_error_of_one_line(home, command):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        running = process(command, stdout=full)
        _, err = running.communicate()
    assert running.returncode == 1
    assert re.fullmatch("jaxrnn: can't write to stdout \\(No space left on device\\); .*\n", err.removeprefix(NEWEST))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "columns", "room"),
    [(100, None, 100), (80, "", 80), (0, "0", 80), (0, "20", 20), (20, None, 20), (1, None, 1), (80, "1", 1)],
)
def test_a_terminal_of_any_width_shows_a_bar_and_samples_stay_on_stdout(
    home, monkeypatch, capsys, width, columns, room
):
    monkeypatch.delenv("COLUMNS", raising=False)
    environment = {} if columns is None else {"COLUMNS": columns}
    words = "train", "--config", "tiny.json", "--run-dir", "new"
    shown, code = shown_here(*words, streams=["stderr"], columns=width, **environment)
    assert code == 0
    lines = [line.rstrip() for line in shown.split("run: new", 1)[-1].split("\r")]
    assert max(map(len, lines)) <= max(1, room - 1)
    assert "compiling ..."[: max(1, room - 1)] in lines
    if room >= 80:
        last = next(filter(None, reversed(lines)))
        assert re.fullmatch(r"step 20 of 20 \S+ +\d\.\d{3} bits per character, [\d,.]+ steps/s", last)
    assert capsys.readouterr().out.startswith((home / "new" / "samples.txt").read_text())


def test_without_a_home_directory_it_trains_and_says_what_a_fetched_text_needs(home, jaxrnn, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nowhere)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert jaxrnn("train --config tiny.json --run-dir new")[0] == 0
    code, _, err = jaxrnn("train tinyshakespeare")
    assert (code, err) == (2, "jaxrnn: there is no home directory for the cache; set XDG_CACHE_HOME to a directory\n")


def start_with_cache(place, cache):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    (place / "text.txt").write_text(PROSE)
    command = [sys.executable, "-m", "jaxrnn", "train", str(place / "text.txt"), "--steps", "3", "--quiet"]
    command += ["--hidden-size", "8", "--run-dir", str(place / "run"), "--overwrite"]
    options = {"check": False, "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(command, env={**environment, "XDG_CACHE_HOME": str(cache)}, **options)


@pytest.fixture(scope="module")
def first_start(tmp_path_factory):
    """Where a first start was, and what it wrote; what it compiled is in "cache"."""
    place = tmp_path_factory.mktemp("first")
    return place, start_with_cache(place, place / "cache")


@pytest.mark.slow
class TestCompiledPrograms:
    """Kept for the next start, where nobody else can plant one."""

    def test_are_kept_in_a_directory_that_is_the_users_alone_and_found_there_again(self, first_start):
        place, done = first_start
        assert done.returncode == 0, done.stderr
        directory = place / "cache" / "jaxrnn" / "compiled"
        assert directory.stat().st_mode & 0o777 == 0o700
        kept = {path.name for path in directory.iterdir()}
        assert kept
        assert "vector_width" in load_checkpoint(place / "run").computed_by["xla_flags"]
        second = start_with_cache(place, place / "cache")
        assert {path.name for path in directory.iterdir()} == kept
        assert [line for line in second.stdout.splitlines() if " steps, " not in line] == [
            line for line in done.stdout.splitlines() if " steps, " not in line
        ]
        assert second.stderr == done.stderr == ""

    def test_are_neither_read_nor_kept_where_others_may_write(self, tmp_path):
        directory = tmp_path / "cache" / "jaxrnn" / "compiled"
        directory.mkdir(parents=True)
        directory.chmod(0o777)
        assert start_with_cache(tmp_path, tmp_path / "cache").returncode == 0
        assert not list(directory.iterdir())

    def test_are_not_kept_behind_a_link(self, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "cache" / "jaxrnn").mkdir(parents=True)
        (tmp_path / "cache" / "jaxrnn" / "compiled").symlink_to(elsewhere)
        assert start_with_cache(tmp_path, tmp_path / "cache").returncode == 0
        assert not list(elsewhere.iterdir())

    def test_a_damaged_one_is_made_again_and_kept(self, first_start):
        place, done = first_start  # not a copy: JAX looks for its programs by the name of the directory too
        kept = sorted((place / "cache" / "jaxrnn" / "compiled").glob("*-cache"))
        for path in kept:
            path.write_bytes(path.read_bytes()[:100])
        second, third = (start_with_cache(place, place / "cache") for _ in range(2))
        assert second.returncode == third.returncode == 0
        assert second.stdout.splitlines()[:3] == done.stdout.splitlines()[:3]
        assert re.fullmatch(r"(jaxrnn: warning: a compiled program in .* was damaged; .*\n)+", second.stderr)
        assert third.stderr == ""
        assert sorted((place / "cache" / "jaxrnn" / "compiled").glob("*-cache")) == kept
        assert kept
        assert all(path.stat().st_size > 100 for path in kept)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The directory of compiled programs, all folders above which are the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = tmp_path / "cache" / "jaxrnn" / "compiled"
    directory.mkdir(parents=True)
    for folder in (tmp_path / "cache", directory.parent, directory):
        folder.chmod(0o755)
    return directory


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777], ids=oct)
@pytest.mark.parametrize("above", [0, 1, 2], ids=["compiled", "jaxrnn", "cache"])
def test_compiled_programs_are_not_taken_from_where_others_may_write(cache, mode, above):
    assert process_settings._private_directory() == cache
    (cache, *cache.parents)[above].chmod(mode)
    assert process_settings._private_directory() is None


def test_compiled_programs_are_not_taken_from_a_folder_of_another_user(cache, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: cache.stat().st_uid + 1)
    assert process_settings._private_directory() is None


def test_old_compiled_programs_are_removed_and_the_others_have_room(cache, monkeypatch):
    days = {"new": 1, "older": 30, "oldest": 59, "long-ago": 61}
    for name, age in days.items():
        (cache / name).write_bytes(bytes(100))
        os.utime(cache / name, (time.time() - age * 86400,) * 2)
    process_settings._remove_old_programs(cache)
    assert {file.name for file in cache.iterdir()} == {"new", "older", "oldest"}
    monkeypatch.setattr(process_settings, "LARGEST_CACHE", 250)
    process_settings._remove_old_programs(cache)
    assert {file.name for file in cache.iterdir()} == {"new", "older"}

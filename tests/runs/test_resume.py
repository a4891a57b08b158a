"""A resumed run keeps what was asked last; what can't be resumed or saved is refused before anything changes."""

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from arrays import init_params
from command_line import process
from small_runs import Crash, assert_bit_identical, contents, metrics, run, tiny

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig, from_json
from jaxrnn.errors import JaxrnnError, NonFiniteError, StorageError
from jaxrnn.evaluation.score import evaluate
from jaxrnn.runs import begin_run, fit, fit_many
from jaxrnn.runs.checkpoint import checkpoint_size, load_checkpoint
from jaxrnn.runs.checkpoint_files import list_checkpoints
from jaxrnn.runs.metrics import read_metrics
from jaxrnn.text import load_corpus

AXES = {"learning_rate": [0.05, 0.1]}


def jaxrnn(*command):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(list(command))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory, text):
    """A run that ended after 24 steps, and a sweep of two."""
    place = tmp_path_factory.mktemp("made")
    run(tiny(text), place / "run")
    list(fit_many(tiny(text), AXES, run_dir=place / "sweep"))
    return place


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(path):
    return from_json(TrainConfig, (path / "config.json").read_text())


def edit(path, old, new):
    data = path.read_text()
    assert old in data
    path.write_text(data.replace(old, new))


@pytest.mark.slow
def test_what_was_asked_outlives_a_kill_before_the_first_new_checkpoint(home):
    asked = "train --resume --run-dir run --steps 50000000 --checkpoint-every 0 --log-every 4 --quiet"
    killed = process(asked)
    while len((home / "run" / "metrics.jsonl").read_text().splitlines()) < 9:  # it was at 24 steps, six lines
        time.sleep(0.01)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert load_checkpoint("run").counters["step"] == 24
    code, out, _ = jaxrnn("train", "--resume", "--run-dir", "run", "--dry-run")
    config = from_json(TrainConfig, out)
    assert (code, config.steps, config.checkpoint_every) == (0, 50_000_000, 0)


def test_fewer_steps_than_are_done_are_refused_with_both_numbers(home, text):
    before = contents(home)
    message = r"has done 24 steps, more than 20; resume it with --steps 24 or more"
    code, _, err = jaxrnn("train", "--resume", "--run-dir", "run", "--steps", "20")
    assert (code, bool(re.search(message, err))) == (2, True)
    code, _, err = jaxrnn("sweep", "--resume", "--run-dir", "sweep", "--steps", "20")
    assert (code, bool(re.search(message, err))) == (2, True)
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(text, steps=20), run_dir="run", resume=True)
    with pytest.raises(JaxrnnError, match=message):
        fit_many(tiny(text, steps=20), AXES, run_dir="sweep", resume=True)
    assert contents(home) == before


def test_fewer_steps_than_a_schedule_needs_are_refused_with_the_steps_that_are_done(text):
    rule = OptimizerConfig("adam", schedule="cosine", warmup_steps=22)
    run(tiny(text, optimizer=rule), "cosine")
    list(fit_many(tiny(text, optimizer=rule), AXES, run_dir="cosines"))
    message = r"has done 24 steps, more than 20; resume it with --steps 24 or more"
    config = tiny(text, optimizer=rule, steps=20)
    with pytest.raises(JaxrnnError, match=message):
        fit(config, run_dir="cosine", resume=True)
    with pytest.raises(JaxrnnError, match=message):
        fit_many(config, AXES, run_dir="cosines", resume=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"steps": 24', '"steps": 20', "has done 24 steps, more than 20"),
        ('"hidden_size": 8', '"hidden_size": 9', "trained with model.hidden_size 8, not 9"),
        ('"hidden_size": 8', '"hidden_sise": 8', "no field 'hidden_sise'"),
        ('"steps": 24', '"steps": 24,,', "config.json: not JSON"),
        ('"vocab_size": null', '"vocab_size": 5', "vocab_size is 5, but"),
        ('"parent": ""', '"parent": "another"', "trained with parent '', not 'another'"),
    ],
    ids=["steps", "size", "misspelled", "syntax", "symbols", "parent"],
)
def test_an_edited_configuration_is_refused_where_it_cannot_be_kept(home, old, new, message):
    edit(home / "run" / "config.json", old, new)
    before = contents(home)
    code, _, err = jaxrnn("train", "--resume", "--run-dir", "run")
    assert (code, message in err) == (2, True), err
    assert contents(home) == before


def test_an_edited_configuration_counts_and_flags_win_over_it(home):
    edit(home / "run" / "config.json", '"steps": 24', '"steps": 28')
    edit(home / "run" / "config.json", '"log_every": 4', '"log_every": 2')
    assert jaxrnn("train", "--resume", "--run-dir", "run", "--quiet")[0] == 0
    assert [line["step"] for line in metrics(home / "run")][-3:] == [24, 26, 28]
    assert jaxrnn("train", "--resume", "--run-dir", "run", "--steps", "30", "--quiet")[0] == 0
    config = config_of(home / "run")
    assert (config.steps, config.log_every, load_checkpoint("run").counters["step"]) == (30, 2, 30)
    edit(home / "sweep" / "sweep.json", '"steps": 24', '"steps": 26')
    assert jaxrnn("sweep", "--resume", "--run-dir", "sweep", "--quiet")[0] == 0
    assert [load_checkpoint(path).counters["step"] for path in (home / "sweep").glob("learning*")] == [26, 26]


EDITORS = {
    "mark": lambda data: b"\xef\xbb\xbf" + data,
    "Windows line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "no last line end": lambda data: data[:-1],
    "UTF-16": lambda data: data.decode().encode("utf-16"),
}


@pytest.mark.parametrize("editor", EDITORS.values(), ids=list(EDITORS))
def test_what_an_editor_has_saved_in_its_own_way_is_read_and_continued(home, editor):
    for name in ("config.json", "metrics.jsonl")[: 1 if editor is EDITORS["UTF-16"] else 2]:
        (home / "run" / name).write_bytes(editor((home / "run" / name).read_bytes()))
    assert "finished" in jaxrnn("runs", "run")[1]
    assert jaxrnn("train", "--run-dir", "run", "--resume", "--steps", "36")[0] == 0
    code, out, _ = jaxrnn("runs", "run", "--json")
    assert (code, json.loads(out)[0]["state"]) == (0, "finished")
    steps = read_metrics("run")["step"]
    assert (list(steps), steps[-1]) == (sorted({*steps}), 36)


def test_metrics_in_utf_16_are_converted_before_a_run_goes_on(home):
    log = home / "run/metrics.jsonl"
    log.write_bytes(EDITORS["UTF-16"](log.read_bytes()))
    before = contents(home)
    code, _, err = jaxrnn("train", "--run-dir", "run", "--resume", "--steps", "36")
    message = "jaxrnn: run/metrics.jsonl is in UTF-16, and the run goes on in UTF-8; convert it to that\n"
    assert (code, err.splitlines(True)[-1], contents(home)) == (2, message, before)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "samples.txt", "../sweep/sweep.json"])
def test_a_pipe_among_the_files_of_a_run_is_refused_not_waited_for(home, name):
    path = home / "run" / name
    path.unlink()
    os.mkfifo(path)
    command = "sweep" if "sweep" in name else "train"
    code, _, err = jaxrnn(command, "--run-dir", str(path.parent), "--resume")
    assert code in (1, 2)
    assert "it is not a regular file" in err


def test_a_checkpoint_with_the_name_of_another_step_is_told_and_not_resumed(home):
    (home / "run/checkpoints/step-0000000024.safetensors").rename(home / "run/checkpoints/step-0000000099.safetensors")
    problem = "step-0000000099.safetensors is the checkpoint of another step; rename it to step-0000000024.safetensors"
    code, _, err = jaxrnn("train", "--run-dir", "run", "--resume")
    assert (code, problem in err) == (2, True)
    assert "step-0000000099.safetensors, step 24," in jaxrnn("info", "run")[1]
    assert "after step 24\n" in jaxrnn("sample", "run")[2]


@pytest.mark.parametrize("every", [0, 5, 40])
def test_metrics_are_kept_where_the_checkpoints_were_moved_away(home, every):
    edit(home / "run/config.json", '"checkpoint_every": 12', f'"checkpoint_every": {every}')
    (home / "run/checkpoints").rename(home / "elsewhere")
    before = contents(home / "run")
    code, _, err = jaxrnn("train", "--run-dir", "run", "--resume")
    assert (code, contents(home / "run")) == (2, before)
    assert "has done 24 steps, and its checkpoints are gone; put them back" in err


@pytest.mark.filterwarnings("default")
def test_a_run_that_ended_before_its_first_checkpoint_begins_again_with_another_interval(home):
    edit(home / "run/config.json", '"checkpoint_every": 12', '"checkpoint_every": 40')
    for file in (home / "run/checkpoints").iterdir():
        file.unlink()
    code, _, err = jaxrnn("train", "--run-dir", "run", "--resume", "--checkpoint-every", "5", "--quiet")
    assert (code, "has no checkpoint yet; its run begins again" in err) == (0, True), err
    assert [line["step"] for line in metrics(home / "run")][-1] == 24


def test_a_file_beside_resume_is_refused(home):
    before = contents(home)
    for command in ("train", "sweep"):
        code, _, err = jaxrnn(command, "--resume", "--run-dir", "run", "--config", "run/config.json")
        assert (code, "--config and --resume both" in err) == (2, True)
    assert contents(home) == before


def test_a_sweep_that_cannot_be_resumed_as_asked_is_left_as_it_is(home):
    before = contents(home)
    code, _, err = jaxrnn("sweep", "--resume", "--run-dir", "sweep", "--hidden-size", "9")
    assert (code, "trained with model.hidden_size 8, not 9" in err) == (2, True)
    assert contents(home) == before


@pytest.mark.parametrize("command", ["train --resume --run-dir run", "sweep --resume --run-dir sweep"])
def test_a_text_that_has_moved_may_be_given_anew(home, command):
    corpus = config_of(home / "run").corpus
    shutil.copy(corpus, "text.txt")
    for file in (*home.rglob("config.json"), *home.rglob("sweep.json")):
        edit(file, corpus, str(home / "gone.txt"))
    code, _, err = jaxrnn(*command.split())
    assert (code, "has moved, give its new path as CORPUS" in err) == (2, True), err
    train, *rest = command.split()
    assert jaxrnn(train, "text.txt", *rest, "--quiet")[0] == 0


# ---- what can't be saved ---------------------------------------------------------------------------------------------


def test_a_run_that_the_disk_has_no_room_for_is_refused_before_it_begins(home, text, monkeypatch):
    usage, before = namedtuple("usage", "total used free"), contents(home)
    size = checkpoint_size(load_checkpoint("run").config)

    def room(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - free, free))

    room(2 * size - 1)
    message = r"needs [\d,]+ bytes for checkpoints, and its disk has [\d,]+ left; make room there, or choose another"
    for call in (
        lambda: fit(tiny(text), run_dir="new"),
        lambda: fit(tiny(text, steps=28), run_dir="run", resume=True),
        lambda: fit_many(tiny(text), AXES, run_dir="news"),
    ):
        with pytest.raises(StorageError, match=message):
            call()
    assert contents(home) == before
    assert run(tiny(text), "run", resume=True)[-1].step == 24  # it has nothing left to save
    run(tiny(text), "run", overwrite=True)  # what it replaces is room, too
    fit_many(tiny(text), AXES, run_dir="sweep", overwrite=True).close()
    room(2 * size)
    assert run(tiny(text), "new")[-1].step == 24


def test_a_prompt_that_no_checkpoint_holds_is_refused_before_it_begins(home, text):
    with pytest.raises(JaxrnnError, match=r"a prompt of 20,000,000 characters is too long to be saved"):
        fit(tiny(text, prompt=20_000_000 * "e"), run_dir="new")
    assert not Path("new").exists()


def test_a_folder_of_checkpoints_that_cannot_be_written_to_is_found_at_once(home, text, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(JaxrnnError, match=r"can't write to run \(Permission denied\)"):
        fit(tiny(text, steps=28), run_dir="run", resume=True)


def test_files_that_are_no_checkpoints_by_their_names_are_left_alone(home, text):
    folder = home / "run" / "checkpoints"
    (folder / ".mine.tmp").mkdir()
    (folder / "step-000000000\u0666.safetensors").write_text("mine")
    assert run(tiny(text, steps=28), "run", resume=True)[-1].step == 28
    assert jaxrnn("info", "run", "--repair")[0] == 0
    assert ((folder / ".mine.tmp").is_dir(), (folder / "step-000000000\u0666.safetensors").exists()) == (True, True)


def test_a_log_that_cannot_be_written_is_named(home, text):
    Path("run/metrics.jsonl").rename("run/old")
    Path("run/metrics.jsonl").mkdir()
    with pytest.raises(JaxrnnError, match=r"can't write run/metrics.jsonl \(Is a directory\); give the name of a file"):
        fit(tiny(text, steps=28), run_dir="run", resume=True)


def test_a_run_directory_that_is_removed_meanwhile_is_said_to_be_gone(home, text):
    for gone in ("new", "new/checkpoints"):
        reports = fit(tiny(text), run_dir="new", overwrite=True)
        next(reports)
        shutil.rmtree(gone)
        with pytest.raises(StorageError, match="new was removed or renamed while it was trained"):
            list(reports)


@pytest.mark.parametrize("step", [0, 12])
def test_advice_to_resume_is_given_where_there_is_a_checkpoint(home, text, step):
    config = tiny(text)
    if step:
        run(config, "new", leave=step)
    diverging = replace(config, optimizer=replace(config.optimizer, learning_rate=3e38))
    with pytest.raises(NonFiniteError) as caught:
        run(diverging, "new", resume=bool(step))
    assert ("--resume" in str(caught.value)) == bool(step)


# ---- what is true of a loss ------------------------------------------------------------------------------------------


def test_an_import_that_failed_is_not_resumed_with_another_network(home, text, monkeypatch):
    corpus = load_corpus(text)
    config = tiny(text)
    model = replace(config.model, vocab_size=len(corpus.vocabulary))
    params = init_params(jax.random.key(0), model)
    monkeypatch.setattr("jaxrnn.runs.directory.save_checkpoint", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        begin_run(params, config, corpus, "imported")
    monkeypatch.undo()
    monkeypatch.chdir(home)
    with pytest.raises(JaxrnnError, match="was to begin from given parameters and did not; begin another run"):
        fit(from_json(TrainConfig, Path("imported/config.json").read_text()), corpus, run_dir="imported", resume=True)


@pytest.mark.slow
def test_a_run_goes_on_from_the_best_checkpoint_where_that_is_the_newest(home, text):
    config = replace(tiny(text), split=(0.5, 0.5), validate_every=4, checkpoint_every=0)
    assert len(list(fit(config, run_dir="whole"))) == 7
    reports = fit(config, run_dir="killed")
    assert next(report.best.step for report in reports if report.step == 4) == 4
    with pytest.raises(Crash):
        reports.throw(Crash)
    assert [path.name for path in Path("killed/checkpoints").iterdir()] == ["best.safetensors"]
    resumed = list(fit(config, run_dir="killed", resume=True))
    assert [report.step for report in resumed] == [8, 12, 16, 20, 24]
    assert_bit_identical(load_checkpoint("killed").state, load_checkpoint("whole").state)
    assert metrics(Path("killed")) == metrics(Path("whole"))
    assert list_checkpoints(Path("killed/checkpoints"))[0].name == "step-0000000024.safetensors"


def test_an_imported_network_begins_at_its_own_loss(home, text):
    config, corpus = replace(tiny(text), sample_every=0), load_corpus(text)
    params = init_params(jax.random.key(1), replace(config.model, vocab_size=len(corpus.vocabulary), init_scale=1.0))
    begin_run(params, config, corpus, "imported")
    begun = load_checkpoint("imported")
    nats = evaluate(params, corpus.tokens, corpus.vocabulary, begun.config.model).nats_per_character
    assert begun.bits_per_character == pytest.approx(nats / math.log(2), rel=1e-5)
    assert float(begun.state.smooth_loss) == pytest.approx(config.sequence_length * nats, rel=1e-5)
    reports = run(config, "imported", resume=True)
    fresh = run(replace(config, steps=4), "fresh")
    assert reports[0].bits_per_character != pytest.approx(fresh[0].bits_per_character, rel=0.01)
    losses = [line["interval_bits_per_character"] for line in metrics(Path("imported"))]
    assert metrics(Path("imported"))[0]["train_bits_per_character"] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize(
    ("command", "worse"),
    [
        ("train --learning-rate 1e9", True),
        ("train --learning-rate 0.1", False),
        ("sweep --learning-rate 1e9,1e8", True),
        ("sweep --learning-rate 1e9,0.1", False),
    ],
    ids=["diverged", "learned", "all diverged", "one diverged"],
)
def test_a_run_that_ends_worse_than_guessing_says_so(home, text, command, worse):
    name, *flags = command.split()
    rest = ["--steps", "100", "--hidden-size", "8", "--sequence-length", "5", "--run-dir", "new", "--quiet"]
    code, out, _ = jaxrnn(name, str(text), *flags, *rest)
    assert code == 0
    pattern = r"^worse than guessing, which is \d\.\d{3} bits per character: lower --learning-rate$"
    assert bool(re.search(pattern, out, re.MULTILINE)) == worse


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 1e-300}, "learning_rate"),
        ({"learning_rate": 1e39}, "learning_rate"),
        ({"clip_value": 1e-40}, "clip_value"),
        ({"weight_decay": 1e300}, "weight_decay"),
    ],
    ids=str,
)
def test_a_number_that_float32_cannot_hold_is_refused(changes, name):
    optimizer = replace(TrainConfig().optimizer, **changes)
    with pytest.raises(JaxrnnError, match=rf"{name} must be 1.2e-38 to 3.4e\+38 in float32, got .*dtype float64"):
        TrainConfig(optimizer=optimizer)
    TrainConfig(optimizer=optimizer, model=ModelConfig(dtype="float64"))


@pytest.mark.parametrize("name", ["beta1", "beta2", "rms_decay", "momentum"])
def test_a_decay_that_is_1_in_float32_is_refused(name):
    with pytest.raises(JaxrnnError, match=f"{name} must be below 1 in float32, got 0.99999999"):
        replace(TrainConfig().optimizer, **{name: 0.99999999})
    replace(TrainConfig().optimizer, **{name: 0.9999999})


def test_runs_that_have_lost_their_checkpoints_are_not_called_finished(home):
    state = lambda: json.loads(jaxrnn("runs", "run", "--json")[1])[0]["state"]  # noqa: E731
    assert state() == "finished"
    files = sorted((home / "run" / "checkpoints").glob("step-*"))
    files[-1].rename(home / "newest")
    assert (state(), len(files) > 1) == ("stopped", True)  # it would resume from the one before
    for path in (home / "run" / "checkpoints").iterdir():
        path.unlink()
    assert state() == "stopped"

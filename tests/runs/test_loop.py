import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import assert_bit_identical, checkpoint_steps, contents, leaves, metrics, prose, run, tiny

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig, from_json, to_json
from jaxrnn.errors import CheckpointError, JaxrnnError, NonFiniteError
from jaxrnn.network import loss
from jaxrnn.network.model import initial_carry
from jaxrnn.runs import fit, new_run_directory, sample_title
from jaxrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path, list_checkpoints
from jaxrnn.runs.lock import WriterLock
from jaxrnn.sampling.sample import sample
from jaxrnn.text import batches, load_corpus
from jaxrnn.training import init_train_state


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


# ---- reports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "log", "sample", "checkpoint", "chunk", "reported", "sampled", "checkpoints"),
    [
        slow(12, 4, 0, 0, 100, [0, 4, 8, 12], [12], [12]),
        (12, 4, 0, 0, 2, [0, 4, 8, 12], [12], [12]),
        slow(12, 4, 6, 0, 100, [0, 4, 6, 8, 12], [0, 6, 12], [12]),
        (12, 6, 4, 8, 4, [0, 4, 6, 8, 12], [0, 4, 8, 12], [8, 12]),
        slow(12, 100, 0, 6, 4, [0, 12], [12], [6, 12]),
        (12, 100, 0, 2, 100, [0, 12], [12], [2, 4, 6, 8, 10, 12]),
        (10, 100, 4, 6, 4, [0, 4, 8, 10], [0, 4, 8, 10], [6, 10]),
        slow(12, 100, 100, 100, 4, [0, 12], [0, 12], [12]),
        slow(5, 2, 3, 0, 100, [0, 2, 3, 4, 5], [0, 3, 5], [5]),
        (1, 1, 1, 1, 1, [0, 1], [0, 1], [1]),
    ],
)
@pytest.mark.slow
def test_reports_samples_and_checkpoints_come_when_they_are_due(
    text, tmp_path, steps, log, sample, checkpoint, chunk, reported, sampled, checkpoints
):
    intervals = {"log_every": log, "sample_every": sample, "checkpoint_every": checkpoint, "chunk_length": chunk}
    reports = run(tiny(text, steps=steps, keep=99, **intervals), tmp_path / "run")
    assert [report.step for report in reports] == reported
    assert [report.step for report in reports if report.sample is not None] == sampled
    assert checkpoint_steps(tmp_path / "run") == checkpoints
    assert [report.loss is None for report in reports] == [True] + [False] * (len(reports) - 1)
    assert int(reports[-1].state.step) == steps


def test_a_run_that_keeps_nothing_reports_the_same_and_writes_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept, watched = run(tiny(text), tmp_path / "run"), run(tiny(text))
    assert_bit_identical(kept[-1].state, watched[-1].state)
    assert [report.sample for report in kept] == [report.sample for report in watched]
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.parametrize("prompt", ["", "a", "the that of"])
def test_a_sample_has_its_length_and_the_last_one_begins_with_the_prompt(text, prompt):
    *reports, last = run(tiny(text, prompt=prompt))
    assert {len(report.sample) for report in reports if report.sample is not None} == {12}
    assert last.sample.startswith(prompt)
    assert len(last.sample) == len(prompt) + 12


@pytest.mark.parametrize("lanes", [slow(1), 2])
def test_a_sample_is_written_from_the_state_before_the_steps_update_and_the_batchs_first_character(text, lanes):
    config = tiny(text, batch_size=lanes, sample_every=4)
    corpus, resets = load_corpus(text), []
    model = dataclasses.replace(config.model, vocab_size=len(corpus.vocabulary))
    for report in fit(config):
        state, chunk = report.state, batches(corpus.tokens, report.step, 1, config)
        batch = jax.tree.map(lambda entry: entry[0], chunk)
        resets.append(bool(batch.reset))
        carry = initial_carry(1, model) if resets[-1] else jax.tree.map(lambda entry: entry[:1], state.carry)
        key = jax.random.fold_in(state.key, report.step)
        tokens, _ = sample(key, state.params, carry, jnp.asarray(batch.inputs[:1, :1]), model, length=12)
        assert report.sample == corpus.vocabulary.decode(np.asarray(tokens)[:, 0])
    assert set(resets) == {True, False}  # both a sweep's first batch and later ones were seen


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_every": 0},
        {"sample_every": 4, "prompt": "the"},
        {"log_every": 1000, "sample_every": 0, "checkpoint_every": 0},
        {"chunk_length": 2},
        {"checkpoint_every": 0},
        {"checkpoint_every": 2, "keep": 1},
        {"log_every": 6, "sample_every": 4, "checkpoint_every": 10},
        {"sample_every": None, "log_every": 2},
    ],
    ids=str,
)
@pytest.mark.slow
def test_logging_sampling_checkpoints_and_chunks_never_change_what_is_trained(text, tmp_path, whole, changes):
    last = run(tiny(text, **changes), tmp_path / "run")[-1]
    assert_bit_identical(last.state, whole.last.state)


@pytest.mark.parametrize("devices", [1, 2])
def test_the_state_of_a_report_stays_if_it_is_read_before_the_next_report(text, tmp_path, devices):
    config = tiny(text, batch_size=2, steps=12, checkpoint_every=4, keep=9)
    reports = []
    for report in fit(config, run_dir=tmp_path / "run", devices=devices):
        assert int(report.state.step) == report.step  # it is read here
        reports.append(report)
    for report in reports[1:]:
        saved = load_checkpoint(checkpoint_path(tmp_path / "run" / "checkpoints", report.step))
        assert_bit_identical(report.state, saved.state)


def test_a_state_that_was_not_read_in_time_says_when_to_read_it_and_the_last_one_stays(text):
    first, *_, last = run(tiny(text, steps=12))
    with pytest.raises(JaxrnnError, match=r"state of step 0 is gone.*read report.state before you take the next"):
        first.state  # noqa: B018
    assert repr(first).startswith("Report(step=0, ")
    assert int(last.state.step) == 12


# ---- the run directory ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Whole:
    """An uninterrupted run: its directory, and its last report."""

    path: object
    last: object


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return Whole(path, run(tiny(text), path)[-1])


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of that run, to do with as a test likes."""
    return shutil.copytree(whole.path, tmp_path / "finished")


def test_a_run_directory_holds_what_was_reported(text, tmp_path):
    config, path = tiny(text, checkpoint_every=4, keep=2, prompt="a"), tmp_path / "new" / "run"
    reports = run(config, path)
    names = [".lock", "checkpoints", "config.json", "metrics.jsonl", "samples.txt"]
    assert sorted(entry.name for entry in path.iterdir()) == names
    newest_two = [checkpoint_path(path / "checkpoints", step) for step in (20, 24)]
    assert sorted((path / "checkpoints").iterdir()) == newest_two
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "step": report.step,
            "train_bits_per_character": report.bits_per_character,
            "interval_bits_per_character": report.interval_bits_per_character,
            "smooth_loss_nats": report.smooth_loss,
            "validation_bits_per_character": None,
            "seconds": report.seconds,
        }
        for report in reports
    ]
    sampled = [report for report in reports if report.sample is not None]
    expected = "".join(f"{sample_title(report)}\n{report.sample}\n\n" for report in sampled)
    assert (path / "samples.txt").read_bytes().decode() == expected


def test_config_json_runs_the_same_again(text, tmp_path, whole):
    config = from_json(TrainConfig, (whole.path / "config.json").read_text())
    assert config == tiny(text)
    run(config, tmp_path / "again")
    for name in ("config.json", "samples.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (whole.path / name).read_bytes()


def test_config_json_finds_a_text_that_was_named_from_another_directory(text, tmp_path, monkeypatch):
    monkeypatch.chdir(text.parent)
    run(tiny(text.name, steps=4), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    config = from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text())
    assert run(config)[-1].step == 4


def test_the_last_checkpoint_holds_the_last_state_and_all_that_describes_it(text, whole):
    checkpoint, corpus = load_checkpoint(whole.path), load_corpus(text)
    assert_bit_identical(checkpoint.state, whole.last.state)
    assert checkpoint.vocabulary == corpus.vocabulary
    assert checkpoint.corpus == {"source": str(text), "sha256": corpus.sha256, "length": len(corpus)}
    model = dataclasses.replace(checkpoint.config.model, vocab_size=None)
    assert checkpoint.config.model.vocab_size == len(corpus.vocabulary)
    assert dataclasses.replace(checkpoint.config, model=model) == tiny(text)


@pytest.mark.parametrize("step", [0, 4, 12, 20])
def test_leaving_the_loop_saves_the_run(text, tmp_path, step):
    reports = run(tiny(text, checkpoint_every=0), tmp_path / "run", leave=step)
    assert [report.step for report in reports] == list(range(0, step + 1, 4))
    assert checkpoint_steps(tmp_path / "run") == [step]
    assert_bit_identical(load_checkpoint(tmp_path / "run").state, reports[-1].state)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_is_left_keeps_no_file_open_and_no_lock(text, tmp_path, begun):
    def open_files():
        files = (os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir())
        return [name for name in files if name.startswith(str(tmp_path))]

    path = tmp_path / "run"
    reports = fit(tiny(text), run_dir=path)
    if begun:
        next(reports)
    assert open_files() == [str(path / ".lock")]
    reports.close()
    assert open_files() == []
    assert list(reports) == []
    WriterLock(path).close()


def test_a_run_is_refused_where_one_is_unless_it_is_told_what_to_do_with_it(text, finished):
    before = contents(finished)
    with pytest.raises(JaxrnnError, match=r"holds a run already.*--resume.*--overwrite"):
        fit(tiny(text), run_dir=finished)
    assert contents(finished) == before


def test_overwrite_leaves_nothing_of_the_run_before(text, finished, tmp_path):
    config = tiny(text, seed=1, steps=8, prompt="to")
    run(config, finished, overwrite=True)
    run(config, tmp_path / "fresh")
    assert contents(finished).keys() == contents(tmp_path / "fresh").keys()
    assert metrics(finished) == metrics(tmp_path / "fresh")
    for name in ("config.json", "samples.txt"):
        assert (finished / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    assert_bit_identical(load_checkpoint(finished).state, load_checkpoint(tmp_path / "fresh").state)


def test_an_empty_directory_takes_a_run(text, tmp_path):
    run(tiny(text, steps=4), tmp_path)
    assert checkpoint_steps(tmp_path) == [4]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", "checkpoints/thesis.txt", "samples.txt", "metrics.jsonl"])
def test_a_directory_with_other_peoples_files_is_refused_and_left_alone(text, tmp_path, name, overwrite):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises(JaxrnnError, match="not a run directory"):
        fit(tiny(text), run_dir=tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_new_run_directory_has_the_first_free_number(tmp_path):
    assert new_run_directory("text", tmp_path / "runs") == tmp_path / "runs" / "text-1"
    (tmp_path / "text-1").mkdir()
    (tmp_path / "text-3").mkdir()
    assert new_run_directory("text", tmp_path) == tmp_path / "text-2"


@pytest.mark.parametrize("prompt", ["the", "\udcff"], ids=ascii)
def test_a_prompt_of_any_bytes_ends_in_samples_txt(tmp_path, prompt):
    (tmp_path / "bytes").write_bytes(prose().encode().replace(b"\n", b"\xff"))
    run(tiny(tmp_path / "bytes", vocabulary="bytes", prompt=prompt, steps=4), tmp_path / "run")
    assert checkpoint_steps(tmp_path / "run") == [4]


# ---- resume --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stops",
    [
        [(0, "leave")],
        [(8, "leave")],
        [(12, "leave")],
        [(20, "leave")],
        [(24, "leave")],
        [(12, "crash")],
        [(20, "crash")],
        [(0, "leave"), (0, "leave")],
        [(4, "leave"), (16, "leave")],
        [(4, "leave"), (8, "crash"), (20, "crash"), (16, "leave")],
    ],
    ids=str,
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(text, tmp_path, whole, stops):
    config, path = tiny(text), tmp_path / "run"
    for resume, (stop, how) in enumerate(stops):
        run(config, path, leave=stop, crash=how == "crash", resume=resume > 0)
        for name in ("metrics.jsonl", "samples.txt"):
            with (path / name).open("a") as log:
                log.write("lines that were written after the last checkpoint\n" * 3)
    last = run(config, path, resume=True)[-1]
    assert_bit_identical(last.state, whole.last.state)
    assert_bit_identical(load_checkpoint(path).state, whole.last.state)
    assert (path / "samples.txt").read_bytes() == (whole.path / "samples.txt").read_bytes()
    assert metrics(path) == metrics(whole.path)
    assert (path / "config.json").read_bytes() == (whole.path / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("cell", "rule", "schedule", "changes"),
    [
        slow("gru", "adagrad", "constant", {}),
        ("lstm", "adam", "cosine", {"dropout": 0.3, "num_layers": 2}),
        slow("tanh", "adamw", "constant", {"dropout": 0.5}),
        slow("gru", "adam", "constant", dict.fromkeys(("input_dropout", "state_dropout", "weight_dropout"), 0.3)),
        slow("tanh", "rmsprop", "exponential", {}),
        slow("tanh", "sgd", "cosine", {}),
    ],
)
def test_every_cell_rule_schedule_and_dropout_resume_bit_for_bit(text, tmp_path, cell, rule, schedule, changes):
    model = dataclasses.replace(tiny(text).model, cell=cell, **changes)
    config = tiny(text, model=model, optimizer=OptimizerConfig(name=rule, schedule=schedule, decay_every=5))
    last = run(config, tmp_path / "whole")[-1]
    run(config, tmp_path / "cut", leave=12)
    assert_bit_identical(run(config, tmp_path / "cut", resume=True)[-1].state, last.state)
    rule = "adam" if rule == "adagrad" else "adagrad"
    other = dataclasses.replace(config, optimizer=OptimizerConfig(name=rule, schedule=schedule))
    with pytest.raises(JaxrnnError, match=r"was trained with optimizer.name"):
        run(other, tmp_path / "cut", resume=True)


def test_a_resumed_run_has_the_samples_that_the_default_spreads_over_the_whole_run(text, tmp_path):
    config = tiny(text, sample_every=None, log_every=2)
    samples = [report.step for report in run(config, tmp_path / "whole") if report.sample]
    assert samples == [0, 2, 4, 6, 8, 10, 16, 24]
    run(config, tmp_path / "run", leave=10)
    run(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "samples.txt").read_bytes() == (tmp_path / "whole" / "samples.txt").read_bytes()


def test_a_resumed_run_reports_from_where_it_was(text, tmp_path):
    run(tiny(text), tmp_path / "run", leave=8)
    assert [report.step for report in run(tiny(text), tmp_path / "run", resume=True)] == [12, 16, 20, 24]


@pytest.mark.slow
def test_a_run_that_is_left_open_when_python_ends_is_saved(text, tmp_path):
    script = f"""
import jaxrnn
config = jaxrnn.TrainConfig(corpus={str(text)!r}, sequence_length=5, steps=1000, log_every=4, sample_every=0)
reports = jaxrnn.fit(config, run_dir="run")
for report in reports:
    if report.step == 8:
        break
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
    assert checkpoint_steps(tmp_path / "run") == [8]


def test_a_run_that_is_asked_to_stop_between_reports_ends_saved_and_goes_on_without_a_trace(text, tmp_path, whole):
    config, path = tiny(text, log_every=12, sample_every=0, checkpoint_every=0), tmp_path / "run"
    answers = iter([False, False, True])
    assert [report.step for report in run(config, path, should_stop=lambda: next(answers))] == [0, 8]
    assert checkpoint_steps(path) == [8]
    assert_bit_identical(run(config, path, resume=True)[-1].state, whole.last.state)
    assert [line["step"] for line in metrics(path)] == [0, 12, 24]


def test_resuming_a_finished_run_trains_nothing_and_changes_no_file(text, finished, whole):
    before = contents(finished)
    (report,) = run(tiny(text), finished, resume=True)
    assert (report.step, report.sample) == (24, whole.last.sample)
    assert_bit_identical(report.state, whole.last.state)
    assert contents(finished) == before


def test_a_finished_run_goes_on_with_more_steps_as_if_it_had_had_them_from_the_start(text, tmp_path, whole):
    run(tiny(text, steps=8), tmp_path / "run")
    reports = run(tiny(text), tmp_path / "run", resume=True)
    assert_bit_identical(reports[-1].state, whole.last.state)
    assert metrics(tmp_path / "run") == metrics(whole.path)
    assert (tmp_path / "run" / "samples.txt").read_bytes() == (whole.path / "samples.txt").read_bytes()
    assert from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text()).steps == 24


@pytest.mark.parametrize(
    "changes",
    [
        {"log_every": 8, "sample_every": 12, "checkpoint_every": 0, "chunk_length": 2},
        {"prompt": "the", "keep": 1},
        {"optimizer": OptimizerConfig(learning_rate=0.05, weight_decay=0.1, clip="norm", clip_value=1.0)},
    ],
    ids=["intervals", "prompt", "optimizer"],
)
def test_what_does_not_make_another_run_may_change_on_resume(text, tmp_path, changes):
    run(tiny(text), tmp_path / "run", leave=12)
    config = tiny(text, **changes)
    assert run(config, tmp_path / "run", resume=True)[-1].step == 24
    assert from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text()) == config


OTHER_RUNS = {
    "text of the same characters": ({}, prose(seed=1).encode(), "text"),
    "text with more characters": ({}, prose().encode() + b"XYZ", "text"),
    "longer text": ({}, 2 * prose().encode(), "text"),
    "seed": ({"seed": 1}, None, "seed 0, not 1"),
    "hidden size": ({"model": ModelConfig(hidden_size=9)}, None, "hidden_size"),
    "layers": ({"model": ModelConfig(hidden_size=8, num_layers=2)}, None, "num_layers"),
    "sequence length": ({"sequence_length": 6}, None, "sequence_length 5, not 6"),
    "batch size": ({"batch_size": 2}, None, "batch_size 1, not 2"),
    "schedule": (
        {"optimizer": OptimizerConfig(schedule="cosine")},
        None,
        "optimizer.schedule 'constant', not 'cosine'",
    ),
    "warm-up": ({"optimizer": OptimizerConfig(warmup_steps=1)}, None, "optimizer.warmup_steps 0, not 1"),
    "vocabulary": ({"vocabulary": "bytes"}, None, "vocabulary 'characters', not 'bytes'"),
}


@pytest.mark.parametrize(("changes", "data", "message"), OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_a_run_is_not_resumed_as_another_one(text, tmp_path, finished, changes, data, message):
    if data:
        text = tmp_path / "other.txt"
        text.write_bytes(data)
    before = contents(finished)
    with pytest.raises(JaxrnnError) as caught:
        fit(tiny(text, steps=30, **changes), run_dir=finished, resume=True)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert contents(finished) == before


def test_a_run_is_not_resumed_on_the_same_file_read_otherwise(tmp_path):
    (tmp_path / "text.txt").write_bytes(prose().encode())  # V is the same either way
    run(tiny(tmp_path / "text.txt", steps=4), tmp_path / "run")
    with pytest.raises(JaxrnnError, match="normalize"):
        fit(tiny(tmp_path / "text.txt", steps=8, normalize=["nfc"]), run_dir=tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_passed_over_and_never_costs_the_good_ones(text, tmp_path):
    path = tmp_path / "run"
    run(tiny(text, steps=8, checkpoint_every=4), path)
    damaged = checkpoint_path(path / "checkpoints", 8)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=f"{damaged.name} is damaged"):
        reports = run(tiny(text, log_every=2, keep=1), path, leave=6, resume=True)
    with pytest.warns(UserWarning, match=f"{damaged.name} is damaged"):
        assert_bit_identical(load_checkpoint(path).state, reports[-1].state)


def test_a_user_defined_optimizer_trains_and_is_asked_for_again_on_resume(text, tmp_path):
    def optimizer(learning_rate=0.05):
        schedule = optax.linear_schedule(learning_rate, 0.0, 24)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.lion(schedule))

    config = tiny(text)
    whole = run(config, optimizer=optimizer())[-1]
    assert whole.config.optimizer == OptimizerConfig("custom")
    assert not np.array_equal(whole.state.params.Why, run(config)[-1].state.params.Why)
    run(config, tmp_path / "run", leave=12, optimizer=optimizer())
    with pytest.raises(JaxrnnError, match=r"trained with optimizer.name 'custom', not 'adagrad'"):
        fit(config, run_dir=tmp_path / "run", resume=True)
    written = from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text())
    with pytest.raises(JaxrnnError, match=r"hand it over again: .*--optimizer FILE.py:NAME"):
        fit(written, run_dir=tmp_path / "run", resume=True)
    assert_bit_identical(run(written, tmp_path / "run", resume=True, optimizer=optimizer())[-1].state, whole.state)
    assert_bit_identical(load_checkpoint(tmp_path / "run", optimizer=optimizer()).state, whole.state)
    without = load_checkpoint(tmp_path / "run").state  # all that a sample needs
    assert jax.tree.leaves(without.opt_state) == []
    assert_bit_identical(without._replace(opt_state=()), whole.state._replace(opt_state=()))
    with pytest.raises(CheckpointError, match=r"opt_state.* must be .* got nothing|has tensors that this model lacks"):
        load_checkpoint(tmp_path / "run", optimizer=optax.sgd(0.1, momentum=0.9))
    run(config, tmp_path / "other", leave=12)
    with pytest.raises(JaxrnnError, match="trained with the optimizer adagrad; leave yours out"):
        run(config, tmp_path / "other", resume=True, optimizer=optimizer())


@pytest.mark.parametrize("vocabulary", ["characters", "bytes"])
def test_a_text_in_memory_trains_as_its_file_does_and_resumes_when_it_is_passed_again(
    text, tmp_path, whole, vocabulary
):
    config = tiny("python-docs", vocabulary=vocabulary)
    run(config, tmp_path / "run", corpus=prose(), leave=12)
    with pytest.raises(JaxrnnError, match=r"in memory.*Corpus.from_text"):
        fit(
            from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text()),
            run_dir=tmp_path / "run",
            resume=True,
        )
    with pytest.raises(JaxrnnError, match="resume it on the same text"):
        fit(config, prose(1), run_dir=tmp_path / "run", resume=True)
    last = run(config, tmp_path / "run", corpus=prose(), resume=True)[-1]
    expected = whole.last if vocabulary == "characters" else run(tiny(text, vocabulary="bytes"))[-1]
    assert_bit_identical(last.state, expected.state)


# ---- numbers that go bad, and bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight_decay", "every", "steps", "message"),
    [
        (0.0, 4, 24, "the loss of step 1 is not finite"),
        (1e38, 1, 24, "between steps 0 and 1 a parameter became"),
        (1e38, 1, 1, "between steps 0 and 1 a parameter became"),
    ],
    ids=["loss", "parameters after a finite loss", "parameters after the last loss"],
)
def test_numbers_that_go_bad_stop_the_run_and_are_never_saved(text, tmp_path, weight_decay, every, steps, message):
    optimizer = OptimizerConfig(learning_rate=3e38, weight_decay=weight_decay)
    config = tiny(text, optimizer=optimizer, sample_every=0, keep=99)
    config = dataclasses.replace(config, log_every=every, checkpoint_every=every, steps=steps)
    path = tmp_path / "run"
    for place in (path, None):
        with pytest.raises(NonFiniteError, match=f"{message}.*learning_rate"):
            run(config, place)
    for checkpoint in list_checkpoints(path / "checkpoints"):
        bad = [name for name, leaf in leaves(load_checkpoint(checkpoint).state).items() if not np.isfinite(leaf).all()]
        assert bad == []
    assert not path.exists() or all(np.isfinite(line["smooth_loss_nats"]) for line in metrics(path))


def test_a_run_whose_numbers_went_bad_keeps_its_good_checkpoints_and_goes_on_from_them(text, tmp_path, whole):
    run(tiny(text), tmp_path / "run", leave=12)
    good = contents(tmp_path / "run" / "checkpoints")
    with pytest.raises(NonFiniteError):
        run(tiny(text, optimizer=OptimizerConfig(learning_rate=3e38)), tmp_path / "run", resume=True)
    assert contents(tmp_path / "run" / "checkpoints") == good
    assert_bit_identical(run(tiny(text), tmp_path / "run", resume=True)[-1].state, whole.last.state)
    assert metrics(tmp_path / "run") == metrics(whole.path)


BAD_TEXTS = {
    "empty": (b"", "is empty"),
    "too short": (b"abcdef", r"has 6 symbols.*at least .* = 7"),
    "one symbol": (b"a" * 50, "distinct"),
    "not UTF-8": (b"abc\xff" * 9, r"0xff\) at offset 3"),
    "byte-order mark": (b"\xef\xbb\xbf" + prose().encode(), "byte-order mark"),
    "CRLF": (prose().encode() + b"a\r\n", "CRLF"),
}
BAD_CALLS = {
    "no such file": ({"corpus": "nowhere.txt"}, {}, "no such file"),
    "a directory": ({"corpus": "."}, {}, "has no files"),
    "an unknown prompt": ({"prompt": "the 猫"}, {}, "never seen 猫"),
    "another vocab_size": ({"model": ModelConfig(vocab_size=99)}, {}, "vocab_size is 99"),
    "float64 without x64": ({"model": ModelConfig(dtype="float64")}, {}, "float64"),
    "cosine of no steps": (
        {"optimizer": OptimizerConfig(schedule="cosine", warmup_steps=24)},
        {},
        "more steps in all than warmup_steps 24, got 24",
    ),
    "more lanes than text": ({"batch_size": 100}, {}, "give a longer text"),
    "a file for a text": ({}, {"corpus": __file__}, r"test_loop.py is a file, not a text; load it by jaxrnn.load_co"),
    "bytes for a text": ({}, {"corpus": b"text"}, "corpus must be a Corpus or a string or None, got b'text'"),
    "an optimizer that is none": (
        {},
        {"optimizer": "adam"},
        "optimizer must be a GradientTransformation or None, got 'adam'",
    ),
    "two optimizers": (
        {"optimizer": OptimizerConfig("sgd")},
        {"optimizer": optax.adam(0.01)},
        "config.optimizer has no effect beside a user-defined optimizer; leave it out",
    ),
    "a custom optimizer that is not passed": (
        {"optimizer": OptimizerConfig("custom")},
        {},
        "which no file holds; hand it over again",
    ),
    "an optimizer of bfloat16": (
        {},
        {"optimizer": optax.adam(0.01, mu_dtype="bfloat16")},
        "the optimizer's state is of type bfloat16, which no checkpoint holds",
    ),
    "a stop that is no function": ({}, {"should_stop": True}, "should_stop must be a function, got True"),
    "a loss that is no function": ({}, {"loss": 0.1}, "loss must be a function, got 0.1"),
    "no run to resume": ({}, {"resume": True}, "no such run"),
    "resume without run_dir": ({}, {"resume": True, "run_dir": None}, "resume needs run_dir"),
}


@pytest.mark.parametrize(("data", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_text_that_cannot_be_trained_on_is_refused_before_anything_is_written(tmp_path, data, message):
    (tmp_path / "text.txt").write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(tmp_path / "text.txt"), run_dir=tmp_path / "run")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("changes", "how", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_mistake_is_found_at_the_call_before_anything_is_written(text, tmp_path, changes, how, message):
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(text, **changes), **{"run_dir": tmp_path / "run", **how})
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("changes", [changes for changes, how, _ in BAD_CALLS.values() if changes and not how], ids=str)
def test_a_mistake_costs_nothing_of_the_run_that_was_to_be_overwritten(text, finished, changes):
    before = contents(finished)
    with pytest.raises(JaxrnnError):
        fit(tiny(text, **changes), run_dir=finished, overwrite=True)
    assert contents(finished) == before


@pytest.mark.parametrize("below", ["file", "file/run", "x" * 300, "/proc/run"])
def test_a_run_directory_that_cannot_be_made_is_refused_with_what_to_do(text, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(JaxrnnError, match="choose another --run-dir"):
        fit(tiny(text), run_dir=tmp_path / below)
    assert contents(tmp_path) == before


def test_the_config_in_a_run_directory_is_the_one_that_was_given(text, whole):
    assert (whole.path / "config.json").read_text() == to_json(tiny(text)) + "\n"


# ---- one writer, and what dead ones left ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_run_that_somebody_trains_is_refused_and_can_be_read(text, tmp_path, how):
    path, first = tmp_path / "run", fit(tiny(text, checkpoint_every=4), run_dir=tmp_path / "run")
    while next(first).step < 8:
        pass
    before = contents(path)
    with pytest.raises(JaxrnnError, match=r"is being trained.*choose another --run-dir") as caught:
        fit(tiny(text), run_dir=path, **how)
    assert caught.value.exit_code == 2
    assert contents(path) == before
    assert load_checkpoint(path).counters["step"] == 8
    first.close()
    assert run(tiny(text), path, resume=True)[-1].step == 24


@pytest.mark.slow
def test_processes_that_look_whether_somebody_trains_keep_nobody_from_it(tmp_path):
    (tmp_path / ".lock").touch()
    code = "import sys, pathlib, jaxrnn.runs.lock as lock; print(1, flush=True)\nwhile True: "
    code += "lock.is_locked(pathlib.Path(sys.argv[1]))"
    polling = [subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in polling:
            process.stdout.readline()
        for _ in range(1000):
            WriterLock(tmp_path).close()
    finally:
        for process in polling:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_no_hindrance(text, tmp_path):
    script = f"""
import os, signal, jaxrnn
config = jaxrnn.TrainConfig(corpus={str(text)!r}, sequence_length=5, steps=1000, log_every=4, sample_every=0)
for report in jaxrnn.fit(config, run_dir="run"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=120)
    assert killed.returncode == -9
    config = TrainConfig(corpus=str(text), sequence_length=5, steps=4, sample_every=0)
    assert run(config, tmp_path / "run", overwrite=True)[-1].step == 4


def test_what_dead_writers_left_half_written_is_removed_at_the_next_start(text, finished):
    left_over = [finished / ".config.json.7.tmp", finished / "checkpoints" / ".step-0000000030.safetensors.7.tmp"]
    for path in left_over:
        path.write_bytes(b"half")
    run(tiny(text), finished, resume=True)
    assert not any(path.exists() for path in left_over)


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}], ids=str)
def test_a_run_that_ended_before_its_first_checkpoint_begins_again(text, tmp_path, whole, how):
    run(tiny(text), tmp_path / "run", leave=4, crash=True)
    assert checkpoint_steps(tmp_path / "run") == []
    with pytest.warns(UserWarning, match="no checkpoint yet") if "resume" in how else contextlib.nullcontext():
        reports = run(tiny(text), tmp_path / "run", **how)
    assert_bit_identical(reports[-1].state, whole.last.state)
    assert metrics(tmp_path / "run") == metrics(whole.path)


@pytest.mark.parametrize("left", [[".lock"], [".lock", "checkpoints/"], [".lock", ".config.json.7.tmp"]], ids=str)
def test_what_a_run_that_was_cut_at_once_left_is_no_hindrance(text, tmp_path, left):
    for name in left:
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        if name.endswith("/"):
            (tmp_path / "run" / name).mkdir()
        else:
            (tmp_path / "run" / name).write_text("")
    run(tiny(text, steps=4), tmp_path / "run")
    assert checkpoint_steps(tmp_path / "run") == [4]


def test_an_old_checkpoint_that_cannot_be_removed_does_not_end_the_run(text, tmp_path, monkeypatch, whole):
    def fails(path, **_):
        raise OSError(13, "Permission denied")

    reports = fit(tiny(text, keep=1), run_dir=tmp_path / "run")
    monkeypatch.setattr(type(tmp_path), "unlink", fails)
    with pytest.warns(UserWarning, match=r"can't remove .*step-0000000012.*Permission denied"):
        last = list(reports)[-1]
    assert_bit_identical(last.state, whole.last.state)
    assert checkpoint_steps(tmp_path / "run") == [12, 24]


def test_when_no_newest_checkpoint_is_left_the_best_one_is_gone_on_from(text, tmp_path):
    config = tiny(text, split=(0.7, 0.3), validate_every=4)
    last = run(config, tmp_path / "run")[-1]
    for path in list_checkpoints(tmp_path / "run" / "checkpoints"):
        path.unlink()
    expected = metrics(tmp_path / "run")
    assert_bit_identical(run(config, tmp_path / "run", resume=True)[-1].state, last.state)
    assert metrics(tmp_path / "run") == expected


@pytest.mark.parametrize(
    "change",
    [{"device_count": 99}, {"jax": "99"}, {"device": "99"}, {"processor": "99"}, {"xla_flags": "--99"}],
    ids=str,
)
def test_a_resume_by_another_version_or_on_other_devices_says_that_bits_may_differ(
    text, tmp_path, monkeypatch, whole, change
):
    run(tiny(text), tmp_path / "run", leave=12)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.computed_by["device_count"] == 1  # of those that there are
    other = {**checkpoint.computed_by, **change}
    monkeypatch.setattr("jaxrnn.runs.directory.computed_by", lambda device_count: other)
    with pytest.warns(UserWarning, match=r"was trained on \d x .* and continues on .*\b99\b.*can't be promised"):
        reports = run(tiny(text), tmp_path / "run", resume=True)
    assert_bit_identical(reports[-1].state, whole.last.state)


def test_the_seconds_of_a_resumed_run_go_on_from_those_before(text, tmp_path):
    run(tiny(text), tmp_path / "run", leave=12)
    before = load_checkpoint(tmp_path / "run").counters["seconds"]
    assert before > 0
    assert run(tiny(text), tmp_path / "run", resume=True)[0].seconds > before
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_is_asked_to_stop_before_its_first_step_is_saved_as_it_is(text, tmp_path, whole, resume):
    if resume:
        run(tiny(text), tmp_path / "run", leave=12)
    step = 12 if resume else 0
    (report,) = run(tiny(text), tmp_path / "run", resume=resume, should_stop=lambda: True)
    assert (report.step, report.finished) == (step, False)
    assert checkpoint_steps(tmp_path / "run") == [step]
    assert_bit_identical(run(tiny(text), tmp_path / "run", resume=True)[-1].state, whole.last.state)
    assert metrics(tmp_path / "run") == metrics(whole.path)


def test_a_run_of_another_model_is_refused_by_the_name_of_what_differs(text, tmp_path):
    config = tiny(text, steps=2)
    list(fit(config, run_dir=tmp_path / "run"))
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, hidden_size=9))
    with pytest.raises(
        JaxrnnError, match=rf"trained with model\.hidden_size {config.model.hidden_size}, not 9; resume"
    ):
        fit(other, run_dir=tmp_path / "run", resume=True)


def _without_key(params, carry, batch, config):
    return loss(params, carry, batch, config)


def _without_carry(params, carry, batch, config, *, key=None):
    return loss(params, carry, batch, config, key=key)[0]


def _of_lanes(params, carry, batch, config, *, key=None):
    nats, carry = loss(params, carry, batch, config, key=key)
    return nats[None], carry


def _with_a_longer_carry(params, carry, batch, config, *, key=None):
    nats, carry = loss(params, carry, batch, config, key=key)
    return nats, jax.tree.map(lambda entry: jnp.concatenate([entry, entry]), carry)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"loss": _without_key}, "fails with TypeError: .*unexpected keyword argument 'key'"),
        ({"loss": _without_carry}, "fails with TypeError"),
        ({"loss": _of_lanes}, "fails with TypeError: Gradient only defined for scalar-output"),
        ({"loss": _with_a_longer_carry}, "keep all shapes"),
        ({"optimizer": optax.contrib.reduce_on_plateau()}, "fails with TypeError: .*value"),
    ],
)
def test_a_loss_or_an_optimizer_that_fails_costs_no_run_that_is_there(text, tmp_path, whole, how, message):
    shutil.copytree(whole.path, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(text), run_dir=tmp_path / "run", overwrite=True, **how)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("function", ["progress", "should_stop"])
def test_an_error_in_a_function_of_ones_own_saves_the_run(text, tmp_path, whole, function):
    calls = []

    def fail(*_):
        calls.append(None)
        if len(calls) == 4:
            raise OSError("the dashboard is down")

    with pytest.raises(OSError, match="the dashboard is down"):
        run(tiny(text), tmp_path / "run", **{function: fail})
    (step,) = checkpoint_steps(tmp_path / "run")
    assert 0 < step < 24
    assert_bit_identical(run(tiny(text), tmp_path / "run", resume=True)[-1].state, whole.last.state)


def test_a_program_may_go_to_another_directory_while_it_trains(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for report in fit(tiny(text), run_dir="run"):
        os.chdir("elsewhere" if report.step == 4 else ".")
    assert checkpoint_steps(tmp_path / "run") == [12, 24]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_state_of_a_user_defined_optimizer_is_saved_and_loaded(text, tmp_path):
    corpus, rule = load_corpus(text), optax.lion(1e-3)
    model = ModelConfig(hidden_size=8, vocab_size=len(corpus.vocabulary))
    config = TrainConfig(model=model, optimizer=OptimizerConfig(name="custom"))
    state = init_train_state(jax.random.key(0), config, optimizer=rule)
    about = {"source": "", "sha256": corpus.sha256, "length": len(corpus)}
    save_checkpoint(tmp_path / "x.safetensors", state, config, corpus.vocabulary, corpus=about)
    assert_bit_identical(load_checkpoint(tmp_path / "x.safetensors", optimizer=rule).state, state)


def test_what_was_due_when_a_function_of_ones_own_failed_is_made_on_resume(text, tmp_path):
    config = tiny(text, split=(0.5, 0.5), validate_every=12)
    whole = run(config, tmp_path / "whole")

    def fail(activity, new, total):
        if activity == "validating" and load_steps():
            raise OSError("the dashboard is down")

    def load_steps():
        return checkpoint_steps(tmp_path / "run") == [12]

    with pytest.raises(OSError, match="the dashboard is down"):
        run(config, tmp_path / "run", progress=fail)
    (report,) = run(config, tmp_path / "run", resume=True)
    assert (report.step, report.validation_loss, report.sample) == (24, whole[-1].validation_loss, whole[-1].sample)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert (tmp_path / "run/samples.txt").read_text() == (tmp_path / "whole/samples.txt").read_text()


def test_a_function_that_fails_before_the_first_step_leaves_nothing_to_resume(text, tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tiny(text), tmp_path / "run", should_stop=lambda: 1 / 0)
    assert checkpoint_steps(tmp_path / "run") == []
    run(tiny(text), tmp_path / "whole")
    with pytest.warns(UserWarning, match="its run begins again"):
        run(tiny(text), tmp_path / "run", resume=True)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")

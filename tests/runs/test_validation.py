import dataclasses
import shutil

import jax
import numpy as np
import pytest
from small_runs import (
    assert_bit_identical,
    checkpoint_steps,
    metrics,
    prose,
    run,
    tiny,
)

from jaxrnn.config import OptimizerConfig
from jaxrnn.errors import CheckpointError, JaxrnnError
from jaxrnn.evaluation.score import surprisals
from jaxrnn.network.loss import loss
from jaxrnn.runs import fit, slices_of
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path, find_checkpoint
from jaxrnn.runs.trainer import validate as original_validate
from jaxrnn.text import load_corpus

HALVES = {"split": (0.5, 0.5), "validate_every": 4}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two texts of the same length and the same characters, one after the other."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(prose() + prose(1)[:-1].ljust(len(prose()) - 1, " ")[: len(prose()) - 1] + "\n")
    return path


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """An uninterrupted run with validations: its directory and its reports."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(tiny(text, **HALVES), path)


def test_a_run_with_a_validation_slice_trains_just_as_one_on_the_training_slice_alone(text, tmp_path, whole):
    (tmp_path / "half.txt").write_text(prose())
    alone = run(tiny(tmp_path / "half.txt"))
    for reports in (whole[1], run(tiny(text, split=(0.5, 0.5))), run(tiny(text, split=(0.5, 0.25, 0.25)))):
        assert_bit_identical(reports[-1].state, alone[-1].state)
        sampled, expected = ([(r.loss, r.sample) for r in some if r.sample] for some in (reports, alone))
        assert sampled == expected


def test_the_validation_loss_is_the_mean_surprisal_of_its_slice(text, whole):
    config, corpus = tiny(text, **HALVES), load_corpus(text)
    part = slices_of(corpus, config)["validation"]
    assert (part.begin, part.end) == (len(prose()), 2 * len(prose()))
    path, reports = whole
    checkpoint = load_checkpoint(path)
    expected = surprisals(checkpoint.state.params, part.tokens, checkpoint.config.model).mean()
    assert reports[-1].validation_loss == pytest.approx(float(expected), rel=1e-6)
    bits = metrics(path)[-1]["validation_bits_per_character"]
    assert bits == pytest.approx(reports[-1].validation_loss / np.log(2))


@pytest.mark.parametrize(
    ("steps", "every", "validated"), [(12, 4, [4, 8, 12]), (10, 4, [4, 8, 10]), (6, 0, [6]), (6, 100, [6])]
)
def test_validations_come_when_they_are_due_and_at_the_end(text, steps, every, validated):
    reports = run(tiny(text, steps=steps, split=(0.5, 0.5), validate_every=every, log_every=3))
    assert [report.step for report in reports if report.validation_loss is not None] == validated
    assert all(report.best is None for report in reports if report.step < validated[0])


@pytest.mark.parametrize("step", [4, 12, 24])
def test_a_run_that_is_stopped_in_a_validation_makes_it_when_it_goes_on(text, tmp_path, whole, step):
    path, asked = tmp_path / "run", iter([False] * (step // 2) + [True])  # once before, then a chunk, a validation, ...
    reports = run(tiny(text, **HALVES), path, should_stop=lambda: next(asked))
    assert next(asked, None) is None
    assert (reports[-1].step, reports[-1].finished, reports[-1].validation_loss) == (step, False, None)
    assert load_checkpoint(path).counters["step"] == step
    assert metrics(path) == metrics(whole[0])[: step // 4]
    if step == 12:  # and once more
        asked = iter([False, True])
        run(tiny(text, **HALVES), path, resume=True, should_stop=lambda: next(asked))
    assert_bit_identical(run(tiny(text, **HALVES), path, resume=True)[-1].state, whole[1][-1].state)
    assert metrics(path) == metrics(whole[0])
    for name in ("samples.txt", "config.json"):
        assert (path / name).read_bytes() == (whole[0] / name).read_bytes()
    checkpoints = sorted(file.name for file in (path / "checkpoints").iterdir())
    assert set(checkpoints) >= {file.name for file in (whole[0] / "checkpoints").iterdir()}
    for name in checkpoints:
        if (whole[0] / "checkpoints" / name).exists():
            found, expected = (load_checkpoint(run / "checkpoints" / name) for run in (path, whole[0]))
            assert_bit_identical(found.state, expected.state)
            timed = {"seconds": 0, "metrics.jsonl": 0}  # whose lines hold seconds too
            assert {**found.counters, **timed} == {**expected.counters, **timed}


def test_without_a_validation_slice_nothing_is_validated(text):
    reports = run(tiny(text, steps=8))
    assert [(report.validation_loss, report.best) for report in reports] == [(None, None)] * len(reports)


def fixed(monkeypatch, losses):
    """Make the validations of a run find these losses, at steps 4, 8, ..."""

    def validate(*arguments):
        original_validate(*arguments)
        return losses[next(counter)]

    counter = iter(range(len(losses)))
    monkeypatch.setattr("jaxrnn.runs.trainer.validate", validate)


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(text, tmp_path, monkeypatch):
    fixed(monkeypatch, [3.0, 2.0, 2.5, 2.0, 2.2, 2.1])
    path = tmp_path / "run"
    states = {}
    for report in fit(tiny(text, **HALVES), run_dir=path):
        states[report.step] = jax.tree.map(np.asarray, report.state._replace(key=jax.random.key_data(report.state.key)))
    assert tuple(report.best) == (8, 2.0, 4, 2.1)  # the first of equals
    best = load_checkpoint(find_checkpoint(path, "best"))
    assert (best.counters["step"], best.counters["best_loss"]) == (8, 2.0)
    state = best.state._replace(key=jax.random.key_data(best.state.key))
    jax.tree.map(np.testing.assert_array_equal, state, states[8])
    assert load_checkpoint(path).counters["step"] == 24  # the newest is what a run goes on from
    assert checkpoint_steps(path) == [12, 24]


@pytest.mark.parametrize(("patience", "last"), [(1, 12), (2, 16), (3, 24), (0, 24)])
def test_a_run_stops_after_so_many_validations_without_a_better_one(text, tmp_path, monkeypatch, patience, last):
    losses = [3.0, 2.0, 2.5, 2.1, 1.5, 2.0]
    fixed(monkeypatch, losses)
    config = tiny(text, **HALVES, patience=patience, prompt="the")
    reports = run(config, tmp_path / "run")
    assert [report.finished for report in reports] == [False] * (len(reports) - 1) + [True]
    assert reports[-1].step == last
    assert reports[-1].sample.startswith("the")
    assert checkpoint_steps(tmp_path / "run")[-1] == last
    # it goes on only if it is told to be more patient
    fixed(monkeypatch, losses[last // 4 :])
    again = run(config, tmp_path / "run", resume=True)
    assert ([report.step for report in again], again[-1].finished) == ([last], True)
    assert again[-1].best == reports[-1].best
    fixed(monkeypatch, losses[last // 4 :])
    further = run(dataclasses.replace(config, patience=3), tmp_path / "run", resume=True)
    assert (further[-1].step, further[-1].best.step) == (24, 20)


@pytest.mark.parametrize("stops", [[(8, False)], [(4, True)], [(16, True)], [(12, False), (20, True)]], ids=str)
def test_validation_best_and_patience_go_on_as_if_nothing_had_happened(text, tmp_path, whole, stops):
    path = tmp_path / "run"
    config = tiny(text, **HALVES, checkpoint_every=4, patience=5)
    for index, (step, crash) in enumerate(stops):
        run(config, path, resume=index > 0, leave=step, crash=crash)
    reports = run(config, path, resume=True)
    assert metrics(path) == metrics(whole[0])
    assert reports[-1].best == whole[1][-1].best
    assert_bit_identical(reports[-1].state, whole[1][-1].state)
    best, expected = (load_checkpoint(find_checkpoint(place, "best")) for place in (path, whole[0]))
    assert_bit_identical(best.state, expected.state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": (0.6, 0.4)}, r"split \(0.5, 0.5\), not \(0.6, 0.4\)"),
        ({"reset_on": " "}, "reset_on '', not ' '"),
        ({"min_count": 2}, "min_count 1, not 2"),
    ],
)
def test_a_run_is_not_resumed_with_other_slices_documents_or_symbols(text, whole, changes, message):
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(text, **{**HALVES, **changes}), run_dir=whole[0], resume=True)


def test_overwrite_leaves_no_best_checkpoint_of_the_run_before(text, tmp_path, whole):
    path = shutil.copytree(whole[0], tmp_path / "run")
    run(tiny(text), path, overwrite=True)
    assert not checkpoint_path(path / "checkpoints", "best").exists()
    with pytest.raises(JaxrnnError, match=r"has no checkpoint 'best'; there is 12, 24$"):
        find_checkpoint(path, "best")


def test_a_damaged_best_checkpoint_is_refused_and_costs_the_run_nothing(tmp_path, whole):
    path = shutil.copytree(whole[0], tmp_path / "run")
    best = checkpoint_path(path / "checkpoints", "best")
    best.write_bytes(best.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(best)
    assert load_checkpoint(path).counters["step"] == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": (0.98, 0.02)}, r"the slice validation, characters \d+-\d+ has \d symbols and needs .* 5 \+ 2"),
        ({"split": (0.49, 0.02, 0.49)}, "the slice validation"),
        ({"split": (0.49, 0.49, 0.02)}, "the slice test"),
        ({"split": (0.02, 0.98)}, "needs? at least 1 x"),
        ({"split": (0.5, 0.5), "batch_size": 17}, "needs? at least 17 x"),
        ({"reset_on": "tthe"}, "reset_on 'tthe' does not occur in the text"),
        ({"reset_on": "|"}, r"reset_on '\|' has symbols that are not in the vocabulary"),
        ({"min_count": 10**6}, "no symbol of .* occurs 1,000,000 times"),
    ],
)
def test_what_does_not_fit_the_text_is_refused_before_anything_is_written(text, tmp_path, changes, message):
    with pytest.raises(JaxrnnError, match=message):
        fit(tiny(text, **changes), run_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_documents_are_trained_validated_and_sampled_and_resumed_bit_for_bit(text, tmp_path):
    config = tiny(text, **HALVES, reset_on="e ", prompt="the")
    expected = run(config, tmp_path / "whole")
    assert expected[-1].sample.startswith("the")
    other = run(tiny(text, **HALVES, prompt="the"))
    assert expected[-1].validation_loss != other[-1].validation_loss
    run(config, tmp_path / "run", leave=8)
    assert_bit_identical(run(config, tmp_path / "run", resume=True)[-1].state, expected[-1].state)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["adagrad", "adam"])
def test_a_vocabulary_of_10_000_trains_and_its_rare_symbols_fold(tmp_path, rule):
    distinct = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
    (tmp_path / "text.txt").write_text(distinct + distinct[:4000])
    optimizer = OptimizerConfig(name=rule, learning_rate=0.01)
    config = tiny(tmp_path / "text.txt", split=(0.9, 0.1), steps=3, optimizer=optimizer, sample_every=0)
    last = run(config, tmp_path / "run")[-1]
    assert last.state.params.by.shape == (10_000,)
    assert np.isfinite(last.validation_loss)
    folded = run(dataclasses.replace(config, min_count=2), tmp_path / "folded")[-1]
    assert folded.state.params.by.shape == (4001,)
    assert load_checkpoint(tmp_path / "folded").vocabulary.unknown


def test_with_a_loss_of_ones_own_reports_tell_of_it_and_validations_of_the_cross_entropy(text):
    def doubled(*arguments, **options):
        nats, carry = loss(*arguments, **options)
        return 2 * nats, carry

    config = tiny(text, **HALVES, steps=4)
    mine, usual = run(config, loss=doubled)[-1], run(config)[-1]
    assert mine.loss == pytest.approx(2 * usual.loss, rel=0.2)
    assert mine.loss > 1.5 * usual.loss
    part = slices_of(load_corpus(text), config)["validation"]
    expected = surprisals(mine.state.params, part.tokens, mine.config.model).mean()
    assert mine.validation_loss == pytest.approx(float(expected), rel=1e-6)

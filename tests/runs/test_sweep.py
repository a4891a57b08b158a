import dataclasses
import json
import shutil

import pytest
from small_runs import (
    assert_bit_identical,
    contents,
    metrics,
    tiny,
)

from jaxrnn.config import OptimizerConfig
from jaxrnn.config.grid import combinations
from jaxrnn.errors import JaxrnnError, StorageError
from jaxrnn.runs import fit, fit_many, read_sweep
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import list_checkpoints
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.runs.lock import WriterLock
from jaxrnn.runs.many import best_row, tabulate_sweep

AXES = {"learning_rate": [0.05, 0.1], "seed": [0, 1]}
NAMES = [
    "learning_rate=0.05,seed=0",
    "learning_rate=0.05,seed=1",
    "learning_rate=0.1,seed=0",
    "learning_rate=0.1,seed=1",
]


def small(text, **changes):
    return tiny(text, split=(0.5, 0.5), validate_every=8, **changes)


def last(reports):
    for report in reports:  # noqa: B007
        pass
    return report


@pytest.fixture(scope="module")
def swept(text, tmp_path_factory):
    """An uninterrupted sweep: its directory, and its last report."""
    path = tmp_path_factory.mktemp("swept") / "sweep"
    return path, last(fit_many(small(text), AXES, run_dir=path))


def assert_same_sweep(path, swept):
    for name in NAMES:
        assert_bit_identical(load_checkpoint(path / name).state, swept[1].reports[name].state)
        assert metrics(path / name) == metrics(swept[0] / name)
        for file in ("samples.txt", "config.json"):
            assert (path / name / file).read_bytes() == (swept[0] / name / file).read_bytes()


def test_each_member_leaves_the_run_directory_of_its_run_alone(text, tmp_path, swept):
    path, report = swept
    assert report.finished
    assert sorted(file.name for file in path.iterdir()) == [".lock", *NAMES, "sweep.json"]
    config = combinations(small(text), AXES)[NAMES[3]]
    alone = last(fit(config, run_dir=tmp_path / "alone"))
    member = path / NAMES[3]
    assert_bit_identical(report.reports[NAMES[3]].state, alone.state)
    assert metrics(member) == metrics(tmp_path / "alone")
    assert contents(member).keys() == contents(tmp_path / "alone").keys()
    for file in ("config.json", "samples.txt"):
        assert (member / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    then, now = load_checkpoint(member), load_checkpoint(tmp_path / "alone")
    assert (then.config, then.corpus, then.vocabulary) == (now.config, now.corpus, now.vocabulary)


def test_a_member_that_was_taken_out_goes_on_as_a_run(text, tmp_path, swept):
    shutil.copytree(swept[0] / NAMES[0], tmp_path / "out")
    config = combinations(small(text, steps=28), AXES)[NAMES[0]]
    assert last(fit(config, run_dir=tmp_path / "out", resume=True)).step == 28


def test_a_member_that_went_further_than_its_sweep_has_to_leave_it(text, tmp_path):
    sweep, axes = tmp_path / "s", {"steps": [4, 8]}
    last(fit_many(tiny(text), axes, run_dir=sweep))
    last(fit(tiny(text, steps=12), run_dir=sweep / "steps=4", resume=True))
    with pytest.raises(JaxrnnError, match="has done 12 steps, more than 4; move it out of the sweep"):
        fit_many(*read_sweep(sweep), run_dir=sweep, resume=True)
    shutil.move(sweep / "steps=4", tmp_path / "out")
    assert last(fit_many(*read_sweep(sweep), run_dir=sweep, resume=True)).finished
    assert int(load_checkpoint(sweep / "steps=4").state.step) == 4


def test_what_differs_in_shape_trains_group_after_group_and_reports_come_after_every_chunk(text):
    seen = []
    for report in fit_many(tiny(text, steps=8), {"hidden_size": [8, 6], "seed": [0, 1]}):
        seen.append({name: member.step for name, member in report.reports.items()})
    first, second = ({f"hidden_size={size},seed={seed}" for seed in (0, 1)} for size in (8, 6))
    assert seen == [
        *(dict.fromkeys(first, step) for step in (0, 4, 8)),
        *({**dict.fromkeys(first, 8), **dict.fromkeys(second, step)} for step in (0, 4, 8)),
    ]
    assert report.finished


# It is called after every chunk of 4 steps, and in a validation of each of the 4 members after every second chunk.
@pytest.mark.parametrize(
    ("calls", "step"),
    [(0, 0), (1, 4), (2, 8), (3, 8), (4, 8), (6, 8), (7, 12), (11, 16)],
    ids=str,
)
def test_a_sweep_that_was_stopped_goes_on_exactly(text, tmp_path, swept, calls, step):
    asked = []
    stopped = last(
        fit_many(small(text), AXES, run_dir=tmp_path / "s", should_stop=lambda: asked.append(1) or len(asked) > calls)
    )
    assert {member.step for member in stopped.reports.values()} == {step}
    assert not stopped.finished
    assert {int(load_checkpoint(tmp_path / "s" / name).state.step) for name in NAMES} == {step}
    config, axes = read_sweep(tmp_path / "s")
    assert last(fit_many(config, axes, run_dir=tmp_path / "s", resume=True)).finished
    assert_same_sweep(tmp_path / "s", swept)


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("saved", [1, 4, 6])
def test_a_sweep_that_was_killed_while_it_saved_goes_on_exactly(text, tmp_path, swept, saved, monkeypatch):
    """After some members have saved step 12 or 24 and others have not."""
    saves, save = [], RunDirectory.save

    def save_until_power_cut(*args, **options):
        if len(saves) == saved:
            raise PowerCut
        saves.append(1)
        save(*args, **options)

    monkeypatch.setattr(RunDirectory, "save", save_until_power_cut)
    with pytest.raises(PowerCut):
        last(fit_many(small(text), AXES, run_dir=tmp_path / "s"))
    monkeypatch.undo()
    there = [list_checkpoints(tmp_path / "s" / name / "checkpoints") for name in NAMES]
    assert sum(map(len, there)) == saved
    assert last(fit_many(small(text), AXES, run_dir=tmp_path / "s", resume=True)).finished
    assert_same_sweep(tmp_path / "s", swept)


def test_leaving_the_loop_saves_every_member(text, tmp_path):
    reports = fit_many(small(text), AXES, run_dir=tmp_path / "s")
    for report in reports:
        if report.reports[NAMES[0]].step == 8:
            break
    reports.close()
    assert {int(load_checkpoint(tmp_path / "s" / name).state.step) for name in NAMES} == {8}


@pytest.mark.slow
def test_an_error_in_a_function_of_ones_own_saves_every_member(text, tmp_path, swept):
    calls = [False] * 3
    with pytest.raises(IndexError):
        last(fit_many(small(text), AXES, run_dir=tmp_path / "s", should_stop=lambda: calls.pop()))
    assert {int(load_checkpoint(tmp_path / "s" / name).state.step) for name in NAMES} == {8}
    last(fit_many(small(text), AXES, run_dir=tmp_path / "s", resume=True))
    assert_same_sweep(tmp_path / "s", swept)


def test_values_in_another_order_are_another_sweep_and_members_have_no_parent(text, tmp_path):
    config = dataclasses.replace(small(text), parent="runs/other-1, step 3")
    last(fit_many(config, AXES, run_dir=tmp_path / "s"))
    for name in NAMES:
        assert load_checkpoint(tmp_path / "s" / name).config.parent == ""
    turned = dict(reversed(AXES.items()))
    before = sorted((tmp_path / "s").iterdir())
    for how in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(JaxrnnError, match="holds a sweep of other values"):
            fit_many(config, turned, run_dir=tmp_path / "s", **how)
    assert sorted((tmp_path / "s").iterdir()) == before


def test_each_report_stays_as_it_was(text):
    reports = list(fit_many(small(text), AXES))
    assert [report.step for report in reports] == sorted({report.step for report in reports})
    assert [report.finished for report in reports] == [False] * (len(reports) - 1) + [True]


def test_a_damaged_member_is_told_with_the_way_out(text, tmp_path):
    last(fit_many(small(text), AXES, run_dir=tmp_path / "s"))
    for file in (tmp_path / "s" / NAMES[0] / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(JaxrnnError, match=rf"`jaxrnn info .*{NAMES[0]} --repair` moves it aside, and the sweep then"):
        last(fit_many(small(text), AXES, run_dir=tmp_path / "s", resume=True))


def test_a_finished_sweep_that_is_resumed_says_what_it_found(text, tmp_path, swept):
    path = shutil.copytree(swept[0], tmp_path / "s")
    report = last(fit_many(small(text), AXES, run_dir=path, resume=True))
    assert report.finished
    assert {name: member.smooth_loss for name, member in report.reports.items()} == {
        name: member.smooth_loss for name, member in swept[1].reports.items()
    }
    assert_same_sweep(path, swept)


@pytest.mark.slow
def test_a_member_that_diverges_ends_and_the_others_go_on(text, tmp_path):
    config = tiny(text, checkpoint_every=4, optimizer=OptimizerConfig(name="sgd", clip="none"))
    report = last(fit_many(config, {"learning_rate": [1e38, 0.01]}, run_dir=tmp_path / "s"))
    assert list(report.failed) == ["learning_rate=1e+38"]
    assert "the loss of step" in report.failed["learning_rate=1e+38"]
    assert report.reports["learning_rate=0.01"].step == 24
    assert report.finished
    steady = last(fit(combinations(config, {"learning_rate": [0.01]})["learning_rate=0.01"]))
    assert_bit_identical(load_checkpoint(tmp_path / "s" / "learning_rate=0.01").state, steady.state)
    again = last(fit_many(config, {"learning_rate": [1e38, 0.01]}, run_dir=tmp_path / "s", resume=True))
    assert again.failed == report.failed
    bad, good = rows = tabulate_sweep(again, ["learning_rate"])
    assert (bad.failed, bad.train_bits_per_character, bad.best) == (1, None, None)
    assert best_row(rows) == good


def test_a_member_that_stops_early_leaves_the_others_to_train(text):
    config, axes = tiny(text, split=(0.5, 0.5), validate_every=4, patience=1), {"learning_rate": [0.001, 0.5]}
    report = last(fit_many(config, axes))
    assert report.finished
    slow, fast = report.reports.values()
    assert (slow.step, fast.best.since) == (24, 1)
    assert fast.step < 24
    alone = last(fit(combinations(config, axes)["learning_rate=0.5"]))
    assert (fast.step, fast.best) == (alone.step, alone.best)
    assert_bit_identical(fast.state, alone.state)


def test_its_summary_has_mean_and_spread_over_seeds(swept):
    rows = tabulate_sweep(swept[1], list(AXES))
    assert [row.setting for row in rows] == [{"learning_rate": 0.05}, {"learning_rate": 0.1}]
    for row, names in zip(rows, (NAMES[:2], NAMES[2:]), strict=True):
        a, b = (swept[1].reports[name].best.bits_per_character for name in names)
        spread = row.validation_bits_per_character
        assert (spread.mean, spread.deviation) == (pytest.approx((a + b) / 2), pytest.approx(abs(a - b) / 2**0.5))
        assert (spread.lowest, spread.highest) == (min(a, b), max(a, b))
        assert row.best == min(names, key=lambda name: swept[1].reports[name].best.loss)
    assert best_row(rows) == min(rows, key=lambda row: row.validation_bits_per_character.mean)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "axes", "words"),
    [
        ({}, {"sequence_length": [5, 500]}, "sequence_length=500: the slice"),
        ({"batch_size": 1000}, {"seed": [0, 1]}, "need at least 1000 x"),
        ({"optimizer": OptimizerConfig(schedule="cosine")}, {"warmup_steps": [4, 24]}, "warmup_steps=24: a cosine"),
        ({"prompt": "Z"}, {"seed": [0, 1]}, "Z (U+005A"),
    ],
    ids=str,
)
def test_a_member_that_does_not_fit_the_text_is_named_before_anything_trains(text, tmp_path, changes, axes, words):
    with pytest.raises(JaxrnnError) as error:
        fit_many(small(text, **changes), axes, run_dir=tmp_path / "s")
    assert words in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_text_that_is_not_read_to_the_end_is_told_once():
    text = "the cat sat on the mat.\n" * 2
    with pytest.warns(UserWarning, match="training reads 25 of 48 symbols per lane") as warned:
        fit_many(tiny(text, sequence_length=24), AXES, text).close()
    assert len(warned) == 1


def test_a_directory_that_holds_something_else_is_refused(text, tmp_path, swept):
    def refused(words, axes=AXES, **how):
        before = contents(tmp_path)
        with pytest.raises(JaxrnnError) as error:
            fit_many(small(text), axes, **how)
        assert words in str(error.value)
        assert contents(tmp_path) == before

    path = shutil.copytree(swept[0], tmp_path / "s")
    refused("holds a sweep already; continue it with --resume", run_dir=path)
    refused(
        "holds a sweep of other values: learning_rate 0.05,0.1 seed 0,1; resume",
        {"seed": [0, 1]},
        run_dir=path,
        resume=True,
    )
    refused("remove it by hand", {"seed": [0, 1]}, run_dir=path, overwrite=True)
    refused("is not a sweep's directory", run_dir=path / NAMES[0])
    refused("is no sweep", run_dir=path / NAMES[0], resume=True)
    refused("resume needs run_dir", resume=True)
    lock = WriterLock(path)
    refused("is being trained", run_dir=path, resume=True)
    lock.close()
    (path / "sweep.json").write_text('{"config": {"model": {"hiden_size": 8}}, "axes": {}}')
    refused("did you mean hidden_size?", run_dir=path, resume=True)


def test_overwriting_replaces_every_member_and_a_cut_in_it_leaves_no_old_checkpoint(text, tmp_path, swept):
    path = shutil.copytree(swept[0], tmp_path / "s")
    fit_many(small(text), AXES, run_dir=path, overwrite=True).close()
    assert not [file for name in NAMES for file in (path / name / "checkpoints").iterdir()]
    assert last(fit_many(small(text), AXES, run_dir=path, resume=True)).finished
    assert_same_sweep(path, swept)


def test_a_full_disk_ends_the_sweep_with_what_was_saved_before_untouched(text, tmp_path, swept, monkeypatch):
    def full(self, state, *args, **options):
        if int(state.step) > 12:
            raise StorageError("no room")
        save(self, state, *args, **options)

    save = RunDirectory.save
    monkeypatch.setattr(RunDirectory, "save", full)
    with pytest.raises(StorageError):
        last(fit_many(small(text), AXES, run_dir=tmp_path / "s"))
    monkeypatch.undo()
    assert {int(load_checkpoint(tmp_path / "s" / name).state.step) for name in NAMES} == {12}
    assert last(fit_many(small(text), AXES, run_dir=tmp_path / "s", resume=True)).finished
    assert_same_sweep(tmp_path / "s", swept)


def test_sweep_json_holds_what_the_sweep_is(text, swept):
    assert read_sweep(swept[0]) == (small(text), {name: list(values) for name, values in AXES.items()})
    assert json.loads((swept[0] / "sweep.json").read_text()).keys() == {"config", "axes"}

"""What a person sees of training: on terminals of any width, in a log, after a resume, during a validation."""

import dataclasses
import io
import itertools
import re
import sys
import time

import pytest
from small_runs import run, tiny

from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.progress import TrainingProgress, time_in_words

LOSSES = ["2.812 bits per character", "validation 2.370", "best 2.360 after step 11,000"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Make stderr a terminal of some COLUMNS; return a function that returns what was shown on it, line by line."""
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # no thread that redraws after ten seconds

    def begin(columns="80"):
        stderr = io.StringIO()
        stderr.isatty = lambda: True
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(sys, "stderr", stderr)
        return lambda: [line.rstrip() for line in re.split("[\r\n]", stderr.getvalue())]

    return begin


@pytest.mark.parametrize("columns", ["0", "1", "2", "5", "20", "30", "60", "80", "110", "200", "-3", "many", ""])
def test_the_bar_fits_into_every_width_and_shows_the_most_important_first(terminal, clock, columns):
    lines = terminal(columns)
    with TrainingProgress(40_000) as progress:
        progress.note("training", 0, 40_000)
        for step in (0, 12_300, 12_400):
            clock[0] += 5
            progress.note("validating", 60, 100)
            progress.show(step, LOSSES, finished=False)
    width = int(columns) if columns in ("1", "2", "5", "20", "30", "60", "110", "200") else 80
    shown = [line for line in lines() if line]
    assert max(map(len, shown)) <= max(1, width - 1)
    facts = ["step 12,400 of 40,000", *LOSSES[:2], "33 s left", "827 steps/s", LOSSES[2]]
    kept = [fact for fact in facts if fact in shown[-1]]
    assert kept == facts[: len(kept)]
    assert len(kept) == {1: 0, 2: 0, 5: 0, 20: 0, 30: 1, 60: 2, 80: 4, 110: 5, 200: 6}[width]
    if not kept:
        assert shown[-1].startswith("31%"[: width - 1])


def test_it_says_at_once_that_it_compiles_and_how_far_a_validation_is(terminal, clock):
    lines = terminal()
    with TrainingProgress(100) as progress:
        assert lines()[-1] == "compiling ..."
        progress.note("training", 0, 100)
        progress.show(0, ["4.000 bits per character"], finished=False)
        assert "compiling" not in lines()[-1]
        for new, share in ((25, "25%"), (50, "75%"), (25, "100%"), (30, "30%")):
            clock[0] += 1
            progress.note("validating", new, 100)
            assert f"validating ... {share}, 4.000 bits per character" in lines()[-1]
        progress.show(10, ["3.000 bits per character"], finished=True)
        assert "validating" not in lines()[-1]
        assert "3.000 bits per character" in lines()[-1]
    assert "steps/s" in lines()[-2]  # the last line is ended


def test_speed_and_remaining_time_are_those_of_this_process_after_a_resume(terminal, clock):
    lines = terminal("200")
    with TrainingProgress(2_000) as progress:
        clock[0] += 60  # compiling
        progress.note("training", 1_000, 2_000)
        clock[0] += 10
        progress.note("training", 100, 2_000)
        progress.show(1_100, LOSSES, finished=False)
        assert ", 90 s left, 10 steps/s" in lines()[-1]


def test_speed_leaves_out_what_the_members_of_a_resumed_sweep_have_done_before(terminal, clock):
    lines = terminal("200")
    with TrainingProgress(4_000) as progress:
        progress.show(1_000, LOSSES, finished=False, before=1_000)
        clock[0] += 10
        progress.show(3_000, LOSSES, finished=False, before=2_000)  # another member's half was done before
        assert ", 10 s left, 100 steps/s" in lines()[-1]


def test_a_log_gets_a_line_at_first_every_ten_seconds_and_at_the_end(capsys, clock):
    with TrainingProgress(100) as progress:
        for step in range(0, 101, 5):
            progress.show(step, ["3.000 bits per character"], finished=step == 100)
            clock[0] += 1
    assert capsys.readouterr().err.splitlines() == [
        "step 0 of 100: 3.000 bits per character",
        "step 50 of 100: 3.000 bits per character, 5.0 steps/s",
        "step 100 of 100: 3.000 bits per character, 5.0 steps/s",
    ]


def test_other_output_stands_where_the_bar_was_and_the_bar_after_it(terminal, clock):
    lines = terminal()
    with TrainingProgress(100) as progress:
        progress.show(10, ["3.000 bits per character"], finished=False)
        with progress.hidden():
            print("a sample", file=sys.stderr)
    shown = lines()
    place = shown.index("a sample")
    assert shown[place - 1] == ""
    assert next(filter(None, shown[place + 1 :])).startswith("step 10 of 100")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (99, "99 s"), (100, "0:01:40"), (90_000, "1 day, 1:00:00")]
)
def test_times_are_written_in_seconds_or_hours(seconds, words):
    assert time_in_words(seconds) == words


@pytest.mark.parametrize("stop", [None, 13])
def test_fit_notes_each_chunk_and_each_part_of_a_validation(text, tmp_path, stop):
    config = tiny(text, split=(0.5, 0.5), validate_every=12)
    first = 0
    if stop:
        calls = itertools.count()
        short = dataclasses.replace(config, validate_every=0, chunk_length=1)
        run(short, tmp_path / "run", should_stop=lambda: next(calls) >= stop)
        first = load_checkpoint(tmp_path / "run").counters["step"]
        assert first == stop
    notes = []
    *_, last = fit(config, run_dir=tmp_path / "run", resume=bool(stop), progress=lambda *note: notes.append(note))
    trained = [note[1:] for note in notes if note[0] == "training"]
    assert trained[0] == (first, 24)
    assert all(0 < new <= 4 for new, _ in trained[1:])
    assert sum(new for new, _ in trained) == last.step == 24
    validated = [note[1:] for note in notes if note[0] == "validating"]
    length = len(text.read_text()) - len(text.read_text()) // 2 - 1
    assert {total for _, total in validated} == {length}
    assert sum(new for new, _ in validated) == length * len({12, 24} - set(range(first)))

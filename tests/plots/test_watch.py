import contextlib
import io
import types

import nbformat
import pytest
from rerun import run

import jaxrnn

# Reports as those of a run, without the training.
REPORTS = """
import dataclasses, time, jaxrnn
from jaxrnn.runs.report import Best
from jaxrnn.runs.training_loss import Epochs

def training(steps=40):
    config = jaxrnn.TrainConfig(corpus="/texts/verse.txt", steps=steps)
    try:
        for step in range(0, steps + 1, 10):
            best = Best(20, 2.0) if step >= 20 else None
            validation_loss = 2.0 if step in (20, 40) else None
            losses = {"loss": 90.0 - step if step else None, "smooth_loss": 100.0 - step, "best": best}
            losses["bits_per_character"] = losses["interval_bits_per_character"] = 5 - step / 20
            losses["epochs"] = Epochs(step / 100, None, None)
            where = {"step": step, "seconds": time.monotonic(), "finished": step == steps, "sample": None}
            losses["validation_loss"] = validation_loss
            yield jaxrnn.Report(**where, **losses, config=config, current_state=lambda: None)
    finally:
        print("closed")
"""
WATCHED = """
for report in jaxrnn.watch(training()):
    print(report.step, end=" ")
"""
BAR = "for report in jaxrnn.watch(training(), plot=False): pass"
FIGURE = """
import numpy as np
jaxrnn.plots.hidden_units(np.eye(3), "abc")
"""
LEFT = """
for report in jaxrnn.watch(training()):
    if report.step == 20:
        break
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_a_notebook_shows_one_reproducible_picture_or_bar_and_leaving_the_loop_closes_the_run():
    cells = [*map(nbformat.v4.new_code_cell, (REPORTS, FIGURE, WATCHED, WATCHED, BAR, LEFT))]
    run(nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}))
    nothing, (figure,), watched, again, (bar, _), left = [cell.outputs for cell in cells]
    assert nothing == []
    assert watched == again
    picture, printed = watched
    assert picture.data["image/png"].startswith("iVBOR")
    assert picture.data["text/plain"] == "step 40 of 40: 3.000 bits per character, validation 2.885"
    assert picture.metadata["image/png"]["width"] < 800
    assert printed.text == "0 10 20 30 40 closed\n"
    assert bar.data["text/html"].startswith('<progress value="40" max="40"')
    assert bar.data["text/html"].endswith(f"</progress> {picture.data['text/plain']}")
    picture, closed = left
    assert picture.data["text/plain"].startswith("step 20 of 40: ")
    assert closed.text == "closed\n"
    assert figure.data["image/png"].startswith("iVBOR")  # shown although nothing imported pyplot


def test_a_notebook_says_that_training_is_compiled_before_it_begins(monkeypatch):
    shown, names = [], {}
    handle = types.SimpleNamespace(update=lambda data, **_: shown.append(data["text/plain"]))
    monkeypatch.setitem(jaxrnn.watch.__globals__, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data["text/plain"]) or handle)
    exec(REPORTS, names)

    def compiled():
        assert shown == ["compiling ..."]
        yield from names["training"]()

    with contextlib.closing(jaxrnn.watch(compiled(), plot=False)) as reports:
        next(reports)
        assert [line.split(":")[0] for line in shown[1:]] == ["step 0 of 40"]


def test_a_notebook_shows_how_far_a_long_validation_is_and_nothing_after_it(monkeypatch):
    shown = []
    handle = types.SimpleNamespace(update=lambda data, **_: shown.append(data["text/plain"]))
    monkeypatch.setitem(jaxrnn.watch.__globals__, "_in_notebook", lambda: True)
    monkeypatch.setitem(jaxrnn.watch.__globals__, "_PAUSE", 0.0)
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data["text/plain"]) or handle)
    options = {"split": (0.5, 0.5), "validate_every": 20, "log_every": 20, "sample_every": 0, "chunk_length": 5}
    config = jaxrnn.TrainConfig(model=jaxrnn.ModelConfig(hidden_size=8), sequence_length=5, steps=20, **options)
    for _ in jaxrnn.watch(jaxrnn.fit(config, "the cat sat on the mat\n" * 2000), plot=False):
        pass
    lines = [line for line in shown if not line.startswith("step ")]
    validations = [index for index, line in enumerate(lines) if line.startswith("validating ... ")]
    assert len(validations) > 2
    assert [lines[index + 1] for index in validations if index + 1 not in validations] == [""]
    assert lines[-1] == ""


def watch_outside_a_notebook(stderr):
    names = {}
    exec(REPORTS, names)
    with contextlib.redirect_stderr(stderr):
        for report in jaxrnn.watch(names["training"]()):
            print(report.step, "printed", file=stderr)


def test_a_terminal_shows_a_bar_on_stderr_that_makes_way_for_what_is_printed(capsys, monkeypatch):
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # no thread that redraws after ten seconds
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    watch_outside_a_notebook(stderr)
    assert [line for line in stderr.getvalue().split("\r") if "printed" in line] == [
        f"{step} printed\n" for step in (0, 10, 20, 30, 40)
    ]
    last = stderr.getvalue().split("\r")[-1]
    assert last.startswith("step 40 of 40 ")
    assert last.endswith("\n")
    assert "3.000 bits per character, validation 2.885" in last
    assert "\rcompiling ..." in stderr.getvalue()
    assert capsys.readouterr().out == "closed\n"


@pytest.mark.slow
def test_the_bar_of_fit_moves_between_reports_and_shows_validations(monkeypatch, tmp_path):
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    monkeypatch.setattr("jaxrnn.runs.progress._SECONDS_PER_DRAWING", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    options = {"split": (0.5, 0.5), "validate_every": 20, "log_every": 20, "sample_every": 0, "chunk_length": 5}
    config = jaxrnn.TrainConfig(model=jaxrnn.ModelConfig(hidden_size=8), sequence_length=5, steps=20, **options)
    with contextlib.redirect_stderr(stderr):
        for _ in jaxrnn.watch(jaxrnn.fit(config, "the cat sat on the mat\n" * 20)):
            pass
    lines = stderr.getvalue().split("\r")
    positions = [line.split(" of ")[0] for line in lines if line.startswith("step ")]
    assert list(dict.fromkeys(positions)) == ["step 0", "step 5", "step 10", "step 15", "step 20"]
    assert any("validating ... 100%" in line for line in lines)
    assert "validating" not in lines[-1]


def test_a_log_shows_nothing(capsys):
    stderr = io.StringIO()
    watch_outside_a_notebook(stderr)
    assert stderr.getvalue() == "".join(f"{step} printed\n" for step in (0, 10, 20, 30, 40))
    assert capsys.readouterr().out == "closed\n"

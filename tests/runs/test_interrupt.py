"""Ctrl-C, or a notebook's interrupt, while `fit` trains: the run is saved, and one line says so."""

import os
import re
import signal
import subprocess
import sys

import nbformat
import pytest
from rerun import run as run_notebook
from small_runs import assert_bit_identical, checkpoint_steps, metrics, run, tiny

import jaxrnn
from jaxrnn.errors import Interrupted
from jaxrnn.runs.lock import WriterLock


def interrupt_at_call(number):
    """Return a `should_stop` that never stops; at its call of this number, Ctrl-C is pressed."""
    calls = iter(range(1, 1000))

    def should_stop():
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    return should_stop


def test_an_interrupt_saves_the_run_after_the_chunk_and_gives_its_report_first(text, tmp_path):
    path, reports = tmp_path / "run", []
    with pytest.raises(Interrupted, match=rf"ended after step 8, saved in {path}: resume=True") as caught:
        reports.extend(jaxrnn.fit(tiny(text), run_dir=path, should_stop=interrupt_at_call(3)))
    assert isinstance(caught.value, KeyboardInterrupt)
    assert [report.step for report in reports] == [0, 4, 8]
    assert int(reports[-1].state.step) == 8
    assert checkpoint_steps(path) == [8]
    WriterLock(path).close()  # nobody else holds it
    whole = run(tiny(text), tmp_path / "whole")[-1]
    assert_bit_identical(run(tiny(text), path, resume=True)[-1].state, whole.state)
    assert metrics(path) == metrics(tmp_path / "whole")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_of_a_sweep_saves_all_its_members(text, tmp_path):
    path, axes = tmp_path / "sweep", {"seed": [0, 1]}
    with pytest.raises(Interrupted, match=f"ended after step 16, saved in {path}"):
        list(jaxrnn.fit_many(tiny(text), axes, run_dir=path, should_stop=interrupt_at_call(3)))
    assert [checkpoint_steps(path / f"seed={seed}") for seed in (0, 1)] == [[8], [8]]
    assert list(jaxrnn.fit_many(tiny(text), axes, run_dir=path, resume=True))[-1].finished


def test_a_second_interrupt_ends_the_run_at_once(text, tmp_path):
    def should_stop():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        next(jaxrnn.fit(tiny(text), run_dir=tmp_path / "run", should_stop=should_stop))
    assert type(caught.value) is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_with_a_handler_of_its_own_keeps_it(text):
    received = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        reports = run(tiny(text), should_stop=interrupt_at_call(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]
    assert reports[-1].step == 24


@pytest.mark.slow
def test_a_script_ends_with_the_line(text, tmp_path):
    script = f"""
import os, signal, jaxrnn
config = jaxrnn.TrainConfig(corpus={str(text)!r}, sequence_length=5, steps=1000, chunk_length=10)
stops = iter([lambda: None] * 3 + [lambda: os.kill(os.getpid(), signal.SIGINT)] + [lambda: None] * 100)
for report in jaxrnn.watch(jaxrnn.fit(config, run_dir="run", should_stop=lambda: next(stops)())):
    pass
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True)
    line = "jaxrnn.errors.Interrupted: training ended after step 30, saved in run: resume=True continues it"
    assert done.stderr.splitlines()[-1] == line
    assert done.returncode != 0
    assert checkpoint_steps(tmp_path / "run") == [30]


@pytest.mark.slow
def test_a_training_in_a_thread_is_saved_when_python_ends(text, tmp_path):
    script = f"""
import threading, jaxrnn
config = jaxrnn.TrainConfig(corpus={str(text)!r}, sequence_length=5, steps=10**7, log_every=100, chunk_length=10)
begun = threading.Event()
def train():
    for report in jaxrnn.fit(config, run_dir="run"):
        if report.step == 200:
            begun.set()
threading.Thread(target=train, daemon=True).start()
begun.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True)
    (step,) = checkpoint_steps(tmp_path / "run")
    assert step >= 200
    assert (done.returncode, "already executing" in done.stderr, "FATAL" in done.stderr) == (0, False, False), (
        done.stderr
    )


NOTEBOOK = """
import os, signal, jaxrnn
config = jaxrnn.TrainConfig(corpus={text!r}, sequence_length=5, steps=1000, log_every=10, chunk_length=10)
stops = iter([lambda: None] * 3 + [lambda: os.kill(os.getpid(), signal.SIGINT)] + [lambda: None] * 100)
for report in {loop}:
    pass
"""
TRAINING = "jaxrnn.fit(config, run_dir={run!r}, should_stop=lambda: next(stops)())"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_a_notebook_shows_one_line_and_its_next_cell_has_the_last_report(text, tmp_path):
    cells = []
    for name, loop in {"fit": TRAINING, "watch": f"jaxrnn.watch({TRAINING})"}.items():
        source = NOTEBOOK.format(text=str(text), loop=loop.format(run=str(tmp_path / name)))
        cells += [source, "print(report.step, int(report.state.step))"]
    diverging = "jaxrnn.OptimizerConfig('sgd', learning_rate=1e38)"
    cells.append(f"list(jaxrnn.fit(jaxrnn.TrainConfig(corpus={str(text)!r}, steps=100, optimizer={diverging})))")
    cells.append("jaxrnn.fit(config)")
    cells = list(map(nbformat.v4.new_code_cell, cells))
    for cell in cells[::2]:
        cell.metadata["tags"] = ["raises-exception"]
    run_notebook(nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}))
    for cell, name in zip(cells[:4:2], ("fit", "watch"), strict=True):
        error = cell.outputs[-1]
        line = f"Interrupted: training ended after step 30, saved in {tmp_path / name}: resume=True continues it"
        assert error.traceback == [line]
        assert checkpoint_steps(tmp_path / name) == [30]
    assert cells[1].outputs[0].text == cells[3].outputs[0].text == "30 30\n"
    (line,) = cells[4].outputs[-1].traceback
    assert re.match(r"NonFiniteError: .*try a smaller learning_rate", line)
    assert cells[5].outputs[0].data["text/plain"].startswith("fit(...): iterate me: ")


def test_reports_say_how_to_use_them_and_are_a_generator(text):
    config = tiny(text)
    assert repr(jaxrnn.fit(config)) == "fit(...): iterate me: for report in fit(...): ..., or watch(fit(...))"
    assert repr(jaxrnn.fit_many(config, {"seed": [0]})) == "fit_many(...): iterate me: for report in fit_many(...): ..."
    reports = jaxrnn.watch(jaxrnn.fit(config))
    assert repr(reports) == "watch(...): iterate me: for report in watch(...): ..."
    assert iter(reports) is reports
    assert reports.send(None).step == 0
    reports.close()
    assert list(reports) == []


@pytest.mark.parametrize(
    ("reports", "shown"), [(tiny("x"), "a TrainConfig"), ([], "a list"), ("fit", "'fit'"), (None, "None")], ids=str
)
def test_watch_says_at_the_call_what_it_takes(reports, shown):
    message = rf"^watch takes the reports of fit, as in watch\(fit\(config\)\), got {shown}$"
    with pytest.raises(jaxrnn.JaxrnnError, match=message):
        jaxrnn.watch(reports)


def test_watch_does_not_take_the_reports_of_a_sweep(text):
    with pytest.raises(jaxrnn.JaxrnnError, match=r"watch takes the reports of fit, .* got fit_many\(...\)$"):
        jaxrnn.watch(jaxrnn.fit_many(tiny(text), {"seed": [0]}))

import contextlib
import os
import signal
import subprocess

import pytest
from command_line import process

from jaxrnn.runs import load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "own_programs")]


def wait_for(running, beginning):
    while not running.stdout.readline().startswith(beginning):
        assert running.poll() is None


def test_a_signal_that_was_ignored_at_the_start_stays_ignored():
    command = "train --config tiny.json --run-dir new --steps 2000000000 --sample-every 100"
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child inherits it
    try:
        running = process(command)
    finally:
        signal.signal(signal.SIGINT, handler)
    wait_for(running, "---- step 100: ")
    running.send_signal(signal.SIGINT)
    for _ in range(2):
        wait_for(running, "---- step ")
    running.terminate()
    running.communicate()
    assert running.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "command",
    ["train --config tiny.json --run-dir new --overwrite --steps 2000000000", "sample run --length 999999999"],
)
def test_ctrl_c_while_modules_are_imported_ends_with_130_and_no_traceback(command):
    for tenths in range(3, 15, 2):  # stress.py tries 400 moments
        running = process(command)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(tenths / 10)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
        assert running.returncode == 130, err
        assert "Traceback" not in err


def test_a_closed_pipe_ends_the_samples_and_not_the_training():
    reader, its_end = os.pipe()
    running = process("train --config tiny.json --run-dir new --steps 400 --sample-every 10", stdout=its_end)
    os.close(its_end)
    os.read(reader, 1)
    os.close(reader)
    _, err = running.communicate()
    assert running.returncode == 0
    assert err.count("stdout is closed; training goes on") == 1
    assert load_checkpoint("new").counters["step"] == 400

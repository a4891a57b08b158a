"""Real processes on this machine, joined by jax.distributed."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arrays import assert_same_bits

from jaxrnn.distributed.processes import PeerError, launched_together, start_processes
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint, load_fields

pytestmark = pytest.mark.usefixtures("own_programs")  # processes at the same time

TRAIN = "train python-docs --batch-size 8 --hidden-size 8 --learning-rate 0.01 --sample-every 0 --sample-length 5"
STEPS = "--steps 100 --log-every 10 --chunk-length 10 --checkpoint-every 10 --run-dir run"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(each, commands):
    """Start processes of so many devices each, one for each of the commands."""
    joined = f"--coordinator 127.0.0.1:{free_port()} --num-processes {len(commands)}"
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(each)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # in fixtures of the module it is not gone yet
    return [
        subprocess.Popen(
            [sys.executable, "-m", "jaxrnn", *f"{command} {joined} --process-id {index}".split()],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, command in enumerate(commands)
    ]


def train(*flags):
    """Train with two processes of two devices each; return what they printed."""
    processes = start(2, [" ".join([TRAIN, STEPS, *flags])] * 2)
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [out for out, _ in outputs]


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "seconds": None} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of an uninterrupted run, and what its processes printed."""
    path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        return path / "run", train("--json")


@pytest.mark.slow
def test_processes_train_as_one_process_with_all_their_devices(whole):
    run, (first, second) = whole
    assert json.loads(first)["step"] == 100
    assert second == ""  # process 0 alone prints
    expected = [
        report.smooth_loss for report in fit(dataclasses.replace(load_fields(run)["config"], steps=50), devices=4)
    ]
    assert [line["smooth_loss_nats"] for line in metrics(run)[:6]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_resume_exactly(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processes = start(2, [f"{TRAIN} {STEPS}"] * 2)
    killed, other = processes
    while not list(tmp_path.glob("run/checkpoints/*.safetensors")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    _, err = other.communicate(timeout=60)
    killed.communicate()
    assert "another" in err.splitlines()[-1], err
    assert err.splitlines()[-1].endswith("start all of them again, with --resume to continue from the last checkpoint")
    assert other.returncode == 1
    assert 10 <= int(load_checkpoint(tmp_path / "run").state.step) < 100
    train("--resume")
    assert_same_bits(load_checkpoint(tmp_path / "run").state, load_checkpoint(whole[0]).state)
    assert metrics(tmp_path / "run") == metrics(whole[0])


@pytest.mark.slow
def test_processes_that_disagree_all_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processes = start(1, [f"{TRAIN} {STEPS} --seed {seed}" for seed in (1, 2)])
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert "the processes disagree: config is" in err
        assert process.returncode in (2, 1)  # JAX ends the one that the other has left first


@pytest.mark.parametrize(
    ("variables", "together"),
    [
        ({}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a,b", "SLURM_NTASKS": "2"}, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a", "SLURM_NTASKS": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
        ({"JOB_COMPLETION_INDEX": "0"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
    ],
)
def test_launchers_of_many_processes_are_detected(variables, together, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_together() == together


def test_a_coordinator_that_cannot_be_reached_is_named_in_bounded_time():
    port = free_port()
    with pytest.raises(PeerError, match=f"no coordinator at 127.0.0.1:{port} within 1 s"):
        start_processes(f"127.0.0.1:{port}", 2, 1, timeout=1)


@pytest.mark.parametrize(
    ("arguments", "message"), [(("nowhere", 2, 1), "HOST:PORT"), (("127.0.0.1:9", 2, 2), "process_id must be from 0")]
)
def test_an_invalid_address_or_process_number_is_refused(arguments, message):
    with pytest.raises(JaxrnnError, match=message):
        start_processes(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_coordinator_listens_at_its_address_and_at_no_other(host):
    port = free_port()
    command = f"{TRAIN} {STEPS} --coordinator {host}:{port} --num-processes 2 --process-id 0"
    running = subprocess.Popen([sys.executable, "-m", "jaxrnn", *command.split()], stderr=subprocess.DEVNULL)
    try:
        listening = set()
        while not listening:
            assert running.poll() is None
            listening = {
                address.partition(":")[0]
                for table in ("tcp", "tcp6")
                for _, address, _, state, *_ in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:])
                if state == "0A" and int(address.partition(":")[2], 16) == port
            }
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert listening <= loopback


def test_a_coordinator_that_process_0_cannot_be_is_refused():
    with pytest.raises(JaxrnnError, match=r"process 0 can't listen at 203.0.113.1, port \d+"):
        start_processes(f"203.0.113.1:{free_port()}", 2, 0)
    in_use = r"can't listen at .* \(Address already in use\)"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(JaxrnnError, match=in_use):
        start_processes(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0)
    for address in ("::1:1234", "fd00::1", "[::1]", "[::1:1234"):
        with pytest.raises(JaxrnnError, match=r"must be HOST:PORT, such as .* or \[fd00::1\]:1234"):
            start_processes(address, 2, 0)

"""Real processes on this machine, joined by jax.distributed."""

import json
import os
import socket
import subprocess
import sys

import pytest

from jaxrnn.checkpoint import load_config
from jaxrnn.errors import JaxrnnError
from jaxrnn.processes import PeerError, launched_together, start_processes
from jaxrnn.runs import fit

TRAIN = "train python-docs --batch-size 8 --hidden-size 8 --learning-rate 0.01 --sample-every 0 --sample-length 5"
STEPS = "--steps 40 --log-every 10 --chunk-length 10 --run-dir run"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(each, commands):
    """Start processes of so many devices each, one for each of the commands."""
    joined = f"--coordinator 127.0.0.1:{free_port()} --num-processes {len(commands)}"
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(each)}
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


def test_processes_train_what_one_with_all_their_devices_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processes = start(2, [f"{TRAIN} {STEPS} --json"] * 2)
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert json.loads(outputs[0][0])["step"] == 40
    assert outputs[1][0] == ""  # process 0 alone prints
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    expected = [report.smooth_loss for report in fit(load_config(tmp_path / "run"), devices=4)]
    assert [json.loads(line)["smooth_loss"] for line in lines] == pytest.approx(expected, rel=1e-6)


def test_processes_that_disagree_all_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processes = start(1, [f"{TRAIN} {STEPS} --seed {seed}" for seed in (1, 2)])
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert "the processes disagree: config is" in err
        assert process.returncode in (2, -6)  # JAX ends the one that the other has left first


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
def test_a_launcher_of_many_processes_is_found(variables, together, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_together() == together


def test_a_coordinator_that_cannot_be_reached_is_named_in_bounded_time():
    port = free_port()
    with pytest.raises(PeerError, match=f"no coordinator at 127.0.0.1:{port} within 1 s"):
        start_processes(f"127.0.0.1:{port}", 2, 1, patience=1)


@pytest.mark.parametrize(
    ("arguments", "message"), [(("nowhere", 2, 1), "HOST:PORT"), (("127.0.0.1:9", 2, 2), "process_id must be from 0")]
)
def test_what_is_no_address_or_number_of_a_process_is_refused(arguments, message):
    with pytest.raises(JaxrnnError, match=message):
        start_processes(*arguments)

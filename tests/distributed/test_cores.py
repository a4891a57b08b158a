import json
import math

import pytest

from jaxrnn.cli import main
from jaxrnn.distributed import cores
from jaxrnn.distributed.cores import available_cores, cpu_quota, devices_for

FILES = {  # what a machine has in /proc and /sys, and the CPUs that it grants
    "no limit": ({"self/cgroup": "0::/\n", "cpu.max": "max 100000\n"}, math.inf),
    "a container": ({"self/cgroup": "0::/\n", "cpu.max": "250000 100000\n"}, 2.5),
    "a service": ({"self/cgroup": "0::/a.slice/b.service\n", "a.slice/b.service/cpu.max": "150000 100000\n"}, 1.5),
    "the group around it": (
        {"self/cgroup": "0::/a/b\n", "a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"},
        1.0,
    ),
    "version 1": (
        {
            "self/cgroup": "9:cpu,cpuacct:/docker/1f\n3:memory:/docker/1f\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        3.0,
    ),
    "version 1 without a limit": (
        {"self/cgroup": "9:cpu:/\n", "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        math.inf,
    ),
    "nothing to read": ({}, math.inf),
    "something else": ({"self/cgroup": "nonsense\n"}, math.inf),
}


@pytest.mark.parametrize(("files", "cpus"), FILES.values(), ids=FILES)
def test_the_cpu_quota_of_a_container_counts(files, cpus, tmp_path):
    for name, text in files.items():
        file = tmp_path / ("proc" if name == "self/cgroup" else "sys/fs/cgroup") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert cpu_quota(tmp_path) == cpus


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (2.5, 2), (math.inf, 8)])
def test_whole_cores_of_the_quota_are_available(quota, expected, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert available_cores() == expected


@pytest.mark.parametrize(
    ("lanes", "flops", "available", "expected"),
    [
        (1, 1e12, 8, 1),
        (16, 2.7e8, 2, 2),  # a GRU of 256 units
        (50, 2.4e9, 2, 2),  # char-rnn
        (50, 2.4e9, 4, 2),
        (32, 1.8e10, 64, 4),  # best; no fewer than eight lanes each
        (64, 1e6, 8, 1),  # too little to do
        (17, 1e12, 8, 1),
        (64, 1e12, 1, 1),
    ],
)
def test_lanes_are_split_where_that_pays(lanes, flops, available, expected):
    assert devices_for(lanes, flops, available) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*can't be promised")
def test_train_chooses_the_devices_says_so_and_resumes_on_as_many(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text("the cat sat on the mat.\n" * 200)
    monkeypatch.setattr(cores, "_LEAST_FLOPS", 1.0)
    monkeypatch.setattr(cores, "_LEAST_LANES", 1)

    def train(flags, available):
        monkeypatch.setattr(cores, "available_cores", lambda: available)
        assert main(["train", *flags.split(), "--run-dir", str(tmp_path / "run"), "--log-every", "2"]) == 0
        error = capsys.readouterr().err
        assert main(["info", str(tmp_path / "run"), "--json"]) == 0
        return json.loads(capsys.readouterr().out)["computed_by"]["device_count"], error

    flags = f"{tmp_path}/text.txt --batch-size 4 --hidden-size 8 --sequence-length 5"
    count, error = train(f"{flags} --steps 2", available=2)
    assert (count, "devices: 2, each with 2 lanes\n" in error) == (2, True)
    count, error = train("--resume --steps 4", available=4)
    assert (count, "promised" in error) == (2, False)
    count, error = train("--resume --steps 6", available=1)
    assert (count, "can't be promised" in error, "devices:" in error) == (1, True, False)
    count, _ = train(f"{flags} --steps 2 --overwrite --devices 1", available=4)
    assert count == 1
    count, _ = train("--resume --steps 4", available=4)
    assert count == 1

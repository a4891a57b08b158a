import errno
import json
import os
import struct
import sys
from pathlib import Path

import pytest

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.runs.checkpoint_files import list_checkpoints

CONFIG = TrainConfig(
    corpus="text.txt",
    model=ModelConfig(hidden_size=8),
    sequence_length=5,
    split=(0.5, 0.5),
    validate_every=10,
    steps=20,
    log_every=5,
    sample_every=0,
    sample_length=5,
    chunk_length=5,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("the cat sat on a mat\n" * 9)
    (tmp_path / "config.json").write_text(to_json(CONFIG))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def event_files(run):
    return sorted(Path(run).glob("*tfevents*"))


def events(run):
    """The scalars of the only event file of a run, in their order: (tag, step, value, wall time)."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event

    def masked(data):
        code = crc32c(data)
        return (((code >> 15) | (code << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    (path,) = event_files(run)
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):  # a record: its length, that's checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", data, place)
        body = data[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", data, place + 8)[0] == masked(data[place : place + 8])
        assert struct.unpack_from("<I", data, place + 12 + length)[0] == masked(body)
        event = Event.FromString(body)
        found += [(value.tag, event.step, value.simple_value, event.wall_time) for value in event.summary.value]
        place += length + 16
    return found


def expected(run):
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return {
        tag: {line["step"]: line[tag] for line in lines if line.get(tag) is not None}
        for tag in (
            "train_bits_per_character",
            "interval_bits_per_character",
            "validation_bits_per_character",
            "smooth_loss_nats",
        )
    }


def assert_as_logged(run):
    found = events(run)
    assert len({(tag, step) for tag, step, _, _ in found}) == len(found)  # nothing twice
    wanted = expected(run)
    for tag, values in wanted.items():
        got = {step: value for other, step, value, _ in found if other == tag}
        assert got == pytest.approx(values, rel=1e-6)
        assert list(got) == sorted(got)
    assert len(found) == sum(map(len, wanted.values()))
    times = [time for _, _, _, time in found]
    assert times == sorted(times)


@pytest.mark.slow
def test_tensorboard_gets_what_the_metrics_hold_and_a_resumed_run_repeats_nothing(home):
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--tensorboard", "--quiet"]) == 0
    assert_as_logged("run")
    assert len(expected("run")["interval_bits_per_character"]) == 4
    assert main(["train", "--resume", "--run-dir", "run", "--tensorboard", "--quiet"]) == 0  # it is finished already
    assert_as_logged("run")
    # What was logged after the last checkpoint is logged again, and stands there once.
    with (home / "run" / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 25, "train_bits_per_character": 1.0, "seconds": 1.0}) + "\n")
    assert main(["train", "--resume", "--run-dir", "run", "--steps", "40", "--tensorboard", "--quiet"]) == 0
    assert_as_logged("run")
    assert max(expected("run")["interval_bits_per_character"]) == 40


@pytest.mark.slow
def test_a_run_can_be_shown_in_tensorboard_later_and_another_in_its_place_leaves_no_events(home):
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--quiet"]) == 0
    assert event_files("run") == []
    assert main(["train", "--resume", "--run-dir", "run", "--steps", "30", "--tensorboard", "--quiet"]) == 0
    assert_as_logged("run")
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--overwrite", "--quiet"]) == 0
    assert event_files("run") == []


def test_without_the_extra_one_sentence_says_so_and_nothing_is_begun(home, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--tensorboard"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "jaxrnn: --tensorboard needs tensorboardX, which is not installed; pip install tensorboardX\n"
    assert not (home / "run").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_which_is_saved(home, capsys, monkeypatch):
    from tensorboardX.record_writer import RecordWriter

    write, records = RecordWriter.write, []

    def write_until_full(self, data):
        records.append(data)
        if len(records) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", write_until_full)
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--tensorboard", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "can't write run/events.out.tfevents (No space left on device); make room there" in err
    assert [path.name for path in list_checkpoints(home / "run/checkpoints")] == ["step-0000000010.safetensors"]

"""Commands work, and files are the same, where Python lacks what Windows lacks."""

import subprocess
import sys
from pathlib import Path

import pytest
import windows
from command_line import contents, process

from jaxrnn.errors import TakenError
from jaxrnn.runs import lock

BENCH = "--hidden-size 4 --sequence-length 3 --vocab-size 5 --chunk-length 2 --repeats 1"
TRAIN = "train --config tiny.json --run-dir new --steps 20 --keep 1 --split 0.9,0.1 --quiet"
COMMANDS = (
    *(TRAIN, "train --run-dir new --resume --steps 40 --quiet"),
    *("sample new --length 20", "sample new --length 20 --json", "sample new --report-copies"),
    *(
        "evaluate new",
        "evaluate new text.txt --per-character bits.tsv",
        "info",
        "info new --repair",
        "runs .",
        "compare new run",
    ),
    *(
        "plot new --out loss.svg",
        "plot new --kind units --text the --out units.png",
        "page new --text the --out model.html",
    ),
    *("page new --text the --out model.html", "plot new --out loss.svg", f"bench step {BENCH}"),
    *("export new --out w.safetensors", "import w.safetensors --corpus text.txt --run-dir imported"),
    *(
        "prepare big.txt",
        "prepare big.txt --verify",
        "sweep --config tiny.json --learning-rate 0.1,0.2 --run-dir sweep",
    ),
    *("sweep --run-dir sweep --resume --steps 30", "presets", "completion bash"),
)


@pytest.mark.slow
def test_every_command_works_without_what_windows_lacks(home):
    (home / "big.txt").write_text("the cat sat on the mat.\n" * 400_000)
    done = subprocess.run([sys.executable, windows.__file__, *COMMANDS], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = contents(home / "new")
    for command in (TRAIN.replace("new", "here"), "train --run-dir here --resume --steps 40 --quiet"):
        running = process(command)
        running.communicate()
        assert running.returncode == 0
    for name in ("config.json", "samples.txt"):
        assert there[Path(name)] == (home / "here" / name).read_bytes()
    for file in ("bits.tsv", "loss.svg", "model.html", "new/metrics.jsonl"):
        assert b"\r" not in (home / file).read_bytes()


class Msvcrt:
    """The part of Windows' module that locks: exclusively, for one descriptor of a file."""

    LK_NBLCK = 2

    @staticmethod
    def locking(descriptor, mode, count):
        assert (mode, count) == (Msvcrt.LK_NBLCK, 1)
        try:
            FCNTL.flock(descriptor, FCNTL.LOCK_EX | FCNTL.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None


FCNTL = lock.fcntl


def test_locks_of_windows_give_a_run_one_writer_and_let_readers_look(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", Msvcrt)
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    held = lock.WriterLock(tmp_path)
    with pytest.raises(TakenError):
        lock.WriterLock(tmp_path)
    assert lock.is_locked(tmp_path)
    held.close()
    assert not lock.is_locked(tmp_path)
    lock.WriterLock(tmp_path).close()


def test_without_any_locks_a_run_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.warns(UserWarning, match="can't lock .* make sure that nothing else trains there"):
        lock.WriterLock(tmp_path).close()
    assert not lock.is_locked(tmp_path)

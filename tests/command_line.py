"""Helpers for tests of the command line: texts, processes and damaged runs."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.runs.checkpoint_files import list_checkpoints

WORDS = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "café"]
PROSE = " ".join([*WORDS, *np.random.default_rng(0).choice(WORDS, 40)]) + "\n"
TINY = TrainConfig(
    corpus="text.txt",
    model=ModelConfig(hidden_size=8),
    sequence_length=5,
    steps=20,
    sample_every=10,
    sample_length=12,
    log_every=10,
    checkpoint_every=10,
    chunk_length=10,
)


def damage(run, kind):
    """Damage every checkpoint of a run in one of the ways of DAMAGES."""
    for path in list_checkpoints(run / "checkpoints"):
        data = path.read_bytes()
        flipped = data[:-1] + bytes([data[-1] ^ 1])
        format_flipped = data.replace(b"jaxrnn-checkpoint-1", b"jaxrnn-checkpoint-0")  # a single bit
        vocabulary_flipped = data.replace(b"characters", b"charactars", 1)
        kinds = {"cut": data[:-1], "empty": b"", "garbage": b"\xff" * 100, "flipped": flipped}
        path.write_bytes({**kinds, "format": format_flipped, "vocabulary": vocabulary_flipped}[kind])


DAMAGES = ["cut", "empty", "garbage", "flipped", "format", "vocabulary"]


def process(command, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as for a user
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "env": environment, **options}
    return subprocess.Popen([sys.executable, "-m", "jaxrnn", *shlex.split(command)], **options)


def contents(directory):
    """Return every path below a directory, with the bytes of files."""
    return {path.relative_to(directory): path.is_file() and path.read_bytes() for path in directory.rglob("*")}


def logged_steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def in_a_line(box):
    """The words of a box of tyro's."""
    return " ".join(re.sub("[─╭╮╰╯│]|-{3,}", " ", box).split())


def assert_refused(place, jaxrnn, command, exit_code, message):
    """A command fails with a line or two of ours, or with a box of tyro's, and leaves a directory as it was."""
    before = contents(place)
    code, out, err = jaxrnn(command)
    assert (code, out) == (exit_code, "")
    err = re.sub(r"^the (best|newest) checkpoint of .*\n", "", err)
    if not err.startswith("jaxrnn: "):
        err = in_a_line(err)
        assert "--help" in err
    else:
        assert len(err.splitlines()) <= 2
    assert re.search(message, err), err
    assert contents(place) == before

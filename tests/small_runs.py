"""Runs of 24 steps on a text of 110 characters, and comparisons of their results."""

import json

import jax
import numpy as np
import pytest

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import list_checkpoints

WORDS = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it"]


def prose(seed=0):
    """Return about 110 characters: with T = 5 the sweep wraps around before step 24."""
    return " ".join([*WORDS, *np.random.default_rng(seed).choice(WORDS, 20)]) + "\n"


def tiny(text, **changes):
    """Return a config of 24 steps in chunks of 4, so that one program serves most tests."""
    values = {"sequence_length": 5, "steps": 24, "chunk_length": 4, "sample_length": 12}
    intervals = {"log_every": 4, "sample_every": 8, "checkpoint_every": 12}
    return TrainConfig(**{"corpus": str(text), "model": ModelConfig(hidden_size=8), **values, **intervals, **changes})


class Crash(BaseException):
    """The end of a process, at which nothing is saved."""


def run(config, run_dir=None, *, leave=None, crash=False, **how):
    """Train to the end or until the report of step `leave`; return the reports."""
    reports = []
    generator = fit(config, run_dir=run_dir, **how)
    for report in generator:
        reports.append(report)
        if report.step == leave:
            if crash:  # as after a power cut
                with pytest.raises(Crash):
                    generator.throw(Crash)
            generator.close()
    return reports


def leaves(state):
    state = state._replace(key=jax.random.key_data(state.key))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def assert_bit_identical(state, other):
    state, other = leaves(state), leaves(other)
    assert state.keys() == other.keys()
    assert [name for name in state if state[name].tobytes() != other[name].tobytes()] == []


def contents(directory):
    """Return every path below a directory, with the bytes of files."""
    return {path.relative_to(directory): path.is_file() and path.read_bytes() for path in directory.rglob("*")}


def metrics(run_dir):
    """Return the lines of metrics.jsonl without the seconds, which differ between runs."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)
    return lines


def checkpoint_steps(run_dir):
    return sorted(load_checkpoint(path).counters["step"] for path in list_checkpoints(run_dir / "checkpoints"))

"""Runs that version 0.1.0 left in data/: 24 steps each, with checkpoints after 12 and after 24."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import leaves, run

from jaxrnn.config import TrainConfig, from_json
from jaxrnn.runs import read_metrics
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path
from jaxrnn.text import load_corpus

OLD = Path(__file__).parent / "data" / "0.1.0"


@pytest.mark.parametrize("name", ["tanh", "lstm"])  # the defaults; two layers, dropout, Adam and a validation slice
def test_a_run_of_version_0_1_0_resumes_to_the_same_state_reports_and_samples(tmp_path, name):
    path = shutil.copytree(OLD / name, tmp_path / name)
    checkpoint_path(path / "checkpoints", 24).unlink()
    config = from_json(TrainConfig, (path / "config.json").read_text())
    with pytest.warns(UserWarning, match=r"jaxrnn 0.1.0, jax .* can't be promised"):  # kernels round otherwise now
        reports = run(config, path, corpus=load_corpus(OLD / "text.txt"), resume=True)
    expected = load_checkpoint(OLD / name)
    assert reports[-1].step == expected.counters["step"] == 24
    state, other = leaves(reports[-1].state), leaves(expected.state)
    for leaf in other:
        np.testing.assert_allclose(state[leaf], other[leaf], rtol=1e-4, atol=1e-6, err_msg=leaf)
    assert (path / "samples.txt").read_text() == (OLD / name / "samples.txt").read_text()
    columns, other = read_metrics(path), read_metrics(OLD / name)
    assert columns.keys() == other.keys()
    for column in columns.keys() - {"seconds"}:
        np.testing.assert_allclose(columns[column], other[column], rtol=1e-5, err_msg=column)

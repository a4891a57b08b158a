"""Runs that version 0.1.0 left in data/: 24 steps each, with checkpoints after 12 and after 24."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import leaves, run

from jaxrnn.config import TrainConfig, from_json
from jaxrnn.page import page
from jaxrnn.plots import loss_curves
from jaxrnn.runs import read_metrics, summarize_run
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path
from jaxrnn.text import load_corpus

OLD = Path(__file__).parent / "data" / "0.1.0"


@pytest.mark.parametrize("name", ["tanh", "lstm"])  # the defaults; two layers, dropout, Adam and a validation slice
@pytest.mark.slow
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
    assert samples(path) == samples(OLD / name)
    columns, other = read_metrics(path), read_metrics(OLD / name)
    assert columns.keys() == other.keys()
    for column in ("step", "smooth_loss_nats", "validation_bits_per_character"):
        np.testing.assert_allclose(columns[column], other[column], rtol=1e-5, err_msg=column)


def samples(path):
    """The samples of a run without the lines above them, which are others today."""
    lines = (path / "samples.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("----")]


@pytest.mark.parametrize("name", ["tanh", "lstm"])
def test_the_metrics_of_version_0_1_0_are_read_in_the_units_of_today(name):
    columns = read_metrics(OLD / name)
    lines = [json.loads(line) for line in (OLD / name / "metrics.jsonl").read_text().splitlines()]
    length = from_json(TrainConfig, (OLD / name / "config.json").read_text()).sequence_length
    assert columns["step"].tolist() == [line["step"] for line in lines]
    assert columns["smooth_loss_nats"].tolist() == [line["smooth_loss"] for line in lines]
    for column, old, nats_per in (("interval", "loss", length), ("validation", "validation_loss", 1)):
        expected = np.array([line[old] for line in lines], float) / nats_per / np.log(2)
        np.testing.assert_allclose(columns[f"{column}_bits_per_character"], expected, rtol=1e-6)
    # The smooth loss begins at T ln V and barely moves in 24 steps; the mean of the losses in it does.
    checkpoint = load_checkpoint(OLD / name)
    assert columns["train_bits_per_character"][0] == pytest.approx(np.log2(checkpoint.config.model.vocab_size))
    mean = checkpoint.bits_per_character
    assert mean == pytest.approx(columns["train_bits_per_character"][-1], rel=1e-5)
    assert np.nanmin(columns["interval_bits_per_character"]) < mean
    assert mean < np.nanmax(columns["interval_bits_per_character"])


@pytest.mark.parametrize("name", ["tanh", "lstm"])
def test_a_run_of_version_0_1_0_is_listed_drawn_and_made_a_page_in_bits(tmp_path, name):
    checkpoint, columns = load_checkpoint(OLD / name), read_metrics(OLD / name)
    losses = summarize_run(OLD / name).train_bits_per_character
    assert losses.last == columns["train_bits_per_character"][-1]
    lines = {line.get_label(): line.get_ydata() for line in loss_curves(OLD / name).axes[0].lines}
    np.testing.assert_array_equal(lines[name], columns["train_bits_per_character"])
    html = page(checkpoint, columns, text="the")
    best = checkpoint.counters.get("best_loss")
    cost = f"{losses.last:.2f} bits each on the text that it learned from"
    if best and checkpoint.counters["best_step"] == 24:
        cost = f"{best / np.log(2):.2f} bits each on a text that it did not learn from"
    assert cost in html

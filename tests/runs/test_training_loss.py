"""The means of the training loss, against means of the losses that the jitted chunk itself returns."""

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import metrics, run, tiny

from jaxrnn.cli import main
from jaxrnn.config import OptimizerConfig, to_json
from jaxrnn.network import loss as cross_entropy
from jaxrnn.runs import read_metrics
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path
from jaxrnn.text import batches, load_corpus
from jaxrnn.training.jitted import make_train_chunk
from jaxrnn.training.step import init_train_state

OLD = Path(__file__).parent / "data" / "0.1.0"
STEPS = 60


@pytest.fixture(scope="module")
def config(text):
    return tiny(text, steps=STEPS, split=(0.8, 0.2), validate_every=12, log_every=10, sample_every=0, keep=9)


@pytest.fixture(scope="module")
def losses(config, text):
    """The losses of 400 steps in bits per character."""
    corpus = load_corpus(text)
    known = dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=len(corpus.vocabulary)))
    tokens = corpus.tokens[: int(0.8 * len(corpus.tokens))]
    state = init_train_state(jax.random.key(config.seed), known)
    _, metrics = make_train_chunk(known)(state, batches(tokens, 0, 400, known))
    return np.asarray(metrics.loss, float) / config.sequence_length / math.log(2)


@pytest.fixture(scope="module")
def epoch_length(text):
    """Steps in an epoch: p = 0, 5, 10, ... while p + T + 1 < n."""
    return len(range(0, int(0.8 * len(text.read_text())) - 6, 5))


@pytest.fixture(scope="module")
def reports(config, tmp_path_factory):
    return run(config, tmp_path_factory.mktemp("kept") / "run")


def expected_mean(losses, steps):
    """The mean in which each loss weighs 1 - 1/window as much as the one after it."""
    windows = [min(max(10, step / 20), max(10, steps / 50)) for step in range(1, len(losses) + 1)]
    ratios = np.array([1 - 1 / window for window in windows[1:]] + [1])
    weights = np.cumprod(ratios[::-1])[::-1]
    return (weights * losses).sum() / weights.sum()


def test_the_loss_that_is_shown_is_an_exponential_mean_that_begins_with_the_first_loss(reports, losses):
    assert reports[0].bits_per_character == pytest.approx(np.log2(reports[0].config.model.vocab_size))
    for report in reports[1:]:
        assert report.bits_per_character == pytest.approx(expected_mean(losses[: report.step], STEPS), rel=1e-6)
    # The smooth loss is min-char-rnn's: it has hardly left ln V.
    assert reports[-1].smooth_loss / 5 / math.log(2) > reports[-1].bits_per_character + 0.1


@pytest.mark.parametrize("steps", [410, 700, 2**31 - 1])
def test_its_window_is_a_fiftieth_of_the_run_but_early_a_twentieth_of_the_steps_so_far(config, losses, steps):
    last = run(dataclasses.replace(config, steps=steps, validate_every=0, log_every=100), leave=400)[-1]
    assert last.bits_per_character == pytest.approx(expected_mean(losses, steps), rel=1e-5)


def test_after_a_while_it_is_near_the_validation_loss_of_a_text_that_repeats(tmp_path):
    """Where training and validation text are alike, their losses are: the line of training starts no higher."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat, and the dog sat on the cat.\n" * 200)
    config = tiny(text, steps=1000, split=(0.5, 0.5), validate_every=100, log_every=100, sample_every=0, batch_size=4)
    for report in run(dataclasses.replace(config, optimizer=OptimizerConfig("adam", 0.01)))[1:]:
        validation = report.validation_loss / math.log(2)
        assert report.bits_per_character - validation < 0.5
        assert abs(report.bits_per_character - validation) < 0.1 or report.step < 400


def test_a_line_of_the_metrics_has_the_mean_since_the_line_before(reports, losses):
    assert reports[0].interval_bits_per_character is None
    for before, report in itertools.pairwise(reports):
        mean = losses[before.step : report.step].mean()
        assert report.interval_bits_per_character == pytest.approx(mean, rel=1e-6)


def test_the_mean_of_a_whole_epoch_is_that_of_its_steps(reports, losses, epoch_length):
    assert STEPS // epoch_length >= 3
    for report in reports:
        means = [losses[end - epoch_length : end].mean() for end in range(epoch_length, report.step + 1, epoch_length)]
        last, before = [*reversed(means), None, None][:2]
        assert report.epochs == (report.step / epoch_length, pytest.approx(last), pytest.approx(before))


@pytest.mark.parametrize("stops", [(1, 2, 3), (13, 37), (19, 20, 21, 40)])
def test_means_survive_resume_bit_for_bit_wherever_the_run_stops(config, tmp_path, stops):
    config, path = dataclasses.replace(config, validate_every=0), tmp_path / "run"
    expected = run(config, path)
    lines = metrics(path)
    shutil.rmtree(path)
    for stop in stops:
        calls = iter(range(1000))
        chunks = dataclasses.replace(config, chunk_length=1)
        done = int(load_checkpoint(path).counters["step"]) if path.exists() else 0
        run(chunks, path, resume=path.exists(), should_stop=lambda left=stop - done, calls=calls: next(calls) >= left)
        assert load_checkpoint(path).counters["step"] == stop
    last = run(config, path, resume=True)[-1]
    assert metrics(path) == lines
    assert (last.bits_per_character, last.epochs) == (expected[-1].bits_per_character, expected[-1].epochs)


def test_every_command_shows_the_number_that_training_showed(config, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(to_json(config))
    assert main(["train", "--config", "config.json", "--run-dir", "run", "--json"]) == 0
    result = json_of(capsys)
    bits, validation = result["train_bits_per_character"], result["validation_bits_per_character"]
    assert main(["runs", ".", "--json"]) == 0
    (summary,) = json_of(capsys)
    assert summary["train_bits_per_character"]["last"] == bits
    assert summary["validation_bits_per_character"]["last"] == validation
    assert main(["info", "run", "--json"]) == 0
    info = json_of(capsys)
    assert (info["train_bits_per_character"], info["smooth_loss_nats"]) == (bits, result["smooth_loss_nats"])
    assert main(["train", "--resume", "--run-dir", "run", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert f"---- step 60: {bits:.3f} bits per character ----" in out
    epochs = result["epochs"]
    last, before = (epochs[f"{name}_bits_per_character"] for name in ("last", "before"))
    number = int(epochs["done"])
    tenths = math.floor(10 * epochs["done"]) / 10
    assert f"epoch {number} of {tenths}: {last:.3f}, epoch {number - 1}: {before:.3f} bits per character\n" in out
    assert f"{result['best']['validation_bits_per_character']:.3f} bits per character" in out
    assert main(["compare", "run", "run"]) == 0
    assert f"{bits:.3f}" in capsys.readouterr().out


def test_of_bytes_the_unit_is_bits_per_byte(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(to_json(dataclasses.replace(config, vocabulary="bytes")))
    for command in ("train --config config.json --run-dir run", "info run", "runs .", "compare run run"):
        assert main(command.split()) == 0
        shown = "".join(capsys.readouterr())
        assert "bits per byte" in shown
        assert "per character" not in shown


@pytest.mark.slow
def test_min_char_rnn_shows_its_smooth_loss_beside_and_other_networks_do_not(tmp_path, text, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    long = tmp_path / "long.txt"  # of which no epoch leaves much out
    long.write_text(text.read_text() * 10)
    common = ["train", str(long), "--steps", "4", "--sample-length", "5", "--run-dir"]
    assert main([*common, "seed"]) == 0
    smooth = read_metrics("seed")["smooth_loss_nats"][-1]
    assert f"smooth loss of min-char-rnn: {smooth:.2f} nats per 25 characters\n" in capsys.readouterr().out
    assert main([*common, "other", "--hidden-size", "8"]) == 0
    assert "smooth loss" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_loss_below_zero_is_kept_and_resumed(config, tmp_path):
    def below_zero(*arguments, **options):
        nats, carry = cross_entropy(*arguments, **options)
        return nats - 100, carry

    path = tmp_path / "run"
    run(config, path, leave=20, loss=below_zero)
    last = run(config, path, resume=True, loss=below_zero)[-1]
    assert last.step == STEPS
    assert last.bits_per_character == run(config, loss=below_zero)[-1].bits_per_character < 0


def test_a_run_of_version_0_1_0_goes_on_with_the_mean_of_its_smooth_loss_and_without_its_broken_epoch(tmp_path):
    path = shutil.copytree(OLD / "tanh", tmp_path / "run")
    checkpoint_path(path / "checkpoints", 24).unlink()
    checkpoint, corpus = load_checkpoint(path), load_corpus(OLD / "text.txt")
    config = dataclasses.replace(checkpoint.config, steps=80, validate_every=0)
    with pytest.warns(UserWarning, match="can't be promised"):
        reports = run(config, path, corpus=corpus, resume=True)
    with_all_losses = run(config, corpus=corpus)
    for report, other in zip(reports, with_all_losses[-len(reports) :], strict=True):
        assert report.step == other.step
        assert report.bits_per_character == pytest.approx(other.bits_per_character, abs=0.1)
    length = len(range(0, len(corpus) - 6, 5))
    for report in reports:
        whole = report.step // length - 12 // length - 1  # epochs that began after the checkpoint
        assert (report.epochs.last_bits_per_character is not None) == (whole >= 1)
        assert (report.epochs.before_bits_per_character is not None) == (whole >= 2)


def json_of(capsys):
    return json.loads(capsys.readouterr().out)

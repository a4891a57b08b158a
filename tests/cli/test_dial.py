"""`jaxrnn train --minutes`."""

import json
from pathlib import Path
from typing import get_args

import pytest
from command_line import assert_refused

from jaxrnn.cli import dial
from jaxrnn.config import Products, TrainConfig, from_json

TEXT = "the cat sat on the mat, and the dog lay by the door.\n" * 60


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A text, and a machine of a known speed; the configurations that were measured."""
    (tmp_path / "poems.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    configs = []

    def measure(config, *_):
        configs.append(config)
        return 1000.0, 0.5

    monkeypatch.setattr(dial, "_measure", measure)
    monkeypatch.setattr(dial, "_faster_products", lambda: "full")
    return configs


SMALL = "--hidden-size 4 --num-layers 1 --batch-size 2 --sequence-length 8"


def test_it_prints_three_lines_trains_what_they_say_and_repeats_exactly(measured, jaxrnn):
    code, _, err = jaxrnn(f"train poems.txt --minutes 0.2 --run-dir run {SMALL}")
    assert code == 0
    lines = err.splitlines()[:3]
    assert [line.partition(":")[0] for line in lines] == ["text", "network", "schedule"]
    assert "3,180 characters, vocabulary of 19; held out to validate: 10 %" in lines[0]
    assert "gru, 1 x 4" in lines[1]
    assert "1,000 characters per second here (1 size measured)" in lines[1]
    config = from_json(TrainConfig, Path("run/config.json").read_text())
    assert f"{config.steps:,} steps of 2 x 8 characters" in lines[2]
    assert 0.2 * 12 * 1000 < config.steps * 16 < 12 * 1000
    assert config.model.vocab_size is None
    assert jaxrnn("train --config run/config.json --run-dir again --quiet")[0] == 0
    logs = [Path(run, "metrics.jsonl").read_text().splitlines() for run in ("run", "again")]
    first, again = ([{**json.loads(line), "seconds": 0} for line in log] for log in logs)
    assert first == again
    assert Path("run/samples.txt").read_text() == Path("again/samples.txt").read_text()
    assert jaxrnn("train --run-dir run --resume --quiet --steps 2000")[0] == 0  # as any run


def test_a_dry_run_shows_what_would_be_trained(measured, jaxrnn):
    code, out, err = jaxrnn(f"train poems.txt --minutes 0.1 --dry-run --json {SMALL} --steps 30 --cell lstm")
    assert code == 0
    config = from_json(TrainConfig, out)
    assert (config.steps, config.model.cell, config.model.hidden_size, config.batch_size) == (30, "lstm", 4, 2)
    assert len(err.splitlines()) == 3
    assert jaxrnn(f"train poems.txt --minutes 0.1 --dry-run --quiet {SMALL}")[2] == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--minutes 0", "minutes must be a finite number above 0, got 0"),
        ("--minutes=-1", "minutes must be a finite number above 0, got -1"),
        ("--minutes inf", "minutes must be a finite number above 0, got inf"),
        ("--minutes nan", "minutes must be a finite number above 0, got nan"),
        ("--minutes 1 --preset quick", "--preset and --minutes both say what to start from"),
        ("--minutes 1 --resume --run-dir x", "--resume and --minutes both say what to start from"),
    ],
)
def test_what_is_no_time_and_what_says_otherwise_is_refused(measured, tmp_path, jaxrnn, flags, message):
    assert_refused(tmp_path, jaxrnn, f"train poems.txt {flags}", 2, message)


def test_a_long_time_is_not_measured_longer(measured, monkeypatch, jaxrnn):
    times = []
    monkeypatch.setattr(dial, "_measure", lambda config, corpus, seconds, *_: times.append(seconds) or (1000.0, 0.5))
    for minutes in (0.1, 1, 1e9):
        assert jaxrnn(f"train poems.txt --minutes {minutes} --dry-run {SMALL}")[0] == 0
    assert sorted(set(times)) == pytest.approx([0.15, 1.5, 20])


@pytest.mark.slow
def test_this_machine_is_measured(tmp_path, monkeypatch, jaxrnn):
    (tmp_path / "poems.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    code, out, _ = jaxrnn(f"train poems.txt --minutes 0.01 --run-dir run --json {SMALL} --quiet")
    assert code == 0
    result = json.loads(out)
    assert result["finished"]
    assert result["best"]["step"] > 0


def test_it_finds_out_which_products_are_faster():
    assert dial._faster_products() in get_args(Products)


@pytest.mark.parametrize(
    ("flags", "products"), [("", "bfloat16"), ("--products full", "full"), ("--dtype float64", "full")]
)
def test_products_are_the_faster_ones_or_the_users(measured, jaxrnn, monkeypatch, flags, products):
    monkeypatch.setattr(dial, "_faster_products", lambda: "bfloat16")
    monkeypatch.setattr("jaxrnn.cli.train.set_up_jax", lambda dtype: None)  # nothing is computed here
    code, out, err = jaxrnn(f"train poems.txt --minutes 0.1 --dry-run --json {SMALL} {flags}")
    assert f"gru, 1 x 4, {products} products, " in err
    assert (code, from_json(TrainConfig, out).model.products) == (0, products)
    assert {config.model.products for config in measured} == {products}


def test_a_speed_counts_for_networks_with_dropout_or_without(tmp_path, monkeypatch, jaxrnn):
    (tmp_path / "poems.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    measured = []

    def measure(config, *_):
        measured.append(config.model.has_dropout)
        return 2000.0 if config.model.has_dropout else 2600.0, 0.0

    monkeypatch.setattr(dial, "_measure", measure)
    monkeypatch.setattr(dial, "_faster_products", lambda: "full")
    code, out, err = jaxrnn(f"train poems.txt --minutes 0.4 --dry-run --json {SMALL}")
    config = from_json(TrainConfig, out)
    assert (code, config.model.has_dropout) == (0, measured[-1])
    speed = 2000 if measured[-1] else 2600
    assert f"at {speed:,} characters per second here" in err

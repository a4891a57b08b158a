"""User-defined cells and optimizers: on the command line, and through a run and its checkpoints."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from command_line import assert_refused

from jaxrnn.cli.python_file import load_cell, optimizer_of
from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig, from_json, preset
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import GRU, TANH, Cell
from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint, load_fields

# The minimal gated unit, Zhou et al. 2016, with what a file of a user's also has around a cell.
SOURCE = """
from __future__ import annotations
import dataclasses

import jax
import jax.numpy as jnp
from jaxrnn import TANH, Cell

@dataclasses.dataclass
class Settings:
    bias: float = 0.5

def update(projected, recurrent, carry):
    (h,) = carry
    (projected_f, projected_n), (f, n) = jnp.split(projected, 2, -1), jnp.split(recurrent, 2, -1)
    f = jax.nn.sigmoid(projected_f + f)
    return ((1 - f) * h + f * jnp.tanh(projected_n + f * n),)

MGU = Cell(2, TANH.init_carry, update, recurrent_bias=True, init_bias=(Settings().bias, 0.0))
NARROW = MGU._replace(update=lambda projected, recurrent, carry: (projected[:, :1],))
NUMBER = 3
"""
OPTIMIZERS = """
import optax

LION = optax.chain(optax.clip(1.0), optax.lion(1e-3))
RATE = 1e-3
"""
FLAGS = "--hidden-size 5 --sequence-length 4 --chunk-length 4 --sample-every 0 --sample-length 8 --quiet"


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "optimizers.py").write_text(OPTIMIZERS)
    (tmp_path / "prints.py").write_text(f"print('hello')\n{OPTIMIZERS}")
    (tmp_path / "fails.py").write_text("\n\n1 / 0\n")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 9)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))]


@pytest.mark.slow
def test_a_run_with_a_cell_and_an_optimizer_of_the_users_own_is_fine_tuned_with_both(home, jaxrnn):
    (home / "other.txt").write_text("a dog sat on a log. " * 20)
    own = "--cell mine.py:MGU --optimizer optimizers.py:LION"
    assert jaxrnn(f"train text.txt {FLAGS} {own} --steps 8 --run-dir parent")[0] == 0
    tune = f"train other.txt --from-run parent --cell mine.py:MGU {FLAGS} --steps 4"
    assert jaxrnn(f"{tune} --optimizer optimizers.py:LION --run-dir kept")[0] == 0
    assert jaxrnn(f"{tune} --optimizer optimizers.py:LION --fresh-memory --run-dir fresh")[0] == 0
    assert jaxrnn(f"{tune} --optimizer adam --fresh-memory --run-dir adam")[0] == 0
    kept, fresh = (load_checkpoint(name, load_cell("mine.py:MGU")) for name in ("kept", "fresh"))
    assert kept.config.parent.endswith("step 8")
    assert (np.asarray(kept.state.params.Why) != fresh.state.params.Why).any()
    code, _, err = jaxrnn(f"train other.txt --from-run parent {FLAGS} --run-dir none")
    assert (code, "--cell FILE.py:NAME" in err) == (2, True)


@pytest.mark.slow
def test_a_cell_of_the_users_own_trains_resumes_is_sampled_from_and_described_on_the_command_line(home, jaxrnn):
    train = f"train text.txt {FLAGS} --cell mine.py:MGU"
    assert jaxrnn(f"{train} --steps 8 --run-dir whole")[0] == 0
    assert jaxrnn(f"{train} --steps 4 --run-dir run")[0] == 0
    code, _, err = jaxrnn("train --resume --run-dir run --steps 8 --quiet")
    assert (code, "hand it over again" in err) == (2, True)
    assert jaxrnn("train --resume --run-dir run --steps 8 --quiet --cell mine.py:MGU")[0] == 0
    assert not list(home.rglob("__pycache__"))

    mine = load_cell("mine.py:MGU")
    whole, cut = (load_checkpoint(name, mine).state for name in ("whole", "run"))
    for a, b in zip(leaves(whole), leaves(cut), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [np.shape(leaf) for leaf in whole.params.layers[0]] == [(11, 10), (5, 10), (10,), (10,)]

    code, _, err = jaxrnn("page run --cell mine.py:MGU")
    assert (code, "a page computes the cells tanh, relu, gru, lstm" in err) == (2, True)
    code, out, _ = jaxrnn("sample run --length 30 --prompt 'the ' --cell mine.py:MGU")
    assert (code, out[:4], len(out)) == (0, "the ", 35)
    for command in ("sample run", "info run"):
        code, out, err = jaxrnn(command)
        assert (code, out, "--cell FILE.py:NAME" in err) == (2, "", True)
    assert "mine.py:MGU, 1 x 5" in jaxrnn("info run --cell mine.py:MGU")[1]

    # The config of the run runs it again, with the cell beside it.
    assert jaxrnn("train --config run/config.json --cell mine.py:MGU --steps 8 --run-dir again --quiet")[0] == 0
    np.testing.assert_array_equal(load_checkpoint("again", mine).state.params.Why, whole.params.Why)


@pytest.mark.slow
def test_a_run_with_a_cell_of_the_users_own_needs_it_again_and_takes_no_other(home):
    mine = TANH._replace(init_bias=(1.0,))
    model = ModelConfig(cell=mine, hidden_size=5)
    config = TrainConfig(
        corpus="text.txt", model=model, sequence_length=4, steps=4, chunk_length=4, sample_every=0, sample_length=8
    )
    list(fit(config, run_dir="run"))
    builtin = dataclasses.replace(config, model=dataclasses.replace(model, cell="tanh"))
    list(fit(builtin, run_dir="builtin"))

    assert load_fields("run")["config"].model.cell == "custom"
    assert load_checkpoint("run", mine).config.model.cell == mine
    longer = dataclasses.replace(config, steps=8)
    assert [report.step for report in fit(longer, run_dir="run", resume=True)] == [8]

    for call, message in [
        (lambda: load_checkpoint("run"), "user-defined, which no file holds; hand it over again"),
        (
            lambda: fit(dataclasses.replace(builtin, steps=8), run_dir="run", resume=True),
            "user-defined, which no file holds; hand it over again",
        ),
        (lambda: load_checkpoint("builtin", mine), "trained with the cell tanh; leave yours out"),
        (lambda: fit(config, run_dir="builtin", resume=True), "trained with the cell tanh; leave yours out"),
        (lambda: load_checkpoint("run", GRU), r"Wxh must be float32\[11, 15\], got float32\[11, 5\]"),
        (lambda: fit(from_json(TrainConfig, '{"model": {"cell": "custom"}}')), "hand it over again: ModelConfig"),
        (lambda: fit(dataclasses.replace(config, model=wrong_model(model))), "update of the cell fails with"),
    ]:
        with pytest.raises(JaxrnnError, match=message):
            call()


def wrong_model(model):
    return dataclasses.replace(model, cell=Cell(1, TANH.init_carry, lambda projected, recurrent: (projected,)))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("nowhere.py:MGU", r"can't read nowhere.py \(No such file"),
        (".:MGU", r"can't read . \(Is a directory"),
        ("mine.py:NONE", "mine.py has no NONE; give one of: TANH, MGU, NARROW"),
        ("mine.py:NUMBER", "NUMBER in mine.py must be a jaxrnn.Cell, got 3"),
        ("mine.py:Cell", "Cell in mine.py must be a jaxrnn.Cell, got <class"),
        ("mine.py:", "must be FILE.py:NAME, got 'mine.py:'"),
        (":MGU", "must be FILE.py:NAME, got ':MGU'"),
        ("fails.py:MGU", "fails.py fails at line 3: ZeroDivisionError: division by zero"),
        ("exits.py:MGU", "exits.py fails at line 2: SystemExit: 0"),
        ("text.txt:MGU", "text.txt fails: SyntaxError"),
    ],
)
def test_a_file_without_such_a_cell_is_told_in_a_line(home, jaxrnn, cell, message):
    before = sorted(home.iterdir())
    code, out, err = jaxrnn(f"train text.txt --run-dir new --cell {cell}")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert re.search(message, err), err
    assert sorted(home.iterdir()) == before


def test_a_cell_that_breaks_its_contract_is_told_before_anything_is_written(home, jaxrnn):
    code, out, err = jaxrnn(f"train text.txt {FLAGS} --run-dir new --cell mine.py:NARROW")
    assert (code, out) == (2, "")
    assert "must return a carry like the one that it gets, (float32[2, 5],), got (float32[2, 1],)" in err
    assert not (home / "new").exists()


@pytest.mark.slow
def test_a_user_defined_optimizer_trains_and_resumes_bit_for_bit_on_the_command_line(home, jaxrnn):
    train = f"train text.txt {FLAGS} --cell mine.py:MGU --optimizer optimizers.py:LION"
    assert jaxrnn(f"{train} --steps 8 --run-dir whole")[0] == 0
    assert jaxrnn(f"{train} --steps 4 --run-dir run")[0] == 0
    code, _, err = jaxrnn("train --resume --run-dir run --steps 8 --quiet --cell mine.py:MGU")
    assert (code, "--optimizer FILE.py:NAME" in err) == (2, True)
    resume = "train --resume --run-dir run --steps 8 --quiet --cell mine.py:MGU --optimizer optimizers.py:LION"
    assert jaxrnn(resume)[0] == 0
    cell, (_, optimizer) = load_cell("mine.py:MGU"), optimizer_of("optimizers.py:LION")
    whole, cut = (load_checkpoint(name, cell, optimizer=optimizer).state for name in ("whole", "run"))
    for a, b in zip(leaves(whole), leaves(cut), strict=True):
        np.testing.assert_array_equal(a, b)
    # Sampling and describing need no optimizer.
    assert jaxrnn("sample run --length 5 --cell mine.py:MGU")[0] == 0
    assert "user-defined optimizer" in jaxrnn("info run --cell mine.py:MGU")[1]


def test_a_user_defined_optimizer_is_named_custom_and_replaces_that_of_a_preset(home, jaxrnn):
    code, out, err = jaxrnn("train text.txt --preset quick --optimizer prints.py:LION --dry-run")
    assert err == "hello\n"  # what the file prints is no result
    assert code == 0
    config = from_json(TrainConfig, out)
    assert config.optimizer == OptimizerConfig(name="custom")
    assert config.model == preset("quick").model


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--optimizer optimizers.py:RATE", "RATE in optimizers.py must be an optax.GradientTransformation, got 0.001"),
        ("--optimizer optimizers.py:NONE", "optimizers.py has no NONE; give one of: LION"),
        ("--optimizer mine.py:MGU", "MGU in mine.py must be an optax.GradientTransformation"),
        (
            "--optimizer optimizers.py:LION --learning-rate 0.1",
            "learning_rate has no effect on a user-defined optimizer",
        ),
        ("--optimizer lion", "--optimizer must be adagrad, adam, adamw, rmsprop, sgd or FILE.py:NAME, got 'lion'"),
        ("--cell optimizers.py:LION", "LION in optimizers.py must be a jaxrnn.Cell"),
    ],
)
def test_a_file_without_such_an_optimizer_is_told_in_a_line(home, jaxrnn, flags, message):
    assert_refused(home, jaxrnn, f"train text.txt --run-dir new {flags}", 2, re.escape(message))

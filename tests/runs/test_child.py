"""Fine-tuning: a run that begins from another one, on another text."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from small_runs import assert_bit_identical, prose, run, tiny

from jaxrnn.config import ModelConfig, OptimizerConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.model import init_params
from jaxrnn.runs import begin_run
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.child import child_state
from jaxrnn.text import Corpus, Vocabulary

NEW = "!Zé猫"  # symbols that the first text lacks, before, between and after its own


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("children")
    (path / "first.txt").write_text(10 * prose(), "utf-8")
    (path / "other.txt").write_text(10 * prose(1).replace("is", "é!").replace("of", "猫Z"), "utf-8")
    return path


@pytest.fixture
def home(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


RULES = {
    "adagrad": OptimizerConfig(),
    "adam with a cosine": OptimizerConfig(name="adam", schedule="cosine", warmup_steps=2, weight_decay=0.1),
}


@pytest.fixture(scope="module", params=RULES.values(), ids=RULES)
def parent(request, place):
    run_dir = place / request.param.name
    run(tiny(place / "first.txt", optimizer=request.param, model=ModelConfig("gru", 8, 2)), run_dir)
    return load_checkpoint(run_dir)


def child_of(parent, **changes):
    vocabulary = Corpus.from_text(NEW + parent.vocabulary.symbols).vocabulary
    model = dataclasses.replace(parent.config.model, vocab_size=len(vocabulary))
    config = dataclasses.replace(parent.config, model=model, seed=7)
    return vocabulary, child_state(parent, config, vocabulary, **changes)


def rows(vocabulary, symbols):
    return np.array([vocabulary.symbols.index(symbol) for symbol in symbols])


def test_old_symbols_keep_their_bits_and_new_ones_are_small(parent):
    vocabulary, state = child_of(parent)
    old, new = rows(vocabulary, parent.vocabulary.symbols), rows(vocabulary, NEW)
    ours, theirs = state.params, parent.state.params
    np.testing.assert_array_equal(ours.layers[0].Wxh[old], theirs.layers[0].Wxh)
    np.testing.assert_array_equal(ours.Why[:, old], theirs.Why)
    np.testing.assert_array_equal(ours.by[old], theirs.by)
    jax.tree.map(np.testing.assert_array_equal, ours.layers[1], theirs.layers[1])
    for drawn in (ours.layers[0].Wxh[new], ours.Why[:, new]):
        assert 0 < np.abs(drawn).max() < 0.06
    assert not ours.by[new].any()
    assert int(state.step) == 0


def test_the_optimizers_memory_is_kept_but_fresh_for_new_symbols_and_for_the_schedule(parent):
    vocabulary, state = child_of(parent)
    old, new = rows(vocabulary, parent.vocabulary.symbols), rows(vocabulary, NEW)
    size, kept = len(vocabulary), 0
    for ours, theirs in zip(jax.tree.leaves(state.opt_state), jax.tree.leaves(parent.state.opt_state), strict=True):
        if size not in ours.shape:
            continue
        axis = ours.shape.index(size)
        np.testing.assert_array_equal(np.take(np.asarray(ours), old, axis), theirs)
        assert not np.take(np.asarray(ours), new, axis).any()
        kept += 1
    assert kept == 3 * (1 + (parent.config.optimizer.name == "adam"))  # Wxh, Why, by
    counts = [int(leaf) for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == ()]
    assert counts == ([24, 0] if parent.config.optimizer.name == "adam" else [])  # adam's, the schedule's


def test_a_fresh_memory_is_that_of_a_new_run(parent):
    _, state = child_of(parent, fresh_memory=True)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(state.opt_state))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"hidden_size": 9}}, "is of a network with hidden_size 8, not 9"),
        ({"optimizer": OptimizerConfig(name="sgd")}, "has the memory of the optimizer .*, not sgd; .*--fresh-memory"),
    ],
    ids=["size", "optimizer"],
)
def test_what_does_not_fit_is_refused(parent, changes, message):
    model = dataclasses.replace(parent.config.model, **changes.get("model", {}))
    config = dataclasses.replace(parent.config, **{**changes, "model": model})
    with pytest.raises(JaxrnnError, match=message):
        child_state(parent, config, parent.vocabulary)
    with pytest.raises(JaxrnnError, match=r"symbols=checkpoint\.vocabulary"):
        child_state(parent, parent.config, Vocabulary("ab"))
    with pytest.raises(JaxrnnError, match="a network with vocabulary characters, not bytes; leave vocabulary out"):
        child_state(parent, parent.config, Vocabulary("ab", "bytes"))


def test_a_child_names_its_parent_and_resumes_exactly(home, jaxrnn):
    assert jaxrnn("train first.txt --hidden-size 8 --steps 20 --quiet --run-dir parent")[0] == 0
    train = "train other.txt --from-run parent --quiet --checkpoint-every 10"
    assert jaxrnn(f"{train} --run-dir whole")[0] == 0
    assert jaxrnn(f"{train} --run-dir parts --steps 10")[0] == 0
    assert jaxrnn("train --run-dir parts --resume --steps 20 --quiet")[0] == 0
    whole, parts = load_checkpoint("whole"), load_checkpoint("parts")
    assert_bit_identical(parts.state, whole.state)
    file = home / "parent/checkpoints/step-0000000020.safetensors"
    assert parts.config.parent == whole.config.parent == f"{file}, step 20"
    assert f"parent: {file}, step 20\n" in jaxrnn("info parts")[1]
    assert json.loads(jaxrnn("info parts --json")[1])["config"]["parent"] == whole.config.parent
    assert set(whole.vocabulary.symbols) == set(prose() + (home / "other.txt").read_text("utf-8"))
    assert jaxrnn("evaluate parts --json")[0] == 0  # the corpus is read with the symbols of both
    assert jaxrnn("train other.txt --config parts/config.json --steps 5 --quiet --run-dir alone")[0] == 0
    assert load_checkpoint("alone").config.parent == ""


def test_a_child_begins_where_its_parent_is(home, jaxrnn):
    assert jaxrnn("train first.txt --hidden-size 16 --steps 400 --quiet --run-dir able")[0] == 0
    code, out, _ = jaxrnn("train first.txt --from-run able --steps 1 --quiet --json --run-dir next")
    assert code == 0
    parent = json.loads(jaxrnn("evaluate able --json")[1])["bits_per_character"]
    assert json.loads(out)["train_bits_per_character"] < parent + 1 < np.log2(len(set(prose())))


@pytest.mark.slow
def test_bytes_and_an_unknown_symbol_go_on(home, jaxrnn):
    for flags in ("--vocabulary bytes", "--min-count 30"):
        common = "--hidden-size 4 --steps 5 --quiet --overwrite"
        assert jaxrnn(f"train first.txt {flags} {common} --run-dir a")[0] == 0
        command = "train other.txt --from-run a --symbols ~ --steps 5 --quiet --overwrite --run-dir b"
        assert jaxrnn(command)[0] == 0
        a, b = load_checkpoint("a").vocabulary, load_checkpoint("b").vocabulary
        assert {*a.symbols, "~"} <= set(b.symbols)
        assert (b.kind, b.unknown) == (a.kind, "min" in flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--from-run first --preset quick", "--preset and --from-run both say"),
        ("--fresh-memory", "--fresh-memory needs --from-run"),
        ("--from-run nowhere", "no such run: nowhere"),
        ("--from-run first --vocabulary bytes", "is of a network of characters; leave --vocabulary out"),
    ],
)
def test_a_mistake_is_told_in_a_line(home, jaxrnn, flags, message):
    assert jaxrnn("train first.txt --hidden-size 4 --steps 2 --quiet --overwrite --run-dir first")[0] == 0
    code, out, err = jaxrnn(f"train other.txt {flags}")
    assert (code, out, message in err) == (2, "", True), err


def test_a_parent_is_not_overwritten_by_its_child(home, jaxrnn):
    assert jaxrnn("train first.txt --hidden-size 4 --steps 2 --quiet --run-dir kept")[0] == 0
    before = load_checkpoint("kept")
    code, _, err = jaxrnn("train other.txt --from-run kept --steps 5 --quiet --run-dir ./kept --overwrite")
    assert (code, "kept holds the checkpoint to begin from" in err) == (2, True)
    assert_bit_identical(load_checkpoint("kept").state, before.state)


@pytest.mark.parametrize(
    "change", [{"num_layers": 2}, {"cell": "lstm"}, {"hidden_size": 9}, {"vocab_size": 30}], ids=str
)
def test_parameters_of_another_network_are_refused_before_anything_is_written(home, tmp_path, change):
    corpus, config = Corpus.from_text(prose()), tiny(home / "first.txt")
    model = dataclasses.replace(config.model, **{"vocab_size": len(corpus.vocabulary), **change})
    with pytest.raises(JaxrnnError, match=r"parameters must be Params\(.*, got Params\("):
        begin_run(init_params(jax.random.key(0), model), config, corpus, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_in_python_a_checkpoint_begins_a_run(home, parent, tmp_path):
    text = (home / "other.txt").read_text("utf-8")
    corpus = Corpus.from_text(text, symbols=parent.vocabulary.symbols)
    config = dataclasses.replace(parent.config, model=dataclasses.replace(parent.config.model, vocab_size=None))
    config = begin_run(parent, config, corpus, tmp_path / "child", fresh_memory=True)
    assert config.parent == f"{parent.file.absolute()}, step 24"
    *_, last = run(config, tmp_path / "child", corpus=corpus, resume=True)
    assert last.finished
    assert load_checkpoint(tmp_path / "child").config.parent == config.parent

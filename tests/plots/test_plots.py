import io
import json
import shlex
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import plots
from jaxrnn.bench.timing import Result, Timing
from jaxrnn.cli import main
from jaxrnn.cli.bench_output import figure_of
from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.activations import activations
from jaxrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path
from jaxrnn.text import Vocabulary
from jaxrnn.training.step import init_train_state

TEXT = 'He said: "$5, no $6."\n'


def save_run(path, cell, text=TEXT):
    vocabulary = Vocabulary.of(text)
    model = ModelConfig(cell=cell, hidden_size=10, num_layers=2, vocab_size=len(vocabulary), init_scale=1.0)
    config = TrainConfig(model=model, sequence_length=10)
    (path / "checkpoints").mkdir(parents=True)
    state = init_train_state(jax.random.key(0), config)
    corpus = {"source": "verse.txt", "sha256": "0" * 64, "length": 1000}
    save_checkpoint(checkpoint_path(path / "checkpoints", 0), state, config, vocabulary, corpus=corpus)
    (path / "config.json").write_text(to_json(config))
    lines = [
        (0, 5.0, None, None),
        (10, 4.5, 3.0, 4.0),
        (20, 4.0, 2.0, None),
        (30, 3.5, 4.0, 3.0),
    ]
    names = ("step", *(f"{name}_bits_per_character" for name in ("train", "interval", "validation")))
    text = "".join(json.dumps(dict(zip(names, line, strict=True))) + "\n" for line in lines)
    (path / "metrics.jsonl").write_text(text)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory of runs; "tanh", "gru" and "lstm" are named after their cells."""
    path = tmp_path_factory.mktemp("runs")
    for cell in ("tanh", "gru", "lstm"):
        save_run(path / cell, cell)
    save_run(path / "bytes", "tanh", "é$$ñ😀\t\n".encode())
    return path


def drawn(figure):
    """Draw the figure; matplotlib's warnings are errors here."""
    figure.savefig(io.BytesIO(), dpi=40)
    return figure


def lines_of(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def test_loss_curves_are_those_of_the_metrics_in_bits_or_nats(runs):
    lines = lines_of(drawn(plots.loss_curves(runs / "gru", runs / "lstm")))
    assert {"gru", "lstm", "gru, validation", "lstm, validation"} <= set(lines)
    np.testing.assert_allclose(lines["gru"], [[0, 5], [10, 4.5], [20, 4], [30, 3.5]])
    np.testing.assert_allclose(lines["gru, validation"], [[10, 4], [30, 3]])
    lines = lines_of(plots.loss_curves(runs / "gru", unit="nats", labels=["mine"]))
    np.testing.assert_allclose(lines["mine"][:, 1], np.array([5, 4.5, 4, 3.5]) * np.log(2))
    intervals = next(values for label, values in lines.items() if label.startswith("_"))
    np.testing.assert_allclose(intervals[1:, 1], np.array([3, 2, 4]) * np.log(2))


def test_the_axis_says_bits_per_byte_where_all_runs_read_bytes(runs, tmp_path):
    run = shutil.copytree(runs / "bytes", tmp_path / "run")
    (run / "config.json").write_text(to_json(TrainConfig(vocabulary="bytes")))
    labels = [plots.loss_curves(run, *others, unit="nats").axes[0].get_ylabel() for others in ((), (runs / "gru",))]
    assert labels == ["nats per byte", "nats per character"]


def test_smoothing_is_an_exponential_mean_of_the_intervals():
    figure = plots.loss_curves({"step": [1, 2, 3], "interval_bits_per_character": [np.nan, 1.0, 4.0]}, smoothing=0.5)
    np.testing.assert_allclose(lines_of(figure)["run 1"][:, 1], [np.nan, 1, (0.5 * 1 + 4) / 1.5])


@pytest.mark.slow
def test_hidden_units_are_the_networks_states_wrapped_into_lines(runs):
    observed = plots.observe(runs / "lstm", TEXT)
    figure = drawn(plots.hidden_units(observed.layers[0]["c"], observed.text, units=[3, 7], columns=12))
    checkpoint = load_checkpoint(runs / "lstm")
    tokens = jnp.asarray(checkpoint.vocabulary.encode(TEXT), jnp.int32)
    expected = activations(checkpoint.state.params, tokens, checkpoint.config.model)[0]["c"][:, [3, 7]]
    first, second = (axes for axes in figure.axes if axes.images and axes.texts)
    np.testing.assert_allclose(first.images[0].get_array(), expected[:12].T, rtol=1e-6)
    np.testing.assert_allclose(second.images[0].get_array()[:, : len(TEXT) - 12], expected[12:].T, rtol=1e-6)
    assert second.images[0].get_array()[:, len(TEXT) - 12 :].mask.all()
    labels = "".join(text.get_text() for axes in (first, second) for text in axes.texts)
    assert labels == TEXT.replace(" ", "␣").replace("\n", "↵")
    assert [label.get_text() for label in first.get_yticklabels()] == ["3", "7"]
    named = plots.hidden_units(np.zeros((2, 2)), "ab", labels=["quotes", "words"])
    assert [label.get_text() for label in named.axes[0].get_yticklabels()] == ["quotes", "words"]


def test_by_default_the_units_are_those_that_vary_most_and_slowly():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=(40, 9)) / 9, np.repeat([[-1.0], [1.0]], 20, axis=0)], axis=1)
    figure = plots.hidden_units(values, "ab" * 20)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 8
    assert "9" in labels


@pytest.mark.slow
def test_next_characters_are_the_likeliest_in_order(runs):
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    figure = drawn(plots.next_characters(probabilities, "ab", "abc", top=2, columns=5))
    axes = figure.axes[0]
    cells = {(text.get_position()): text.get_text() for text in axes.texts}
    assert cells == {(0, -1): "a", (0, 0): "c", (0, 1): "b", (1, -1): "b", (1, 0): "a", (1, 1): "b"}
    np.testing.assert_allclose(axes.images[0].get_array()[:, :2], [[0.7, 0.5], [0.2, 0.3]])
    observed = plots.observe(runs / "bytes", "é$$\t")
    assert observed.text == "é$$\t".encode().decode("latin-1")
    drawn(plots.next_characters(observed.probabilities, observed.text, observed.symbols, columns=3))
    few = drawn(plots.next_characters(np.full((2, 2), 0.5), "ab", "ab"))
    assert len(few.axes[0].texts) == 2 * (2 + 1)  # two rows below the text, as there are two characters


@pytest.mark.slow
def test_gate_saturation_is_the_fraction_of_the_time_at_either_end(runs):
    gates = {name: np.full((4, 2), 0.5) for name in "ifo"}
    gates["f"] = np.array([[0.05, 0.95], [0.95, 0.95], [0.5, 0.95], [0.05, 0.99]])
    figure = drawn(plots.gate_saturation([gates]))
    assert [axes.get_title() for axes in figure.axes] == ["input gate (i)", "forget gate (f)", "output gate (o)"]
    assert figure.axes[1].collections[0].get_offsets().tolist() == [[0.25, 0.5], [1, 0]]
    assert len(drawn(plots.gate_saturation(plots.observe(runs / "gru", TEXT).layers)).axes) == 2
    with pytest.raises(JaxrnnError, match="no gates that could saturate"):
        plots.gate_saturation(plots.observe(load_checkpoint(runs / "tanh"), TEXT).layers)


def test_the_benchmarks_charts_are_figures_too():
    seconds = {f"{name} {size}": Timing.of([1e-6 * size]) for name in ("H", "T") for size in (2, 4)}
    figure = drawn(figure_of("scaling", Result(seconds, characters=25), "this machine"))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["H", "T"]
    bars = drawn(figure_of("step", Result({"jit": Timing.of([1e-4]), "NumPy": Timing.of([2.0])}), ""))
    assert [text.get_text() for text in bars.axes[0].texts] == ["100", "2,000,000"]
    assert "this machine" in figure.get_suptitle()


@pytest.mark.parametrize("kind", ["loss", "units", "probabilities", "gates"])
@pytest.mark.slow
def test_the_command_writes_the_figure(kind, runs, tmp_path, capsys):
    out = tmp_path / f"figure.{'svg' if kind == 'gates' else 'png'}"
    assert main(shlex.split(f"plot {runs}/gru --kind {kind} --out {out}")) == 0
    assert capsys.readouterr().out == f"plot: {out}\n"
    assert out.read_bytes().startswith((b"\x89PNG", b"<?xml"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("gru --out figure.pdf", "--out writes .png or .svg"),
        ("--out figure.png", "RUN"),
        ("gru lstm --kind units --out figure.png", "draws a single run, got 2"),
        ("gru --kind units --units 10 --out figure.png", r"units must be some of 0 to 9, got \[10\]"),
        ("gru --kind units --layer 2 --out figure.png", "no layer 2; the network has 2"),
        ("gru --kind units --text '' --out figure.png", "the text is empty"),
        ("gru --kind units --text xyz --out figure.png", "never seen x .*, y .*, z "),
        ("gru --kind units --columns 0 --out figure.png", "columns must be at least 1"),
        ("gru --kind units --columns 2 --out figure.png", "at most 100 lines of text, got 160; .* more columns"),
        ("gru --kind units --columns 100000 --out figure.png", "columns must be at most 1000, got 100000"),
        ("gru --layer 9 --out figure.png", "--layer is for --kind units, not for loss; leave it out"),
        ("gru --from best --out figure.png", "--from is for --kind units and probabilities and gates, not for loss"),
        ("gru --kind gates --columns 5 --out figure.png", "--columns is for --kind units and probabilities, not for g"),
        ("gru --kind units --unit nats --out figure.png", "--unit is for --kind loss, not for units"),
        ("gru --smoothing 1 --out figure.png", "smoothing must be from 0 to below 1"),
        ("nowhere --out figure.png", "nowhere has no metrics to read"),
    ],
)
def test_what_cannot_be_drawn_is_refused(flags, message, runs, monkeypatch, capsys):
    import re

    monkeypatch.chdir(runs)
    assert main(["plot", *shlex.split(flags)]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (runs / "figure.png").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.hidden_units(np.zeros((3, 2)), "ab"), "text must be the 3 characters"),
        (lambda: plots.hidden_units(np.zeros((2, 2)), "ab", labels=["a"]), "labels must be the names of the 2 units"),
        (lambda: plots.next_characters(np.zeros((2, 3)), "ab", "ab"), "symbols must be the 3 characters"),
        (lambda: plots.loss_curves({"step": [1]}, unit="hartley"), "unit must be bits or nats"),
        (lambda: plots.loss_curves({"step": [1]}, labels=["a", "b"]), "labels must be as many as the runs, 1, got 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call, message):
    with pytest.raises(JaxrnnError, match=message):
        call()


@pytest.mark.slow
def test_matplotlib_is_imported_when_a_figure_is_drawn_and_pyplot_never():
    code = (
        "import sys; from jaxrnn import plots; assert 'matplotlib' not in sys.modules; import numpy as np;"
        "plots.hidden_units(np.zeros((2, 1)), 'ab'); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Weights for PyTorch and from it; with real modules where torch is installed, with files made by NumPy always."""

import dataclasses
import json
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.cells import CELLS, LSTM
from jaxrnn.network.model import forward, init_params, initial_carry
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.torch_weights import load_weights, save_weights
from jaxrnn.text import Vocabulary

SYMBOLS = "\n abcdé"
V, H = len(SYMBOLS), 4
VOCABULARY = Vocabulary(SYMBOLS)
GATES = {name: cell.gates for name, cell in CELLS.items()}
TOKENS = np.random.default_rng(0).integers(0, V, (9, 2))


def random_params(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), config))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def state_dict(cell="gru", num_layers=1, dtype=np.float32, rnn="rnn.", linear="readout."):
    """What torch calls the weights of a recurrent module and a linear one, and how it lays them out."""
    rng, width, tensors = np.random.default_rng(1), GATES[cell] * H, {}
    for index in range(num_layers):
        shapes = {"weight_ih": (width, H if index else V), "weight_hh": (width, H), "bias_ih": width, "bias_hh": width}
        tensors |= {f"{rnn}{name}_l{index}": rng.normal(size=shape) for name, shape in shapes.items()}
    tensors |= {f"{linear}weight": rng.normal(size=(V, H)), f"{linear}bias": rng.normal(size=V)}
    return {name: tensor.astype(dtype) for name, tensor in tensors.items()}


def write(path, tensors, metadata=None):
    path.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata))
    return path


def logits(params, config):
    run = jax.jit(lambda params, carry: forward(params, carry, jnp.asarray(TOKENS), config)[0])
    return np.asarray(run(jax.tree.map(jnp.asarray, params), initial_carry(TOKENS.shape[1], config)))


def module(torch, cell, num_layers, dtype, embedding=None):
    simple = partial(torch.nn.RNN, nonlinearity=cell)
    kind = {"tanh": simple, "relu": simple, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            if embedding:
                self.encoder = torch.nn.Embedding(V, embedding)
            self.rnn = kind(embedding or V, H, num_layers)
            self.readout = torch.nn.Linear(H, V)
            self.to(dtype)

        def forward(self, tokens):
            x = self.encoder(tokens) if embedding else torch.nn.functional.one_hot(tokens, V).to(dtype)
            return self.readout(self.rnn(x)[0])

    return Network()


# ---- out and in ----------------------------------------------------------------------------------------------------


def test_weights_of_another_network_or_vocabulary_are_not_written(tmp_path):
    config = ModelConfig(cell="gru", hidden_size=H, vocab_size=V)
    params = random_params(config)
    for wrong in (dataclasses.replace(config, cell="lstm"), dataclasses.replace(config, num_layers=2)):
        with pytest.raises(JaxrnnError, match=r"parameters must be Params\(.*, got Params\("):
            save_weights(tmp_path / "w", params, wrong, VOCABULARY)
    with pytest.raises(JaxrnnError, match=r"for this network and vocabulary"):
        save_weights(tmp_path / "w", params, config, Vocabulary("ab"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("num_layers", "dtype"), [(1, "float32"), (3, "float64")])
def test_what_was_exported_is_imported_bit_for_bit(tmp_path, x64, cell, num_layers, dtype):
    config = ModelConfig(cell=cell, hidden_size=H, num_layers=num_layers, vocab_size=V, dtype=dtype)
    params = random_params(config)
    save_weights(tmp_path / "w", params, config, VOCABULARY)
    got = load_weights(tmp_path / "w")
    assert (got.model, got.vocabulary) == (config, VOCABULARY)
    assert jax.tree.structure(got.params) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(got.params), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_names_and_shapes_are_those_of_a_torch_state_dict(tmp_path, cell):
    config = ModelConfig(cell=cell, hidden_size=H, num_layers=2, vocab_size=V)
    params = random_params(config)
    save_weights(tmp_path / "w", params, config, VOCABULARY)
    written = safetensors.numpy.load_file(tmp_path / "w")
    assert {name: t.shape for name, t in written.items()} == {n: t.shape for n, t in state_dict(cell, 2).items()}
    np.testing.assert_array_equal(written["rnn.weight_ih_l1"], params.layers[1].Wxh.T)
    np.testing.assert_array_equal(written["rnn.bias_hh_l1"].any(), cell == "gru")


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_torch_module_loads_what_was_exported_and_computes_the_same(tmp_path, x64, cell, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    config = ModelConfig(cell=cell, hidden_size=H, num_layers=2, vocab_size=V, dtype=dtype)
    params = random_params(config)
    save_weights(tmp_path / "w", params, config, VOCABULARY)
    theirs = module(torch, cell, 2, getattr(torch, dtype))
    theirs.load_state_dict(load_file(tmp_path / "w"), strict=True)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    expected = theirs(torch.tensor(TOKENS)).detach().numpy()
    np.testing.assert_allclose(logits(params, config), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("num_layers", "embedding"), [(2, None), (1, 3)], ids=["two layers", "an embedding"])
def test_a_torch_modules_weights_are_imported_and_compute_the_same(tmp_path, x64, cell, num_layers, embedding):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    theirs = module(torch, cell, num_layers, torch.float64, embedding)
    save_file(theirs.state_dict(), tmp_path / "w")
    got = load_weights(tmp_path / "w", cell)
    assert got.model == ModelConfig(cell=cell, hidden_size=H, num_layers=num_layers, vocab_size=V, dtype="float64")
    assert got.vocabulary is None
    expected = theirs(torch.tensor(TOKENS)).detach().numpy()
    np.testing.assert_allclose(logits(got.params, got.model), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_two_biases_are_added_where_the_cell_has_one_and_kept_where_it_has_two(tmp_path, cell):
    tensors = state_dict(cell)
    (layer,) = load_weights(write(tmp_path / "w", tensors), cell).params.layers
    ih, hh = tensors["rnn.bias_ih_l0"], tensors["rnn.bias_hh_l0"]
    np.testing.assert_array_equal(layer.bh, ih if cell == "gru" else ih + hh)
    assert layer.bhh is None if cell != "gru" else (layer.bhh == hh).all()


@pytest.mark.parametrize(("rnn", "linear"), [("", "fc."), ("lstm.", "decoder."), ("model.rnn.", "head.out.")])
def test_what_the_two_parts_are_called_does_not_matter(tmp_path, rnn, linear):
    named = load_weights(write(tmp_path / "named", state_dict("lstm", 2, rnn=rnn, linear=linear)))
    jax.tree.map(
        np.testing.assert_array_equal, named.params, load_weights(write(tmp_path / "w", state_dict("lstm", 2))).params
    )


def test_biases_that_are_not_there_are_zero(tmp_path):
    tensors = {name: tensor for name, tensor in state_dict("gru", 2).items() if "bias" not in name}
    params = load_weights(write(tmp_path / "w", tensors)).params
    embedded = {**tensors, "rnn.weight_ih_l0": tensors["rnn.weight_ih_l0"][:, :3], "embedding.weight": np.eye(V, 3)}
    bottom = load_weights(write(tmp_path / "e", embedded)).params.layers[0].Wxh
    np.testing.assert_array_equal(bottom, params.layers[0].Wxh * (np.arange(V) < 3)[:, None])
    assert not any(leaf.any() for leaf in (params.by, *(b for layer in params.layers for b in (layer.bh, layer.bhh))))


def test_symbols_in_an_order_of_their_own_are_sorted_with_their_weights(tmp_path):
    shuffled = "".join(np.random.default_rng(3).permutation(list(SYMBOLS)))
    tensors = state_dict()
    metadata = {"vocabulary": json.dumps({"symbols": shuffled})}
    got = load_weights(write(tmp_path / "w", tensors, metadata))
    assert got.vocabulary == VOCABULARY
    for theirs, symbol in enumerate(shuffled):
        ours = SYMBOLS.index(symbol)
        np.testing.assert_array_equal(got.params.layers[0].Wxh[ours], tensors["rnn.weight_ih_l0"][:, theirs])
        np.testing.assert_array_equal(got.params.Why[:, ours], tensors["readout.weight"][theirs])
        assert got.params.by[ours] == tensors["readout.bias"][theirs]


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32], ids=["float16", "bfloat16", "float32"])
def test_weights_are_widened_before_they_are_combined(tmp_path, dtype):
    rng, scale = np.random.default_rng(4), 3e4  # the product of two exceeds the largest float16, 65504
    tensors = {name: tensor for name, tensor in state_dict("lstm").items() if name != "rnn.weight_ih_l0"}
    tensors |= {
        "rnn.weight_ih_l0": scale * rng.normal(size=(4 * H, 3)),
        "encoder.weight": scale * rng.normal(size=(V, 3)),
    }
    tensors |= {f"rnn.bias_{name}_l0": scale * rng.uniform(1, 2, 4 * H) for name in ("ih", "hh")}
    tensors = {name: tensor.clip(-6e4, 6e4).astype(dtype) for name, tensor in tensors.items()}
    kind = {np.float16: "float16", jnp.bfloat16: "bfloat16", np.float32: "float32"}[dtype]
    views = {name: {"dtype": kind, "shape": t.shape, "data": t.tobytes()} for name, t in tensors.items()}
    (tmp_path / "w").write_bytes(safetensors.serialize(views))
    weights = load_weights(tmp_path / "w")
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    (layer,) = weights.params.layers
    assert (weights.model.dtype, layer.Wxh.dtype) == ("float32", np.float32)
    expected = wide["encoder.weight"] @ wide["rnn.weight_ih_l0"].T
    np.testing.assert_allclose(layer.Wxh, expected, rtol=1e-7)
    np.testing.assert_allclose(layer.bh, wide["rnn.bias_ih_l0"] + wide["rnn.bias_hh_l0"], rtol=1e-7)


@pytest.mark.parametrize("combined", ["product", "sum"])
def test_weights_whose_product_or_sum_exceeds_their_type_are_refused(tmp_path, combined):
    large = np.full((4 * H, V), 2e38, np.float32)
    tensors = state_dict("lstm")
    if combined == "product":
        tensors |= {"rnn.weight_ih_l0": large, "encoder.weight": np.ones((V, V), np.float32)}
    else:
        tensors |= {"rnn.bias_ih_l0": large[:, 0], "rnn.bias_hh_l0": large[:, 0]}
    with pytest.raises(JaxrnnError, match="w: sums or products of its weights are too large for float32; save them as"):
        load_weights(write(tmp_path / "w", tensors))
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    assert load_weights(write(tmp_path / "w", wide)).model.dtype == "float64"


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_nonlinearity_of_an_rnn_is_asked_for_unless_the_metadata_tell_it(tmp_path, nonlinearity):
    tensors = state_dict(nonlinearity)
    with pytest.raises(JaxrnnError, match=r"does not say the nonlinearity .* --nonlinearity tanh"):
        load_weights(write(tmp_path / "w", tensors))
    asked = load_weights(tmp_path / "w", nonlinearity)
    told = load_weights(write(tmp_path / "w", tensors, {"nonlinearity": nonlinearity}))
    assert asked.model == told.model == ModelConfig(cell=nonlinearity, hidden_size=H, vocab_size=V)


def test_the_weights_of_a_cell_of_the_users_own_go_out_and_in_with_the_cell(tmp_path):
    mine = LSTM._replace(gates=2, init_bias=(), update=lambda projected, recurrent, carry: carry)
    config = ModelConfig(cell=mine, hidden_size=H, vocab_size=V)
    params = random_params(config)
    save_weights(tmp_path / "w", params, config, VOCABULARY)
    got = load_weights(tmp_path / "w", mine)
    assert got.model == config
    jax.tree.map(np.testing.assert_array_equal, got.params, params)
    with pytest.raises(JaxrnnError, match="hand it over again"):
        load_weights(tmp_path / "w")


# ---- what can't be used --------------------------------------------------------------------------------------------


def changed(**changes):
    """The state dict of a GRU with some tensors replaced, or taken out."""
    tensors = state_dict("gru", 2) | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


ALPHABET = json.dumps({"symbols": SYMBOLS})


@pytest.mark.parametrize(
    ("tensors", "metadata", "cell", "message"),
    [
        (changed(rnn__weight_hh_l1=zeros(12, 5)), None, None, r"rnn.weight_hh_l1 must be \[12, 4\], got \[12, 5\]"),
        (changed(rnn__weight_ih_l0=zeros(11, V)), None, None, r"weight_ih_l0 must be \[12, 7\], got \[11, 7\]"),
        (changed(rnn__weight_ih_l1=zeros(12, V)), None, None, r"weight_ih_l1 must be \[12, 4\], got \[12, 7\]"),
        (changed(rnn__bias_hh_l0=zeros(12, 1)), None, None, r"bias_hh_l0 must be \[12\], got \[12, 1\]"),
        (changed(readout__weight=zeros(V, 5)), None, None, r"readout.weight must be \[7, 4\], got \[7, 5\]"),
        (changed(readout__weight=zeros(V + 1, H)), None, None, r"readout.bias must be \[8\], got \[7\]"),
        (changed(readout__bias=zeros(V + 1)), None, None, r"readout.bias must be \[7\], got \[8\]"),
        (changed(rnn__weight_hh_l0=zeros(12)), None, None, r"weight_hh_l0 is \[12\], of the cell unknown; pass its"),
        (changed(rnn__weight_ih_l0=None), None, None, r"lacks rnn.weight_ih_l0, which must be \[12, 7\]"),
        (changed(rnn__weight_hh_l0=None), None, None, r"lacks rnn.weight_hh_l0, which must be \[12, 4\]"),
        (changed(rnn__bias_hh_l1=None), None, None, r"lacks rnn.bias_hh_l1, which must be \[12\]"),
        (changed(rnn__weight_hh_l0=None, rnn__weight_hh_l1=None), None, None, "one recurrent part .* found none in"),
        ({"params.layers.0.Wxh": zeros(3, 3)}, None, None, "found none in params.layers.0.Wxh"),
        (changed() | state_dict("lstm", rnn="b."), None, None, "one recurrent part .* found 2: 'b.', 'rnn.'"),
        (changed(readout__weight=None), None, None, r"one linear layer \[V, 4\] .* found none in"),
        (changed(out__weight=zeros(V, H), out__bias=zeros(V)), None, None, "found out.weight, readout.weight"),
        (changed(norm__scale=zeros(H)), None, None, "the model lacks: norm.scale"),
        (changed(rnn__weight_ih_l0_reverse=zeros(12, V)), None, None, "module with bidirectional=True"),
        (changed(rnn__weight_hr_l0=zeros(2, H)), None, None, "module with proj_size, which no network here has"),
        (changed(seen__count=zeros(1, dtype=np.int64)), None, None, "seen.count is of type I64; expected one of F16"),
        (changed(readout__bias=np.full(V, np.nan, np.float32)), None, None, "readout.bias has numbers that are not"),
        (changed(), None, "lstm", r"rnn.weight_hh_l0 must be \[16, 4\], got \[12, 4\]"),
        (changed(), {"cell": "tanh"}, None, r"rnn.weight_hh_l0 must be \[4, 4\], got \[12, 4\]"),
        (changed(), {"cell": "elman"}, None, "the cell elman; pass its cell"),
        (
            changed(rnn__weight_hh_l0=zeros(8, H)),
            None,
            None,
            r"weight_hh_l0 is \[8, 4\], of the cell unknown",
        ),
        (changed(), {"vocabulary": "abc"}, None, 'must be JSON such as {"symbols": "abc"}'),
        (changed(), {"vocabulary": '{"letters": "abc"}'}, None, 'must be JSON such as {"symbols": "abc"}'),
        (changed(), {"vocabulary": '{"symbols": "abc"}'}, None, "weights for 7 symbols, .* name 3 distinct ones"),
        (changed(), {"vocabulary": '{"symbols": "abcdefa"}'}, None, "weights for 7 symbols, .* name 6 distinct ones"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_weights_that_do_not_fit_are_named_with_both_shapes(tmp_path, tensors, metadata, cell, message):
    with pytest.raises(JaxrnnError, match=message) as caught:
        load_weights(write(tmp_path / "w", tensors, metadata), cell)
    assert str(tmp_path / "w") in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a .pt file", bytes(100)], ids=["empty", "zip", "0"])
def test_what_is_no_safetensors_file_is_told_with_how_to_make_one(tmp_path, data):
    with pytest.raises(JaxrnnError, match=r"no such file: .*w; give one of `jaxrnn export`"):
        load_weights(tmp_path / "w")
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(JaxrnnError, match=r"w is not a safetensors file .*save_file\(module.state_dict\(\), FILE\)"):
        load_weights(tmp_path / "w")


# ---- the commands --------------------------------------------------------------------------------------------------

TEXT = SYMBOLS * 20
TINY = TrainConfig(
    model=ModelConfig(cell="gru", hidden_size=H, num_layers=2),
    sequence_length=5,
    steps=4,
    chunk_length=4,
    sample_every=0,
    sample_length=8,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text(TEXT.replace("d", "z"))
    (tmp_path / "short.txt").write_text(SYMBOLS)
    (tmp_path / "tiny.json").write_text(to_json(TINY))
    write(tmp_path / "gru.safetensors", state_dict("gru", 2))
    write(tmp_path / "named.safetensors", state_dict("gru", 2), {"vocabulary": ALPHABET})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_run_is_made_of_weights_sampled_from_trained_on_and_exported_again(home, jaxrnn):
    code, out, err = jaxrnn("import gru.safetensors --corpus text.txt --run-dir run --config tiny.json")
    assert (code, err) == (0, "")
    assert re.match(r"gru, 2 x 4, 7 symbols\nCorpus\(text: 140 characters, .*\)\nrun: run\n", out)
    begun = load_checkpoint("run")
    assert (int(begun.state.step), begun.vocabulary) == (0, VOCABULARY)
    jax.tree.map(np.testing.assert_array_equal, begun.state.params, load_weights("gru.safetensors").params)

    assert jaxrnn("export run --out again.safetensors")[:2] == (0, "weights: again.safetensors\n")
    written, again = (safetensors.numpy.load_file(f"{name}.safetensors") for name in ("gru", "again"))
    assert written.keys() == again.keys()
    for name, tensor in written.items():
        np.testing.assert_array_equal(again[name], tensor, err_msg=name)

    code, out, _ = jaxrnn("page run --out page.html")
    assert (code, out[:15]) == (0, "page: page.html")
    code, out, _ = jaxrnn("sample run --length 20 --prompt ab")
    assert (code, out[:2], len(out)) == (0, "ab", 23)
    assert jaxrnn("train --resume --run-dir run --quiet")[0] == 0
    trained = load_checkpoint("run")
    assert int(trained.state.step) == 4
    assert (np.asarray(trained.state.params.by) != begun.state.params.by).any()


@pytest.mark.slow
def test_weights_of_a_run_with_more_symbols_than_its_text_come_back_with_that_text(home, jaxrnn):
    assert jaxrnn("train text.txt --config tiny.json --symbols é~ --quiet --run-dir more")[0] == 0
    assert jaxrnn("export more --out more.safetensors")[0] == 0
    assert jaxrnn("import more.safetensors --corpus text.txt --run-dir run")[0] == 0
    assert load_checkpoint("run").vocabulary == load_checkpoint("more").vocabulary
    assert jaxrnn("train --resume --run-dir run --steps 2 --quiet")[0] == 0


@pytest.mark.slow
def test_weights_of_a_run_with_an_unknown_symbol_come_back_with_its_config(home, jaxrnn):
    (home / "rare.txt").write_text(TEXT + "xyz")
    assert jaxrnn("train rare.txt --config tiny.json --min-count 2 --quiet --run-dir folded")[0] == 0
    assert jaxrnn("export folded --out folded.safetensors")[0] == 0
    code, _, err = jaxrnn("import folded.safetensors --corpus rare.txt --run-dir run")
    assert (code, "unknown symbol for rare ones; give its --min-count" in err) == (2, True)
    assert jaxrnn("import folded.safetensors --corpus rare.txt --run-dir run --config folded/config.json")[0] == 0
    assert load_checkpoint("run").vocabulary == load_checkpoint("folded").vocabulary


def test_the_text_of_weights_is_read_as_the_flags_say(home, jaxrnn):
    (home / "windows.txt").write_bytes(TEXT.replace("\n", "\r\n").encode("utf-16"))
    command = "import gru.safetensors --corpus windows.txt --run-dir run --encoding utf-16"
    assert "--normalize newlines" in jaxrnn(command)[2]
    assert jaxrnn(f"{command} --normalize newlines")[0] == 0
    assert load_checkpoint("run").vocabulary == VOCABULARY
    assert load_checkpoint("run").config.encoding == "utf-16"


def test_a_run_has_a_directory_of_its_own_and_the_metadata_of_an_export(home, jaxrnn):
    assert jaxrnn("import named.safetensors --corpus text.txt")[0] == 0
    assert load_checkpoint("runs/text-1").config.model.num_layers == 2
    assert jaxrnn("export runs/text-1 --out out.safetensors")[0] == 0
    with safetensors.safe_open("out.safetensors", framework="numpy") as file:
        assert file.metadata()["cell"] == "gru"
        assert Vocabulary(**json.loads(file.metadata()["vocabulary"])) == VOCABULARY


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("import gru.safetensors --corpus text.txt --run-dir run", "run holds a run already"),
        ("import gru.safetensors --corpus text.txt --run-dir run --config no.json", "can't read no.json"),
        ("import gru.safetensors --corpus text.txt --cell lstm", r"weight_hh_l0 must be \[16, 4\], got \[12, 4\]"),
        (
            "import gru.safetensors --corpus text.txt --cell GRU",
            "--cell must be tanh, relu, gru, lstm or FILE.py.*'GRU'",
        ),
        ("import gru.safetensors --corpus text.txt --cell no.py:MINE", "can't read no.py"),
        ("import gru.safetensors --corpus python-docs", r"for 7 symbols, and python-docs has \d+ distinct ones"),
        ("import gru.safetensors --corpus short.txt", "give a longer text"),
        (
            "import named.safetensors --corpus other.txt",
            "does not know 'z', which other has; import it",
        ),
        ("import text.txt --corpus text.txt", "text.txt is not a safetensors file"),
        ("export run --out gru.safetensors", "gru.safetensors exists already; .* --overwrite"),
        ("export nowhere --out new.safetensors", "no such run: nowhere"),
    ],
)
def test_a_mistake_is_told_in_a_line_or_two_and_nothing_is_written(home, jaxrnn, command, message):
    assert jaxrnn("import gru.safetensors --corpus text.txt --run-dir run --config tiny.json")[0] == 0
    before = {path: path.is_file() and path.read_bytes() for path in home.rglob("*")}
    code, out, err = jaxrnn(command)
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert len(err.splitlines()) <= 2
    assert {path: path.is_file() and path.read_bytes() for path in home.rglob("*")} == before


@pytest.mark.parametrize(("command", "flag"), [("import gru.safetensors", "--corpus"), ("export run", "--out")])
def test_a_flag_that_is_missing_is_named(home, jaxrnn, command, flag):
    code, out, err = jaxrnn(command)
    assert (code, out) == (2, "")
    assert flag in err


def test_overwrite_replaces_a_file_and_a_run(home, jaxrnn):
    flags = "--corpus text.txt --run-dir run --config tiny.json --overwrite"
    assert jaxrnn(f"import gru.safetensors {flags}")[0] == 0
    write(home / "tanh.safetensors", state_dict("tanh"))
    code, out, err = jaxrnn(f"import tanh.safetensors {flags}")
    assert (code, out, "--nonlinearity tanh" in err) == (2, "", True)
    assert jaxrnn(f"import tanh.safetensors {flags} --nonlinearity tanh")[0] == 0
    assert load_checkpoint("run").config.model.cell == "tanh"
    assert jaxrnn("export run --out gru.safetensors --overwrite")[0] == 0
    assert load_weights("gru.safetensors").model.cell == "tanh"


def test_a_file_that_cannot_be_written_is_named_and_exit_code_1(home, jaxrnn):
    assert jaxrnn("import gru.safetensors --corpus text.txt --run-dir run --config tiny.json")[0] == 0
    code, out, err = jaxrnn("export run --out no/such/folder.safetensors")
    assert (code, out, "can't write no/such/folder.safetensors" in err) == (1, "", True)

import errno
import json
import os
import re
import resource
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from arrays import assert_same_bits

from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError, StorageError, UnusableError
from jaxrnn.network.cells import CELLS
from jaxrnn.runs import checkpoint, checkpoint_files
from jaxrnn.runs.checkpoint import load_checkpoint, load_fields, read_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path, list_checkpoints
from jaxrnn.text import Vocabulary, batches
from jaxrnn.training.jitted import make_train_step
from jaxrnn.training.step import init_train_state

VOCABULARY = Vocabulary("\0\n aé日😀\U0010ffff")
CONFIG = TrainConfig(model=ModelConfig(hidden_size=16, vocab_size=len(VOCABULARY)), prompt="\udcff", sequence_length=5)
CORPUS = {"source": "/text/naïve \udcff.txt", "sha256": "0" * 64, "length": 1234}


def random_state(config, step=0, seed=0, trainable=False):
    """A state of random bits (every kind of number, the NaNs, infinities and subnormals too), or a trainable one."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(rng.integers(0, 2**32, 2, np.uint32)))
        if trainable:
            return jnp.asarray(0.01 * rng.random(leaf.shape), leaf.dtype)
        return jnp.asarray(np.frombuffer(rng.bytes(leaf.size * leaf.dtype.itemsize), leaf.dtype).reshape(leaf.shape))

    template = jax.eval_shape(lambda: init_train_state(jax.random.key(0), config))
    return jax.tree.map(draw, template)._replace(step=jnp.int32(step))


def save(path, step=0, config=CONFIG, **options):
    state = random_state(config, step, seed=step)
    save_checkpoint(path, state, config, VOCABULARY, corpus=CORPUS, **options)
    return state


@pytest.fixture
def run(tmp_path):
    """A run directory with two checkpoints, after 1 and after 2 steps."""
    (tmp_path / "checkpoints").mkdir()
    for step in (1, 2):
        save(checkpoint_path(tmp_path / "checkpoints", step), step, replace(CONFIG, seed=step))
    return tmp_path


@pytest.fixture
def newest(run):
    return list_checkpoints(run / "checkpoints")[0]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("num_layers", "batch_size"), [(1, 1), (3, 4)])
def test_a_checkpoint_gives_back_every_bit(tmp_path, request, cell, dtype, num_layers, batch_size):
    if dtype == "float64":
        request.getfixturevalue("x64")
    model = ModelConfig(cell=cell, hidden_size=7, num_layers=num_layers, dtype=dtype, vocab_size=len(VOCABULARY))
    optimizer = OptimizerConfig(learning_rate=0.1 + 1e-17)
    config = TrainConfig(model=model, optimizer=optimizer, batch_size=batch_size, corpus="é \udcff", prompt="\0")
    path = tmp_path / "ünï cödé"
    state = save(path, 7, config, counters={"wraps": 3, "characters": 2**63})
    loaded = load_checkpoint(path)
    assert_same_bits(loaded.state, state)
    assert (loaded.config, loaded.vocabulary, loaded.corpus) == (config, VOCABULARY, CORPUS)
    assert loaded.counters == {"step": 7, "wraps": 3, "characters": 2**63}
    assert loaded.computed_by["jax"] == jax.__version__
    assert load_fields(path)["config"] == config


def test_a_vocabulary_of_bytes_comes_back_as_one(tmp_path):
    vocabulary = Vocabulary("".join(map(chr, range(256))), "bytes")
    config = replace(CONFIG, model=replace(CONFIG.model, vocab_size=256))
    save_checkpoint(tmp_path / "x", random_state(config), config, vocabulary, corpus=CORPUS)
    assert load_checkpoint(tmp_path / "x").vocabulary == vocabulary


def test_training_goes_on_from_a_checkpoint_as_if_never_stopped(tmp_path):
    tokens = np.random.default_rng(0).integers(0, len(VOCABULARY), 100)
    step = make_train_step(CONFIG)

    def train(state, steps):
        for index in steps:
            state, _ = step(state, jax.tree.map(lambda entry: entry[0], batches(tokens, index, 1, CONFIG)))
        return state

    state = train(random_state(CONFIG, trainable=True), range(3))
    save_checkpoint(tmp_path / "x", state, CONFIG, VOCABULARY, corpus=CORPUS)
    loaded = load_checkpoint(tmp_path / "x").state
    assert int(loaded.step) == 3
    assert_same_bits(train(loaded, range(3, 6)), train(state, range(3, 6)))


def test_a_float64_checkpoint_says_what_it_needs(tmp_path):
    config = TrainConfig(model=ModelConfig(dtype="float64", vocab_size=len(VOCABULARY)))
    with jax.enable_x64(True):
        save(tmp_path / "x", 1, config)
    assert load_fields(tmp_path / "x")["config"].model.dtype == "float64"
    with pytest.raises(JaxrnnError, match="jax_enable_x64"):
        load_checkpoint(tmp_path / "x")


@pytest.mark.parametrize("steps", [[1, 2, 3], [3, 2, 1], [9, 10, 8], [0], [99_999, 100_000, 2**31 - 1]])
def test_of_a_run_directory_the_checkpoint_with_most_steps_is_taken(tmp_path, steps):
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    for step in steps:
        save(checkpoint_path(directory, step), step)
    for name in (".step-9999999999.safetensors.123.tmp", "step-9.safetensors", "step-9999999999.txt", "notes"):
        (directory / name).write_text("not one of them")
    assert list_checkpoints(directory) == [checkpoint_path(directory, step) for step in sorted(steps, reverse=True)]
    loaded = load_checkpoint(tmp_path)
    assert loaded.counters["step"] == int(loaded.state.step) == max(steps)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flipped_bits(data):
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 200):
        yield f"bit {bit}", flipped(data, bit)


def flipped_bits_in_names(data):
    """In what the header calls things; a random bit seldom meets one of these."""
    for name in (b'"format"', b'"jaxrnn-checkpoint-1"', b'"counters"', b'"sha256"', b'"params.by"', b"__metadata__"):
        start = data.index(name)
        for bit in range(8 * start, 8 * (start + len(name))):
            yield f"bit {bit - 8 * start} of {name}", flipped(data, bit)


def truncated(data):
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for length in (0, 1, 7, 8, 9, 100, header - 1, header, header + 1, len(data) // 2, len(data) - 1):
        yield f"{length} of {len(data)} bytes", data[:length]


def zeroed(data):
    rng = np.random.default_rng(0)
    for size in (1, 8, 64, 512, 4096, len(data)):
        for start in (0, len(data) - size, *rng.integers(0, len(data) - size + 1, 5)):
            changed = data[:start] + bytes(size) + data[start + size :]
            if changed != data:
                yield f"{size} bytes from {start}", changed


def lengthened(data):
    yield "a zero more", data + b"\0"
    yield "twice", data * 2


def reworded(data):
    """Changes that leave a file which any reader of the format takes for a good one."""
    for old, new in (
        (b'"F32"', b'"I32"'),
        (b"[8,16]", b"[16,8]"),
        (b"params.by", b"params.bh"),
        (b"learning_rate", b"learning-rate"),
        (rb"\"step\": 2", rb"\"step\": 3"),
    ):
        assert old in data
        yield f"{old} made {new}", data.replace(old, new, 1)


DAMAGES = [flipped_bits, flipped_bits_in_names, truncated, zeroed, lengthened, reworded]


@pytest.mark.parametrize("damages", DAMAGES)
def test_every_damage_to_a_checkpoint_is_noticed(newest, damages):
    wrong = {}
    for what, data in damages(newest.read_bytes()):
        newest.write_bytes(data)
        try:
            load_checkpoint(newest)
            wrong[what] = "not noticed"
        except JaxrnnError as error:
            # A flipped digit of the format claims to be another version's: that is never set aside.
            kinds = (DamagedError, UnusableError) if re.search("checkpoint-[359]", str(error)) else DamagedError
            if not isinstance(error, kinds) or error.exit_code != 3 or str(newest) not in str(error):
                wrong[what] = error
    assert not wrong


@pytest.mark.parametrize("damages", DAMAGES)
@pytest.mark.slow
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_warning(run, newest, damages):
    wrong = {}
    for what, data in damages(newest.read_bytes()):
        newest.write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                used = load_fields(run)["config"].seed
            except JaxrnnError as error:
                used = error
        messages = [str(warning.message) for warning in caught]
        if used != 1 or len(messages) != 1 or newest.name not in messages[0]:
            wrong[what] = (used, messages)
    assert not wrong


def test_the_whole_state_comes_from_the_newest_checkpoint_that_is_good(run, newest):
    save(checkpoint_path(newest.parent, 3), 3)
    for path in list_checkpoints(newest.parent)[:2]:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="using step-0000000001") as caught:
        loaded = load_checkpoint(run)
    assert_same_bits(loaded.state, random_state(CONFIG, 1, seed=1))
    assert (loaded.config.seed, loaded.counters) == (1, {"step": 1})
    named = [re.search(r"step-\d+", str(warning.message)).group() for warning in caught]
    assert named == ["step-0000000003", "step-0000000002"]


def test_a_checkpoint_on_a_bad_disk_gives_way_to_the_one_before(run, newest, monkeypatch):
    read_bytes = Path.read_bytes

    def fail_at_newest(path):
        if path == newest:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", fail_at_newest)
    with pytest.warns(UserWarning, match=f"{newest.name}.*Input/output error.*; using step-0000000001"):
        assert load_checkpoint(run).counters["step"] == 1


def test_when_every_checkpoint_is_damaged_the_newest_is_named(run, newest):
    for path in list_checkpoints(run / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-1])
    for load in (load_checkpoint, load_fields):
        with pytest.raises(CheckpointError, match=f"{newest.name} is damaged.*no other checkpoint"):
            load(run)


def test_a_reader_finds_the_newer_checkpoint_when_the_one_it_was_about_to_read_is_removed(run, newest, monkeypatch):
    listed = checkpoint_files.all_checkpoints

    def list_while_somebody_trains(path):
        files = listed(path)
        if newest in files:
            save(checkpoint_path(newest.parent, 3), 3)
            newest.unlink()
        return files

    monkeypatch.setattr(checkpoint_files, "all_checkpoints", list_while_somebody_trains)
    assert load_checkpoint(run).counters["step"] == 3


def test_what_is_read_belongs_together_though_another_checkpoint_takes_its_name_meanwhile(newest):
    loaded = read_checkpoint(newest, lambda _: (save(newest, 9) and None, None))
    assert_same_bits(loaded.state, random_state(CONFIG, 2, seed=2))
    assert load_checkpoint(newest).counters["step"] == 9


def header_of(description):
    text = json.dumps(description).encode()
    return struct.pack("<Q", len(text)) + text


ARRAY = {"params.by": np.zeros(3, np.float32)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a text, longer than eight bytes\n",
        bytes(1000),
        b"PK\x03\x04" + bytes(100),
        safetensors.numpy.save({}),
        safetensors.numpy.save(ARRAY),
        safetensors.numpy.save(ARRAY, {"format": "pt"}),
        safetensors.numpy.save(ARRAY, {"format": checkpoint.FORMAT}),
        header_of({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}) + b"\0\0",
    ],
    ids=["empty", "text", "zeros", "zip", "no tensors", "no metadata", "torch", "metadata incomplete", "bfloat16"],
)
def test_a_file_that_never_was_a_checkpoint_is_a_mistake_and_no_damage(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    for load in (load_checkpoint, load_fields):
        with pytest.raises(JaxrnnError, match="run directory") as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert (type(caught.value), caught.value.exit_code) == (JaxrnnError, 2)


@pytest.mark.parametrize("folders", ["", "run", "run/checkpoints"])
def test_where_no_checkpoint_is_the_error_says_what_to_give(tmp_path, folders):
    (tmp_path / folders).mkdir(parents=True, exist_ok=True)
    for path in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "nu\0l"):
        with pytest.raises(JaxrnnError, match="give the run directory") as caught:
            load_checkpoint(path)
        assert caught.value.exit_code == 2


def rewrite(path, change):
    """Change a checkpoint and make its SHA-256 right again."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    metadata["sha256"] = checkpoint._digest(tensors, metadata)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def retyped(name, dtype):
    return lambda tensors, _: tensors.update({name: tensors[name].astype(dtype)})


def reshaped(name, shape):
    return lambda tensors, _: tensors.update({name: np.resize(tensors[name], shape)})


def without(name):
    return lambda tensors, _: tensors.pop(name)


def with_hidden_size(hidden_size):
    """Change what the configuration says and leave the tensors as they are."""

    def change(_, metadata):
        metadata["config"] = metadata["config"].replace('"hidden_size": 16', f'"hidden_size": {hidden_size}')

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reshaped("params.layers.0.Wxh", (16, 8)), r"0.Wxh must be float32\[8, 16\], got float32\[16, 8\]"),
        (reshaped("params.layers.0.Whh", (17, 16)), r"params.layers.0.Whh must be .* got float32\[17, 16\]"),
        (reshaped("params.by", (1, 8)), r"params.by must be float32\[8\], got float32\[1, 8\]"),
        (reshaped("carry.0.0", (2, 16)), r"carry.0.0 must be float32\[1, 16\]"),
        (reshaped("step", (1,)), r"step must be int32\[\], got int32\[1\]"),
        (reshaped("key", (4,)), r"key must be uint32\[2\], got uint32\[4\]"),
        (retyped("params.Why", np.float64), "params.Why must be float32.* got float64"),
        (retyped("smooth_loss", np.float16), "smooth_loss must be float32.* got float16"),
        (retyped("step", np.int64), "step must be int32.* got int64"),
        (retyped("key", np.int32), "key must be uint32.* got int32"),
        (without("params.by"), r"params.by must be float32\[8\], got nothing"),
        (without("key"), "key must be .* got nothing"),
        (without("opt_state.1.0.sum_of_squares.Why"), "opt_state.1.0.sum_of_squares.Why must be .* got nothing"),
        (lambda tensors, _: tensors.update(extra=np.zeros(1)), "this model lacks: extra"),
        (
            lambda tensors, _: tensors.update({"params.layers.1.bh": np.zeros(16)}),
            "this model lacks: params.layers.1.bh",
        ),
        (with_hidden_size(17), r"must be float32\[1, 17\], got float32\[1, 16\]|\[8, 17\], got float32\[8, 16\]"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_refused(newest, change, message):
    rewrite(newest, lambda *_: None)
    load_checkpoint(newest)  # so it is the change that is refused
    rewrite(newest, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(newest)
    assert str(newest) in str(caught.value)


def test_a_configuration_of_another_version_is_refused_by_the_field_it_adds(newest):
    def change(_, metadata):
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), "zoneout": 0.5})

    rewrite(newest, change)
    with pytest.raises(CheckpointError, match=r"is of another version .*has no field 'zoneout'") as caught:
        load_checkpoint(newest)
    assert not isinstance(caught.value, DamagedError)


def test_a_vocabulary_of_any_size_comes_back(tmp_path):
    large = Vocabulary("".join(map(chr, [*range(0xD800), *range(0x10000, 0x30000)])))
    config = replace(CONFIG, model=ModelConfig(hidden_size=1, vocab_size=len(large)))
    save_checkpoint(tmp_path / "x", random_state(config), config, large, corpus=CORPUS)
    assert load_checkpoint(tmp_path / "x").vocabulary == large


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": Vocabulary("ab")}, "the vocabulary has 2 symbols"),
        ({"counters": {"x": float("nan")}}, "a counter is no finite number"),
        ({"counters": {"best_step": 3}}, "a counter is missing"),
        ({"counters": {"best_step": 3, "best_loss": 1.0, "best_since": 0}}, "its best step is after its last"),
        ({"corpus": {"source": "x"}}, "its corpus lacks"),
        ({"config": replace(CONFIG, prompt="a" * 2**24)}, "shorten its prompt"),
    ],
    ids=["vocabulary", "counter", "counters", "best step", "corpus", "prompt"],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, changes, message):
    values = {"config": CONFIG, "vocabulary": VOCABULARY, "corpus": CORPUS, **changes}
    with pytest.raises(JaxrnnError, match=message):
        save_checkpoint(tmp_path / "x", random_state(CONFIG), **values)
    assert list(tmp_path.iterdir()) == []


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, b"the checkpoint that was there before"])
@pytest.mark.parametrize(
    ("owner", "name", "fails", "error", "message"),
    [
        (Path, "open", no_space, StorageError, "No space left on device"),
        (os, "fsync", no_space, StorageError, "No space left on device"),
        (Path, "replace", no_space, StorageError, "No space left on device"),
        (Path, "read_bytes", lambda _: b"other bytes", StorageError, "what was written is not what is read back"),
        (os, "fsync", interrupted, KeyboardInterrupt, None),
        (Path, "replace", interrupted, KeyboardInterrupt, None),
    ],
)
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, owner, name, fails, error, message, before):
    path = tmp_path / "x"
    save(path)  # JAX reads files when it starts and compiles
    path.unlink()
    if before:
        path.write_bytes(before)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails)
        with pytest.raises(error, match=message) as caught:
            save(path)
    if error is StorageError:
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == ([path] if before else [])
    assert not before or path.read_bytes() == before


@pytest.mark.parametrize("room", [0, 1, 1000, 4096])
def test_a_disk_that_fills_up_leaves_the_checkpoint_that_was_there(tmp_path, room):
    path = tmp_path / "x"
    save(path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        with pytest.raises(StorageError, match="File too large"):
            save(path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert load_checkpoint(path).counters["step"] == 1
    save(path, 2)
    assert load_checkpoint(path).counters["step"] == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no/such/x", "No such file"),
        ("file/x", "Not a directory"),
        ("folder", "Is a directory"),
        ("x" * 300, "too long"),
    ],
)
def test_a_place_that_takes_no_file_is_named(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=reason) as caught:
        save(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]

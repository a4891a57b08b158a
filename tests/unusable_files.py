"""Checkpoint files that can't be used, of every kind: damaged, or of another version, network or program."""

import functools
import json
import os
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxrnn.runs import checkpoint

OLD = Path(__file__).parent / "runs" / "data" / "0.1.0" / "tanh" / "checkpoints" / "step-0000000024.safetensors"


def changed(data, change):
    """Return a checkpoint with other metadata or tensors and a SHA-256 that is right again."""
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors = safetensors.numpy.load(data)
    change(metadata, tensors)
    metadata["sha256"] = checkpoint._digest(tensors, metadata)
    return safetensors.numpy.save(tensors, metadata)


def field(name, **values):
    """Return a change of values in a field of the metadata; a value of None removes it."""

    def change(metadata, _):
        fields = {**json.loads(metadata[name]), **values}
        metadata[name] = json.dumps({key: value for key, value in fields.items() if value is not None})

    return change


def text(name, value):
    """Return a change that makes a whole field another text."""
    return lambda metadata, _: metadata.update({name: value})


def tensor(name, value):
    return lambda _, tensors: tensors.update({name: value})


def renamed(_, tensors):
    """Rename a leaf of the optimizer's state, as a new version of optax may do."""
    name = next(name for name in tensors if name.startswith("opt_state."))
    tensors[name.replace("sum_of_squares", "accumulator")] = tensors.pop(name)


IMPOSSIBLE = {  # in what a file says of itself, with the right SHA-256
    "a counter of 1e400": text("counters", '{"step": 24, "seconds": 1e400}'),
    "a counter of NaN": text("counters", '{"step": 24, "seconds": NaN}'),
    "a counter of 400 digits": text("counters", f'{{"step": 24, "seconds": 1{400 * "0"}}}'),
    "a counter that is no number": field("counters", seconds="long"),
    "a step of 24.0": text("counters", '{"step": 24.0}'),
    "a negative step": text("counters", '{"step": -1}'),
    "no step": text("counters", "{}"),
    "another step than the state's": field("counters", step=23),
    "best_step without best_loss": field("counters", best_step=3, best_since=0),
    "best_loss without best_step": field("counters", best_loss=1.5, best_since=0),
    "a mean without its weight": field("counters", mean_weight=None),
    "negative seconds": field("counters", seconds=-1),
    "a log of -5 bytes": field("counters", **{"metrics.jsonl": -5}),
    "counters that are a list": text("counters", "[]"),
    "a text of -5 characters": field("corpus", length=-5),
    "a text of 2**63 characters": field("corpus", length=2**63),
    "a text of true characters": field("corpus", length=True),
    "a text without a source": field("corpus", source=None),
    "computed by nothing": text("computed_by", "{}"),
    "computed by a list": field("computed_by", device=[]),
    "a vocabulary of another kind": field("vocabulary", kind="words"),
    "an unknown symbol that is none": field("vocabulary", unknown=True),
    "an unsorted vocabulary": lambda _, tensors: tensors.update(vocabulary=tensors["vocabulary"][::-1]),
    "a vocabulary twice the same": lambda _, tensors: tensors.update(vocabulary=tensors["vocabulary"] * 0 + 65),
    "a symbol beyond Unicode": lambda _, tensors: tensors.update(vocabulary=tensors["vocabulary"] + 2**31),
    "a vocabulary too small": lambda _, tensors: tensors.update(vocabulary=tensors["vocabulary"][1:]),
    "symbols twice": field("vocabulary", symbols="ab"),
    "no symbols": lambda _, tensors: tensors.pop("vocabulary"),
    "a configuration of nests": text("config", "[" * 100_000),
    "a configuration that is a list": text("config", "[]"),
}
OTHER = {  # of another version, network or program
    "a newer format": text("format", "jaxrnn-checkpoint-2"),
    "a much newer format": text("format", "jaxrnn-checkpoint-17"),
    "a newer field of the configuration": field("config", zoneout=0.5),
    "a newer value in the configuration": field("config", vocabulary="words"),
    "a value out of today's range": field("config", keep=0),
    "a key of another implementation": text("key", "philox"),
    "a key of another size": tensor("key", np.zeros(4, np.uint32)),
    "a leaf renamed by optax": renamed,
    "a leaf less": lambda _, tensors: tensors.pop(next(name for name in tensors if name.startswith("opt_state."))),
    "a leaf more": tensor("opt_state.9", np.zeros(3, np.float32)),
    "half precision": lambda _, tensors: tensors.update({"params.by": tensors["params.by"].astype(np.float16)}),
    "another cell": lambda metadata, _: metadata.update(config=metadata["config"].replace('"tanh"', '"lstm"')),
    "more layers": lambda metadata, _: metadata.update(
        config=metadata["config"].replace('"num_layers": 1', '"num_layers": 2')
    ),
}
_FILES = {  # no checkpoint at all, or a good one
    "weights of PyTorch": ("unusable", safetensors.numpy.save({"w": np.zeros(3, np.float32)}, {"format": "pt"})),
    "a safetensors file without metadata": ("unusable", safetensors.numpy.save({"w": np.zeros(3, np.float32)})),
    "empty": ("damaged", b""),
    "zeros": ("damaged", bytes(5000)),
    "a text": ("damaged", b"years of work\n" * 9),
    "of version 0.1.0": ("good", OLD.read_bytes()),
}


def unusable_files(data):
    """Return, for each kind, its word in `jaxrnn info` and a function that makes such a file of a good one's bytes."""
    files = {
        **{kind: ("damaged", changed(data, change)) for kind, change in IMPOSSIBLE.items()},
        **{kind: ("unusable", changed(data, change)) for kind, change in OTHER.items()},
        **_FILES,
        "cut": ("damaged", data[:-1]),
        "a bit flipped": ("damaged", data[:-1] + bytes([data[-1] ^ 1])),
        "a byte more in the header": ("damaged", data.replace(b'"sha256":"', b'"sha256":"0', 1)),
    }
    return {
        **{kind: (word, functools.partial(Path.write_bytes, data=content)) for kind, (word, content) in files.items()},
        "a folder": ("unusable", Path.mkdir),
        "a pipe": ("unusable", os.mkfifo),
        "a link to nothing": ("unreadable", lambda path: path.symlink_to(path.parent / "nothing")),
        "a link to itself": ("unreadable", lambda path: path.symlink_to(path)),
    }

"""What a checkpoint says of its state, in the metadata of a safetensors file; without JAX.

Each file is good, or one of three: damaged (it can be read, but contradicts itself), unusable (of another version or
network, or no file of this program) or unreadable (not now: a permission, the disk). Only a damaged one is set aside.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import safetensors

from jaxrnn.config import TrainConfig, VocabularyKind, from_json
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError, UnreadableError, UnusableError
from jaxrnn.runs.checkpoint_files import all_checkpoints, checkpoint_path, has_checkpoint_name

FORMAT = "jaxrnn-checkpoint-1"
HEADER_LIMIT = 2**24  # bytes
_JSON = ("config", "vocabulary", "corpus", "counters", "computed_by")
_FIELDS = ("format", *_JSON, "sha256")
_CORPUS = {"source": str, "sha256": str, "length": int}
_WHOLE = ("step", "metrics.jsonl", "samples.txt", "best_step", "best_since")  # counters
_TOGETHER = (  # counters of which a file holds all or none
    {"best_step", "best_loss", "best_since"},
    {f"{name}_{part}" for name in ("mean", "interval") for part in ("sum", "weight")},
    {"epoch_sum", "epoch_weight"},
)


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an error in reading a checkpoint into the one that says which of the three it is."""
    try:
        yield
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise UnreadableError(f"{path} can't be read now ({reason})") from None
    except JaxrnnError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        if has_checkpoint_name(path):
            raise DamagedError(f"{path} is damaged ({error})") from None
        raise JaxrnnError(f"{path} is not a checkpoint ({error}); give a run directory of `jaxrnn train`") from None


def read_metadata(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the metadata of a checkpoint and the shapes of its tensors, none of which is read.

    Raises:
        CheckpointError: the file can't be used; it must be just as large as its tensors need.
        JaxrnnError: it is not even named as a checkpoint.
    """
    with read_errors(path):
        if path.exists() and not path.is_file():  # opening a pipe could wait forever
            raise UnusableError(f"{path} is not a regular file")
        with path.open("rb") as start:
            if int.from_bytes(start.read(8), "little") > HEADER_LIMIT:
                raise ValueError(f"no safetensors file, or its header is larger than {HEADER_LIMIT:,} bytes")
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = checked(file.metadata() or {}, path)
            return metadata, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def checked(metadata: dict[str, str], path: Path) -> dict[str, str]:
    """Return the metadata if they have the fields of a checkpoint of this version; the values are not checked."""
    version = re.fullmatch(r"jaxrnn-checkpoint-(\d+)", metadata.get("format", ""))
    if version and int(version[1]) > 1:  # its SHA-256 may be computed in another way
        raise UnusableError(f"{path} is of another version (its format is {version[0]}); use that version of jaxrnn")
    if has_checkpoint_name(path) and len(metadata.keys() & {*_FIELDS}) < 3:
        raise UnusableError(f"{path} is a safetensors file of another program")
    if metadata.get("format") != FORMAT or not metadata.keys() >= {*_FIELDS}:
        raise ValueError("a safetensors file, but not one that this version of the program wrote")
    return metadata


def parse_metadata(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return what the metadata say: config, vocabulary (of version 0.1.0 with its symbols), corpus, counters, ...

    Raises:
        DamagedError: it can't be true of any checkpoint.
        UnusableError: the configuration is of another version.
    """
    try:
        fields = {name: json.loads(metadata[name]) for name in _JSON}
        contradiction = next(_contradictions(fields), None)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
        contradiction = "its metadata are not those of a checkpoint"
    if contradiction:
        raise DamagedError(f"{path} is damaged ({contradiction})")
    try:
        return {**fields, "config": from_json(TrainConfig, metadata["config"])}
    except JaxrnnError as error:
        raise UnusableError(f"{path} is of another version ({error}); it can't be used") from None


def best_is_newest(run: Path) -> bool:
    """Return whether the best checkpoint of a run is newer than the others: the run ended before it saved the next."""
    files = all_checkpoints(run)
    with contextlib.suppress(CheckpointError, IndexError):  # it can't be read, or there is none
        step = parse_metadata(read_metadata(files[-1])[0], files[-1])["counters"]["step"]
        return files[0] < checkpoint_path(files[0].parent, step)
    return False


def _contradictions(fields: dict[str, Any]) -> Iterator[str]:
    """Yield what can't be true of a checkpoint; raise any error where values are not even of the right kind."""
    config, vocabulary, corpus, counters, computed_by = map(fields.__getitem__, _JSON)
    if not isinstance(config, dict):
        yield "its configuration is no JSON object"
    if (
        vocabulary["kind"] not in get_args(VocabularyKind)
        or type(vocabulary["unknown"]) is not bool
        or not vocabulary.keys() <= {"kind", "unknown", "symbols", "encoding"}
        or not isinstance(vocabulary.get("symbols", ""), str)
    ):
        yield "its vocabulary is invalid"
    types = {name: type(value) for name, value in corpus.items() if name != "files"}
    is_whole = types == _CORPUS and all(type(sha256) is str for sha256 in corpus.get("files", {}).values())
    if not (is_whole and 0 <= corpus["length"] < 2**63):
        yield "its corpus lacks a source, a SHA-256 or a length"
    if not all(type(value) in (int, float) and math.isfinite(value) for value in counters.values()):
        yield "a counter is no finite number"
    if not 0 <= counters["step"] < 2**31 or not all(
        type(counters[name]) is int and counters[name] >= 0 for name in _WHOLE if name in counters
    ):
        yield "a counter is no whole number from 0 on"
    if any(counters.get(name, 0) < 0 for name in counters if name == "seconds" or name.endswith("_weight")):
        yield "a counter is below 0"
    if any(0 < len(counters.keys() & names) < len(names) for names in _TOGETHER):
        yield "a counter is missing"
    if counters.get("best_step", 0) > counters["step"]:
        yield "its best step is after its last"
    if not {"jax", "device"} <= computed_by.keys() or not all(
        type(value) in (str, int) for value in computed_by.values()
    ):
        yield "it does not say what computed it"

"""`jaxrnn info`: what a run holds and whether it can be used, or what this installation is."""

import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.errors import CheckpointError, JaxrnnError, StorageError
from jaxrnn.runs.checkpoint_files import all_checkpoints

if TYPE_CHECKING:
    from jaxrnn.config import TrainConfig
    from jaxrnn.runs.checkpoint import Checkpoint
    from jaxrnn.text import Slice


@dataclasses.dataclass(frozen=True)
class Info:
    """Describe a run and verify its checkpoints; without one, describe this installation."""

    run_dir: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""

    repair: bool = False
    """Remove the checkpoints that can't be used and what dead writers left, after saying which; no run that is being
    trained."""
    json: bool = False
    """Print one line of JSON instead."""

    def run(self) -> int:
        """Print it, and return the exit code."""
        if self.run_dir is None:
            if self.repair:
                raise JaxrnnError("--repair needs RUN, the run directory to repair")
            found = _installation()
            print(json.dumps(found) if self.json else "\n".join(f"{name}: {_listed(found[name])}" for name in found))
            return 0
        files, left_over = self._look_through(self.run_dir)
        try:
            checkpoint = open_checkpoint(self.run_dir, cell=self.cell)
        except CheckpointError:
            if not self.json:
                print("\n".join(map(str, files)))
            raise
        if self.json:
            told = {"files": [file.as_json() for file in files], "left_over": [str(path) for path in left_over]}
            print(json.dumps({**_as_json(checkpoint), **told}))
            return 0
        lines = [*_lines(checkpoint, self.cell), *map(str, files)]
        lines += [f"left by a writer that is gone: {path}; --repair removes it" for path in left_over]
        print("\n".join(lines))
        return 0

    def _look_through(self, run_dir: Path) -> tuple[list["_File"], list[Path]]:
        """Return what the run has of checkpoints and of left-over files; after a repair, if that is asked for."""
        if not self.repair:
            return [_verify(file, self.cell) for file in all_checkpoints(run_dir)], _left_over(run_dir)
        from jaxrnn.runs.lock import WriterLock

        if not (run_dir / "checkpoints").is_dir():
            raise JaxrnnError(f"{run_dir} is no run directory; --repair needs one")
        lock = WriterLock(run_dir)
        try:
            files = [_verify(file, self.cell) for file in all_checkpoints(run_dir)]
            for file in files:
                if not file.good:
                    _remove(file.path, f"{file.problem}")
            for path in _left_over(run_dir):
                _remove(path, f"{path}, which a writer left that is gone")
        finally:
            lock.release()
        return [file for file in files if file.good], []


def _remove(path: Path, why: str) -> None:
    print(f"removing {why}", file=sys.stderr)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"can't remove {path} ({error.strerror or error}); remove it by hand") from None


class _File(NamedTuple):
    """A checkpoint's file, verified."""

    path: Path
    size: int
    modified: str
    step: int | None
    validation_loss: float | None
    problem: str | None
    validated_on: str | None = None

    @property
    def good(self) -> bool:
        return self.problem is None

    def __str__(self) -> str:
        if self.problem:
            return f"damaged checkpoint: {self.problem}; {self.size:,} bytes, {self.modified}; --repair removes it"
        best = self.path.name == "best.safetensors"
        loss = ""
        if best and self.validation_loss is not None:
            loss = f", validation loss {self.validation_loss:.4f} nats per character"
            loss += f" ({self.validated_on})" if self.validated_on else ""
        name = "best checkpoint" if best else "checkpoint"
        return f"{name}: {self.path}, step {self.step:,}{loss}, {self.size:,} bytes, {self.modified}, good"

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "path": str(self.path), "good": self.good}


def _left_over(path: Path) -> list[Path]:
    from jaxrnn.runs.directory import temporaries

    return temporaries(path) if path.is_dir() else []


def _verify(path: Path, cell: str | None) -> _File:
    """Read all of a checkpoint, and find out whether a command could use it."""
    found = path.stat()
    date = datetime.datetime.fromtimestamp(found.st_mtime).isoformat(" ", "seconds")
    try:
        checkpoint = open_checkpoint(path, cell=cell)
    except CheckpointError as error:
        return _File(path, found.st_size, date, None, None, str(error))
    counters = checkpoint.counters
    parts = _slices(checkpoint.config, checkpoint.corpus["length"])
    validated_on = str(parts["validation"]) if "validation" in parts else None
    return _File(path, found.st_size, date, counters["step"], counters.get("best_loss"), None, validated_on)


def _slices(config: "TrainConfig", length: int) -> dict[str, "Slice"]:
    """Return where the slices of a text begin and end; what stands there is not read."""
    import numpy as np

    from jaxrnn.text import split

    return split(np.broadcast_to(np.uint8(0), (length,)), config.split, kind=config.vocabulary)


def _installation() -> dict[str, Any]:
    import jax

    from jaxrnn.text.fetch import NAMED, cache_directory

    devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    return {"devices": devices, "corpora": list(NAMED), "cache": str(cache_directory())}


def _listed(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _as_json(checkpoint: "Checkpoint") -> dict[str, Any]:
    from jaxrnn.config import to_json

    return {
        "step": checkpoint.counters["step"],
        "smooth_loss": float(checkpoint.state.smooth_loss),
        "parameters": _num_parameters(checkpoint),
        "symbols": len(checkpoint.vocabulary),
        "config": json.loads(to_json(checkpoint.config)),
        "corpus": checkpoint.corpus,
        "computed_by": checkpoint.computed_by,
    }


def _num_parameters(checkpoint: "Checkpoint") -> int:
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(checkpoint.state.params))


def _lines(checkpoint: "Checkpoint", cell: str | None) -> list[str]:
    from jaxrnn.network.loss import bits_per_character
    from jaxrnn.runs.checkpoint import describe_computer

    config, state, corpus = checkpoint.config, checkpoint.state, checkpoint.corpus
    model, optimizer, smooth_loss = config.model, config.optimizer, float(state.smooth_loss)
    bits = bits_per_character(smooth_loss, config.sequence_length)
    size = _num_parameters(checkpoint)
    rule = "user-defined optimizer"
    if optimizer.name != "custom":
        rule = (
            f"{optimizer.name}, {optimizer.schedule} learning rate {optimizer.peak_learning_rate}, clip "
            f"{optimizer.clip} {optimizer.clip_value}"
        )
    return [
        f"step: {int(state.step):,} of {config.steps:,}",
        f"smooth loss: {smooth_loss:.4f} nats per {config.sequence_length} {config.vocabulary}, {bits:.4f} bits each",
        f"model: {cell or model.cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols, "
        f"{size:,} parameters, {model.dtype}, products {model.products}, init {model.init}"
        + ("" if model.init == "fan_in" else f" {model.init_scale}")
        + f", dropout {model.dropout}",
        f"training: T {config.sequence_length}, B {config.batch_size}, {rule}, seed {config.seed}",
        f"corpus: {corpus['source']}, {corpus['length']:,} {config.vocabulary}, sha256 {corpus['sha256']}",
        *_reading(config),
        *(f"slice: {part}" for part in _slices(config, corpus["length"]).values() if len(config.split) > 1),
        f"computed by: {describe_computer(checkpoint.computed_by)}",
    ]


def _reading(config: "TrainConfig") -> list[str]:
    """Return a line for whatever is not usual in how the corpus is read."""
    lines = []
    if config.reset_on:
        lines.append(f"reset on: {config.reset_on!r}, the string between documents")
    if config.min_count > 1:
        lines.append(f"min count: {config.min_count}; symbols that occur fewer times are one, the unknown symbol")
    if config.normalize:
        lines.append("normalize: byte-order mark dropped, CRLF and CR line ends made LF")
    return lines

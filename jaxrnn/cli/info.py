"""`jaxrnn info`: what a run holds and whether it can be used, or what this installation is."""

import contextlib
import dataclasses
import datetime
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

import jaxrnn
from jaxrnn.cli.arguments import CellFlag, DeviceFlags, JsonFlag, open_checkpoint
from jaxrnn.cli.output import print_result, quoted
from jaxrnn.config.atomic import storage_error
from jaxrnn.errors import CheckpointError, DamagedError, JaxrnnError, counted
from jaxrnn.runs.checkpoint_files import all_checkpoints, set_aside


@dataclasses.dataclass(frozen=True)
class Info:
    """Describe a run and verify its checkpoints; without a run, describe this installation."""

    run_dir: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """Run directory or checkpoint."""
    cell: CellFlag = None
    vocabulary: bool = False
    """List the symbols that the network knows, with their names."""
    repair: bool = False
    """Move damaged checkpoints and files left by interrupted writers to RUN/checkpoints/damaged, and name each."""
    json: JsonFlag = False

    def run(self) -> None:
        """Print the description."""
        if self.run_dir is not None:
            if self.vocabulary and self.repair:
                raise JaxrnnError("--vocabulary lists symbols and --repair moves files; give one of them")
            if self.vocabulary:
                self._list_vocabulary(self.run_dir)
            else:
                self._describe(self.run_dir)
            return
        if self.vocabulary:
            raise JaxrnnError("--vocabulary needs RUN, the run whose symbols are listed")
        if self.repair:
            raise JaxrnnError("--repair needs RUN, the run directory to repair")
        DeviceFlags().set_up()
        import jax

        from jaxrnn.text.fetch import NAMED, cache_directory

        devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
        values = {"devices": devices, "corpora": list(NAMED), "cache": cache_directory()}
        lines = f"devices: {', '.join(devices)}", f"corpora: {', '.join(NAMED)}", f"cache: {cache_directory()}"
        print_result(self.json, values, *lines)

    def _list_vocabulary(self, run_dir: Path) -> None:
        from jaxrnn.text.characters import name_of
        from jaxrnn.text.vocabulary import UNKNOWN

        vocabulary = open_checkpoint(run_dir, cell=self.cell).vocabulary
        names = [name_of(symbol) for symbol in vocabulary.symbols]
        if vocabulary.kind == "bytes":
            names = [f"0x{ord(symbol):02x} {bytes([ord(symbol) & 255])!r}" for symbol in vocabulary.symbols]
        if vocabulary.unknown:
            names[vocabulary.symbols.index(UNKNOWN)] = f"{UNKNOWN}, for all others"
        symbols = [{"symbol": symbol, "name": name} for symbol, name in zip(vocabulary.symbols, names, strict=True)]
        print_result(self.json, {"unit": vocabulary.kind, "symbols": symbols}, *names)

    def _describe(self, run_dir: Path) -> None:
        files, left_over = self._files(run_dir)
        try:
            checkpoint = open_checkpoint(run_dir, cell=self.cell)
        except CheckpointError:
            if not self.json:
                print("\n".join(map(_file_line, files)))
            raise
        values = {
            "step": checkpoint.counters["step"],
            "train_bits_per_character": checkpoint.bits_per_character,
            "smooth_loss_nats": float(checkpoint.state.smooth_loss),
            "parameters": checkpoint.state.params.num_parameters,
            "symbols": len(checkpoint.vocabulary),
            "config": checkpoint.config,
            "corpus": checkpoint.corpus,
            "computed_by": checkpoint.computed_by,
            "files": files,
            "left_over": left_over,
        }
        lines = [*_run_lines(checkpoint, self.cell), *map(_file_line, files)]
        lines += [f"left by an interrupted writer: {path}; --repair moves it aside" for path in left_over]
        print_result(self.json, values, *lines)

    def _files(self, run_dir: Path) -> tuple[list[dict[str, Any]], list[Path]]:
        """Return the checkpoints of a run and the files that interrupted writers left, after a repair if asked for."""
        from jaxrnn.runs.directory import temporaries
        from jaxrnn.runs.lock import LOCK, WriterLock

        if self.repair and not (run_dir / "checkpoints").is_dir():
            raise JaxrnnError(f"{run_dir} is no run directory; --repair needs one")
        with contextlib.ExitStack() as stack:
            if self.repair:
                try:
                    stack.callback(WriterLock(run_dir).close)
                except OSError as error:
                    raise storage_error(run_dir / LOCK, error) from None
            files = [file for path in all_checkpoints(run_dir) if (file := _verify(path, self.cell))]
            left_over = temporaries(run_dir) if run_dir.is_dir() else []
            if not self.repair:
                return files, left_over
            problems = {file["path"]: file["problem"] for file in files if file["state"] == DamagedError.word}
            for path in (*problems, *left_over):
                reason = problems.get(path) or f"{path} was left by an interrupted writer"
                moved = quoted(set_aside(run_dir, path))
                print(f"{reason}; moved to {moved}, undo: mv {moved} {quoted(path)}", file=sys.stderr)
        return [file for file in files if file["path"] not in problems], []


def _verify(path: Path, cell: str | None) -> dict[str, Any] | None:
    """Read a checkpoint as a command that uses it would; return what is known of it, None if its run has removed it."""
    try:
        stat = path.lstat()
    except FileNotFoundError:
        return None
    date = datetime.datetime.fromtimestamp(stat.st_mtime).isoformat(" ", "seconds")
    file = {"path": path, "size": stat.st_size, "modified": date, "problem": None, "state": "good", "good": True}
    file |= dict.fromkeys(("step", "validation_bits_per_character", "validated_on"))
    try:
        checkpoint = open_checkpoint(path, cell=cell)
    except CheckpointError as error:
        return file | {"problem": str(error), "state": error.word, "good": False} if os.path.lexists(path) else None
    step, loss = checkpoint.counters["step"], checkpoint.counters.get("best_loss")
    validation = _slices(checkpoint).get("validation")
    bits = None if loss is None else loss / math.log(2)
    about = {"validation_bits_per_character": bits, "validated_on": validation and str(validation)}
    return file | {"step": step, "loss_unit": checkpoint.config.loss_unit, **about}


def _file_line(file: dict[str, Any]) -> str:
    size = f"{counted(file['size'], 'bytes')}, {file['modified']}"
    if file["problem"]:
        advice = "; --repair moves it aside" if file["state"] == DamagedError.word else ""
        return f"{file['state']} checkpoint: {file['problem']}; {size}{advice}"
    checkpoint = f"checkpoint: {file['path']}, step {file['step']:,}"
    if file["path"].name != "best.safetensors" or file["validation_bits_per_character"] is None:
        return f"{checkpoint}, {size}, good"
    bits = f"{file['validation_bits_per_character']:.3f} {file['loss_unit']}"
    loss = f"validation loss {bits} ({file['validated_on']})"
    return f"best {checkpoint}, {loss}, {size}, good"


def _slices(checkpoint: "jaxrnn.Checkpoint") -> "dict[str, jaxrnn.Slice]":
    """Return where the slices of the text begin and end; the text itself is not read."""
    import numpy as np

    text = np.broadcast_to(np.uint8(0), (checkpoint.corpus["length"],))
    return jaxrnn.split(text, checkpoint.config.split, kind=checkpoint.config.vocabulary)


def _run_lines(checkpoint: "jaxrnn.Checkpoint", cell: str | None) -> list[str]:
    from jaxrnn.runs.provenance import describe_computer
    from jaxrnn.text.files import one_line

    config, state, corpus = checkpoint.config, checkpoint.state, checkpoint.corpus
    model, optimizer = config.model, config.optimizer
    rule = "user-defined optimizer"
    if optimizer.name != "custom":
        rule = (
            f"{optimizer.name}, {optimizer.schedule} learning rate {optimizer.peak_learning_rate}, clip "
            f"{optimizer.clip} {optimizer.clip_value}"
        )
    init = model.init if model.init == "fan_in" else f"{model.init} {model.init_scale}"
    others = {name: getattr(model, f"{name}_dropout") for name in ("input", "state", "output", "weight")}
    dropout = [f"dropout {model.dropout}", *(f"{name} dropout {rate}" for name, rate in others.items() if rate)]
    lines = [
        f"step: {int(state.step):,} of {config.steps:,}",
        f"training loss: {checkpoint.bits_per_character:.3f} {config.loss_unit}",
        f"model: {cell or model.cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols, "
        f"{state.params.num_parameters:,} parameters, {model.dtype}, products {model.products}, init {init}, "
        f"{', '.join(dropout)}",
        f"training: T {config.sequence_length}, B {config.batch_size}, {rule}, seed {config.seed}",
        f"corpus: {one_line(corpus['source'])}, {corpus['length']:,} {config.vocabulary}, sha256 {corpus['sha256']}",
    ]
    if config.parent:
        lines.append(f"parent: {config.parent}")
    if config.reset_on:
        lines.append(f"reset on: {config.reset_on!r}, the string between documents")
    if config.min_count > 1:
        lines.append(f"min count: {config.min_count}; symbols that occur fewer times become the unknown symbol")
    lines += [f"text: {path}, sha256 {sha256}" for path, sha256 in corpus.get("files", {}).items()]
    lines += [f"join: {config.join!r}, the string between the texts"] if "files" in corpus else []
    if config.encoding != "utf-8":
        lines.append(f"encoding: {config.encoding}")
    if config.normalize:
        lines.append(f"normalize: {', '.join(config.normalize)}")
    if len(config.split) > 1:
        lines += [f"slice: {part}" for part in _slices(checkpoint).values()]
    return [*lines, f"computed by: {describe_computer(checkpoint.computed_by)}"]

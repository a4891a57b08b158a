"""The run directory: what a training run leaves on the disk, and what it promises.

| file | what it holds |
|---|---|
| `config.json` | the configuration; `jaxrnn train --config` runs it again |
| `metrics.jsonl` | a line per report, as `jaxrnn.runs.metrics` describes |
| `samples.txt` | the samples, each below a line with its step and loss |
| `checkpoints/step-NNNNNNNNNN.safetensors` | the state after so many steps; the newest `keep` of them stay |
| `checkpoints/best.safetensors` | the state with the lowest validation loss, where there is a validation slice |
| `events.out.tfevents.*` | the metrics for TensorBoard, with `--tensorboard` |
| `.lock` | nothing; the process that trains holds a lock on it |

One process writes to a directory at a time; the system releases the lock when that process ends, however it ends. Other
commands only read.

A checkpoint is written whole or not at all; older ones are removed only after that. A reader takes the newest that
verifies; if the newest is damaged, a warning says so and the one before is used. `jaxrnn info RUN` verifies every byte;
`--repair` moves damaged checkpoints and temporary files that a killed writer has left to `checkpoints/damaged`, and
says how to get them back. A checkpoint of another version, or one that can't be read now, is reported and left where
it is; a run does not resume from an older one instead.

Ctrl-C, SIGTERM, SIGHUP, or leaving the loop over `fit` saves the run at the end of the chunk. `jaxrnn train` then exits
with 130, 143 or 129; a second Ctrl-C stops it at once. A full disk ends the run with exit code 1, a loss or parameter
that is not finite with 4; neither costs a checkpoint that is there.

`--resume` continues from the newest checkpoint, even if that is the best one, with the configuration of `config.json`:
the last that the user gave, by flags or in the file. Metrics and samples after the checkpoint are cut off and written
again. On the same versions of jaxrnn and JAX, devices, processor and XLA flags the resumed run is bit-identical to an
uninterrupted one; otherwise it continues with a warning. Text, vocabulary, slices, network, batch, seed, average decay,
and the rule, schedule and warm-up of the optimizer must be the same; intervals, patience, chunk length, prompt, other
numbers of the optimizer and steps (not below those done) may change. A user-defined cell, loss or optimizer is in no
file: pass it again.
"""

import contextlib
import itertools
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from jaxrnn.config import TrainConfig, from_json, read_text, to_json, with_settings
from jaxrnn.config.atomic import check_writable, commit, make_directory, storage_error, sync_directory
from jaxrnn.distributed.mesh import NO_LANES, by_lanes, on_first_device
from jaxrnn.errors import DamagedError, JaxrnnError, StorageError, TakenError
from jaxrnn.runs.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import all_checkpoints, checkpoint_path, has_lost_all, newest_good, prune
from jaxrnn.runs.checks import check_resumable, check_room
from jaxrnn.runs.header import best_is_newest
from jaxrnn.runs.lock import LOCK, WriterLock, write_errors
from jaxrnn.runs.metrics import event_files, metrics_of, read_columns
from jaxrnn.runs.provenance import computed_by, describe_computer
from jaxrnn.runs.report import Report, sample_title
from jaxrnn.runs.run import Run
from jaxrnn.training.step import TrainState, state_shapes


def new_run_directory(name: str, parent: Path = Path("runs")) -> Path:
    """Return the first of runs/<name>-1, runs/<name>-2, ... that does not exist yet."""
    paths = (parent / f"{name}-{number}" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())


def temporaries(path: Path) -> list[Path]:
    """Return the temporary files that writers have left in a run directory."""
    files = (file for folder in (path, path / "checkpoints") for file in folder.glob(".*.tmp"))
    return sorted(file for file in files if not file.is_dir())


_LOGS = ("metrics.jsonl", "samples.txt")


class RunDirectory:
    """A run directory that a training loop writes to, as its only writer until it is closed.

    Attributes:
        checkpoint: the checkpoint to resume from; None: the run begins, or ended before its first checkpoint.
    """

    def __init__(self, path: Path, run: Run, *, resume: bool = False, overwrite: bool = False) -> None:
        """Prepare the directory.

        Raises:
            TakenError: another process trains there, or the directory holds another run.
            JaxrnnError: it holds something else, or can't be written.
        """
        self._path, self._run = path, run
        self._device_count = run.mesh.size if run.mesh else 1
        self._writes = jax.process_index() == 0  # of many processes one writes
        self._saved_step, self.checkpoint = -1, None
        with write_errors(path), contextlib.ExitStack() as stack:
            if self._writes and not resume:
                self._check_ours()
                check_room(path, [run], [path] if overwrite else [])
                make_directory(path)
            if self._writes and (not resume or self._holds_run()):
                stack.enter_context(contextlib.closing(WriterLock(path)))
            if resume:
                self.checkpoint = self._resume()
            elif self._writes and not overwrite and self._holds_run():
                raise TakenError(
                    f"{path} holds a run already; continue it with --resume, or replace it with --overwrite"
                )
            if self._writes:
                self._begin()
            self.close = stack.pop_all().close
        self._path = path.absolute()  # the program may go to another directory

    def _holds_run(self) -> bool:
        return (self._path / "config.json").exists() or self.has_checkpoint

    def _resume(self) -> Checkpoint | None:
        has_begun = self.has_checkpoint or has_lost_all(self._path)
        if not has_begun and self._run.config.parent:
            raise JaxrnnError(
                f"{self._path} was to begin from {self._run.config.parent} and did not; begin another run"
            )
        if not has_begun and (self._path / "config.json").is_file():
            done, every = 0, None  # the interval that the run began with, which may differ from the one given now
            with contextlib.suppress(OSError, ValueError):
                every = from_json(TrainConfig, read_text(self._path / "config.json")).checkpoint_every
                done = int(max(read_columns(self._path)["step"], default=0))
            if (every and done > every) or (done and not (self._path / "checkpoints").is_dir()):
                raise JaxrnnError(
                    f"{self._path} has done {done:,} steps, and its checkpoints are gone; put them back, or begin "
                    "again with --overwrite"
                )
            warnings.warn(f"{self._path} has no checkpoint yet; its run begins again", stacklevel=1)
            return None
        given, optimizer = self._run.config.model.cell, self._run.optimizer
        cell = None if isinstance(given, str) else given
        checkpoint = newest_good(
            self._path,
            lambda file: read_checkpoint(file, lambda _: (cell, optimizer)),
            best_first=best_is_newest(self._path),
            skips=DamagedError,
        )
        step, file = checkpoint.counters["step"], checkpoint.file
        if file not in (checkpoint_path(file.parent, step), checkpoint_path(file.parent, "best")):
            name = checkpoint_path(file.parent, step).name
            raise JaxrnnError(f"{file} is the checkpoint of another step; rename it to {name}, or move it elsewhere")
        if not self._run.config.parent:
            config = with_settings(self._run.config, {"parent": checkpoint.config.parent})
            self._run = self._run._replace(config=config)
        check_resumable(self._path, self._run, checkpoint.config, checkpoint.corpus)
        if step < self._run.config.steps and self._writes:
            check_room(self._path, [self._run])
        here = computed_by(self._device_count)
        if checkpoint.computed_by != here:
            then, now = map(describe_computer, (checkpoint.computed_by, here))
            warnings.warn(
                f"{self._path} was trained on {then} and continues on {now}: a result that is bit-identical to an "
                "uninterrupted run can't be promised",
                stacklevel=1,
            )
        # Numbers of the optimizer that have changed may nest its state in another way; its leaves are the same.
        structure = jax.tree.structure(state_shapes(self._run.config, optimizer=optimizer))
        state = jax.tree.unflatten(structure, jax.tree.leaves(checkpoint.state))
        checkpoint = checkpoint._replace(state=state)
        if "loss" not in checkpoint.counters:  # else it is saved again when its step has been reported
            self._saved_step = step
        return checkpoint

    def _check_ours(self) -> None:
        """Refuse a directory that holds anything but a run, or the beginnings of a run that was killed at once."""
        path = self._path
        if self._holds_run() or not path.exists():
            return
        ours = {path / LOCK, path / "checkpoints", *temporaries(path)}
        if not path.is_dir() or not ours.issuperset(file for file in (*path.iterdir(), *path.glob("checkpoints/*"))):
            raise JaxrnnError(f"{path} is not a run directory and not empty; choose another --run-dir")

    def _begin(self) -> None:
        """Leave in the directory what belongs to the run up to the checkpoint."""
        checkpoint = self.checkpoint
        for file in map(self._path.joinpath, _LOGS):
            check_writable(file)
            encoding = json.detect_encoding(file.read_bytes()[:4]) if checkpoint and file.exists() else "utf-8"
            if not encoding.startswith("utf-8"):
                raise JaxrnnError(f"{file} is in {encoding.upper()}, and the run goes on in UTF-8; convert it to that")
        (self._path / "checkpoints").mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path / "checkpoints"):  # raises where no checkpoint could be written
            pass
        for left_over in temporaries(self._path):
            left_over.unlink()
        if not checkpoint:
            damaged = filter(Path.is_file, (self._path / "checkpoints").glob("damaged/[!.]*"))
            for old in (*all_checkpoints(self._path), *event_files(self._path), *damaged):
                old.unlink()
        elif not (target := checkpoint_path(self._path / "checkpoints", checkpoint.counters["step"])).exists():
            commit(target, checkpoint.file.read_bytes())  # of the best one, from which the run goes on
        # Without vocab_size, which the corpus gives, the config can be run on another corpus.
        config = with_settings(self._run.config, {"vocab_size": None})
        commit(self._path / "config.json", (to_json(config) + "\n").encode())
        for name in _LOGS:
            with self._errors(self._path / name), (self._path / name).open("a+b") as log:
                size = min(log.tell(), int(checkpoint.counters.get(name, log.tell()))) if checkpoint else 0
                log.seek(max(size - 1, 0))
                line = log.readline() if size else b""  # whole, where an editor has changed the sizes of lines
                log.truncate(max(size - 1, 0) + len(line))
                log.write(b"" if line.endswith(b"\n") or not line else b"\n")
        sync_directory(self._path)

    def log(self, report: Report) -> None:
        """Append a report to metrics.jsonl, and its sample to samples.txt."""
        if self._writes:
            self._append("metrics.jsonl", json.dumps(metrics_of(report)) + "\n")
            if report.sample is not None:
                self._append("samples.txt", f"{sample_title(report)}\n{report.sample}\n\n")

    def _append(self, name: str, text: str = "", *, sync: bool = False) -> int:
        """Append to a log; return its size in bytes, which a checkpoint keeps."""
        with self._errors(self._path / name), (self._path / name).open("ab") as log:
            log.write(text.encode(errors="backslashreplace"))
            if sync:
                log.flush()
                os.fsync(log.fileno())
            return log.tell()

    @contextlib.contextmanager
    def _errors(self, file: Path) -> Iterator[None]:
        """Raise StorageError with what to do if a file can't be written."""
        try:
            yield
        except (OSError, StorageError) as error:
            if not (self._path / "checkpoints").is_dir():
                raise StorageError(
                    f"{self._path} was removed or renamed while it was trained; nothing more can be saved there"
                ) from None
            if isinstance(error, StorageError):
                raise
            raise storage_error(file, error) from None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to resume."""
        return bool(all_checkpoints(self._path))

    def save(self, state: TrainState, counters: Mapping[str, float]) -> None:
        """Save a checkpoint unless this step has one, then remove all but the newest few up to this step."""
        step = int(state.step)
        if step == self._saved_step:
            return
        directory = self._path / "checkpoints"
        self._save(checkpoint_path(directory, step), state, counters)
        self._saved_step = step
        if self._writes:
            prune(directory, step, self._run.config.keep)

    def save_best(self, state: TrainState, counters: Mapping[str, float]) -> None:
        """Save the checkpoint with the lowest validation loss, which replaces the one before."""
        self._save(checkpoint_path(self._path / "checkpoints", "best"), state, counters)

    def _save(self, path: Path, state: TrainState, counters: Mapping[str, float]) -> None:
        run = self._run
        if run.mesh:  # all processes must do this
            on_every_device = by_lanes(run.mesh, NO_LANES)
            state = on_first_device(jax.jit(lambda state: state, out_shardings=on_every_device)(state))
        if not self._writes:
            return
        sizes = {name: self._append(name, sync=True) for name in _LOGS}
        corpus = {"source": run.corpus.source, "sha256": run.corpus.sha256, "length": len(run.corpus)}
        if run.corpus.files:
            corpus["files"] = dict(run.corpus.files)
        with self._errors(path):
            save_checkpoint(
                path,
                state,
                run.config,
                run.corpus.vocabulary,
                corpus=corpus,
                counters={**sizes, **counters},
                device_count=self._device_count,
            )

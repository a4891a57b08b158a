"""`jaxrnn train`: train on a text, showing progress and samples."""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import tyro

from jaxrnn.cli.cell_file import named_cell
from jaxrnn.cli.fractions import FRACTIONS
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.placement import ManyProcesses
from jaxrnn.cli.progress import reading
from jaxrnn.cli.slices import on_train, slice_lines, validation_lines
from jaxrnn.config import ModelConfig, OptimizerConfig, OptimizerName, TrainConfig, from_json, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.presets import preset

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus


@dataclasses.dataclass(frozen=True)
class _Model(ModelConfig):
    cell: Annotated[str, tyro.conf.arg(metavar="{tanh,gru,lstm,FILE.py:NAME}")] = "tanh"  # type: ignore[assignment]
    """Recurrent cell; FILE.py:NAME: one of your own, NAME in that Python file, which is run."""
    vocab_size: tyro.conf.Suppress[int | None] = None  # the corpus gives it


@dataclasses.dataclass(frozen=True)
class _Optimizer(OptimizerConfig):
    name: Annotated[OptimizerName, tyro.conf.arg(name="optimizer")] = "adagrad"
    """The rule by which a gradient becomes an update."""


@dataclasses.dataclass(frozen=True)
class Train(TrainConfig):
    """Train on a text; show progress and samples; leave a run directory."""

    corpus: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CORPUS")] = "python-docs"
    """A text file, or the name of a corpus: python-docs (built in), tinyshakespeare (fetched once)."""
    split: Annotated[tuple[float, ...], FRACTIONS] = (1.0,)
    """Fractions of the text for train, validation and test, in this order, such as 0.9,0.1 or 0.8,0.1,0.1."""
    model: tyro.conf.OmitArgPrefixes[_Model] = dataclasses.field(default_factory=_Model)
    """The network."""
    optimizer: tyro.conf.OmitArgPrefixes[_Optimizer] = dataclasses.field(default_factory=_Optimizer)
    """Its optimizer."""
    preset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Settings to begin from: min-char-rnn (the default), char-rnn, quick or best; flags beside it win over it."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json to begin from; flags and CORPUS beside it win over it."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep the run; by default runs/CORPUS-1, or the next number that is free."""
    resume: bool = False
    """Go on with the run in --run-dir, from its newest checkpoint and with its configuration."""
    overwrite: bool = False
    """Replace the run in --run-dir."""
    dry_run: bool = False
    """Print the configuration as JSON, such as --config takes, and do no more."""
    quiet: bool = False
    """Print the final sample and the result only."""
    placement: tyro.conf.OmitArgPrefixes[ManyProcesses] = dataclasses.field(default_factory=ManyProcesses)
    """Where it computes."""

    @classmethod
    def defaults(cls, arguments: list[str]) -> "Train":
        """Return what the flags begin from: --preset, --config, or the configuration of the run to --resume."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("--preset")
        parser.add_argument("--config")
        parser.add_argument("--run-dir", "--run_dir")
        parser.add_argument("--resume", action="store_true")
        try:
            known, _ = parser.parse_known_args(arguments)
        except argparse.ArgumentError:  # tyro will say what is wrong
            return cls()
        if known.preset is not None and (known.config is not None or known.resume):
            other = "--resume" if known.resume else "--config"
            raise JaxrnnError(f"--preset and {other} both say what to begin from; give one of them")
        if known.preset is not None:
            return cls._of(preset(known.preset))
        if known.resume and known.run_dir:
            return cls._of(_config_of_run(Path(known.run_dir)))
        if known.config:
            return cls._of(read_config(known.config))
        return cls()

    @classmethod
    def _of(cls, config: TrainConfig) -> "Train":
        model, optimizer = _fields(config.model), _fields(config.optimizer)
        parts = {"model": _Model(**{**model, "vocab_size": None}), "optimizer": _Optimizer(**optimizer)}
        return cls(**{**_fields(config), **parts})

    def _train_config(self) -> TrainConfig:
        parts = {
            "model": ModelConfig(**{**_fields(self.model), "cell": named_cell(self.model.cell)}),
            "optimizer": OptimizerConfig(**_fields(self.optimizer)),
        }
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainConfig)}
        return TrainConfig(**{**values, **parts})

    def run(self) -> int:
        """Train, print, and return the exit code."""
        if self.resume and not self.run_dir:
            raise JaxrnnError("--resume needs --run-dir, the directory of the run to go on with")
        if self.resume and self.overwrite:
            raise JaxrnnError("--resume goes on with a run and --overwrite replaces it; give one of them")
        config = self._train_config()
        if self.dry_run:
            print(to_json(config))
            return 0
        set_up_jax(self.model.dtype)
        self.placement.set_up()
        self.placement.mesh("batch_size", self.batch_size)  # raises before anything is read
        from jaxrnn.runs import fit, load, new_run_directory, sample_title

        with reading() as progress:
            corpus = load(config, progress)
        import jax

        first = jax.process_index() == 0
        if not first:
            warnings.simplefilter("ignore")  # process 0 says it
        run_dir = self.run_dir or new_run_directory(corpus.name)
        signals = _StopSignals()
        reports = fit(
            config,
            corpus,
            run_dir=run_dir,
            resume=self.resume,
            overwrite=self.overwrite,
            stop=lambda: signals.received,
            devices=self.placement.devices,
        )
        with (
            signals,
            contextlib.closing(reports),
            _progress(config, corpus, run_dir, self.quiet or not first) as progress,
        ):
            for report in reports:
                if report.sample is not None and (report.finished or not self.quiet):
                    progress.write(f"{sample_title(report)}\n{report.sample}\n")
                progress.show(report)
        if first:
            print(_result(report, config, corpus, run_dir))
        return 0 if report.finished else 128 + signals.received


def _config_of_run(run_dir: Path) -> TrainConfig:
    from jaxrnn.checkpoint import best_checkpoint_path, list_checkpoints, load_config

    directory, begun = run_dir / "checkpoints", run_dir / "config.json"
    if begun.is_file() and not list_checkpoints(directory) and not best_checkpoint_path(directory).exists():
        return read_config(begun)  # it ended before its first checkpoint, and will begin again
    return load_config(run_dir)


def read_config(file: str | Path) -> TrainConfig:
    """Return the configuration in a file such as a run's config.json.

    Raises:
        JaxrnnError: there is none; the message names the file.
    """
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JaxrnnError(f"can't read {file} ({reason}); give the config.json of a run") from None
    try:
        return from_json(TrainConfig, text)
    except JaxrnnError as error:
        raise JaxrnnError(f"{file}: {error}") from None


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _result(report: "Report", config: TrainConfig, corpus: "Corpus", run_dir: Path) -> str:
    lines = [
        f"{report.step:,} of {config.steps:,} steps, {report.seconds:.1f} s: smooth loss {report.smooth_loss:.4f} nats "
        f"per {config.sequence_length} {config.vocabulary}, {report.bits_per_character:.4f} bits each"
        + on_train(config, corpus),
        *validation_lines(report, config, corpus),
        f"{corpus}\nrun: {run_dir}",
    ]
    return "\n".join(lines)


class _StopSignals(contextlib.AbstractContextManager["_StopSignals"]):
    """Notes SIGINT and SIGTERM so that the loop can save and stop between two steps; a second one stops at once."""

    received = 0

    def __enter__(self) -> "_StopSignals":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number
        signal.signal(number, signal.SIG_DFL)
        # Not print: what it interrupts may be the middle of another print.
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), b"\njaxrnn: saving, then stopping; again to stop at once\n")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Progress(Protocol):
    def write(self, text: str) -> None: ...
    def show(self, report: "Report") -> None: ...
    def __enter__(self) -> "_Progress": ...
    def __exit__(self, *_: object) -> None: ...


def _progress(config: TrainConfig, corpus: "Corpus", run_dir: Path, quiet: bool) -> _Progress:
    if quiet:
        return _Lines(None)
    print("\n".join([str(corpus), *slice_lines(config, corpus), f"run: {run_dir}"]), file=sys.stderr)
    return _Bar(config) if sys.stderr.isatty() else _Lines(config)


def _losses(report: "Report") -> str:
    losses = f"loss {report.smooth_loss:.2f}, {report.bits_per_character:.3f} bits/char"
    if report.best is None:
        return losses
    now = f"{report.validation_loss:.4f}, " if report.validation_loss is not None else ""
    return f"{losses}, validation {now}best {report.best.loss:.4f} nats/char"


class _Bar(contextlib.AbstractContextManager["_Bar"]):
    """A tqdm bar on a terminal; what is printed goes above it."""

    def __init__(self, config: TrainConfig) -> None:
        from tqdm import tqdm

        characters = config.sequence_length * config.batch_size
        self._characters = characters
        self._bar = tqdm(total=config.steps * characters, unit="char", unit_scale=True, dynamic_ncols=True)

    def write(self, text: str) -> None:
        self._bar.write(text, file=sys.stdout)

    def show(self, report: "Report") -> None:
        self._bar.set_postfix_str(_losses(report), refresh=False)
        if self._bar.n == 0:
            self._bar.initial = report.step * self._characters  # a resumed run: its rate counts from here
        self._bar.update(report.step * self._characters - self._bar.n)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines(contextlib.AbstractContextManager["_Lines"]):
    """Plain lines for a stderr that is no terminal: one at the beginning, every ten seconds, and at the end."""

    def __init__(self, config: TrainConfig | None) -> None:
        self._config, self._next = config, 0.0
        self._first: Report | None = None

    def write(self, text: str) -> None:
        print(text, flush=True)

    def show(self, report: "Report") -> None:
        config = self._config
        first = self._first = self._first or report
        if config is None or (time.monotonic() < self._next and not report.finished):
            return
        self._next = time.monotonic() + 10
        characters = (report.step - first.step) * config.sequence_length * config.batch_size
        print(
            f"step {report.step:,} of {config.steps:,}: {_losses(report)}"
            + (f", {characters / (report.seconds - first.seconds):,.0f} characters/s" if characters else ""),
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *_: object) -> None:
        pass

"""`jaxrnn train`: train on a text, showing progress and samples."""

import argparse
import contextlib
import dataclasses
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import tyro

from jaxrnn.cli.cell_file import named_cell
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.config import ModelConfig, OptimizerConfig, TrainConfig, from_json
from jaxrnn.errors import JaxrnnError

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
    name: Annotated[Literal["adagrad", "adam"], tyro.conf.arg(name="optimizer")] = "adagrad"
    """The rule by which a gradient becomes an update."""


@dataclasses.dataclass(frozen=True)
class Train(TrainConfig):
    """Train on a text; show progress and samples; leave a run directory."""

    corpus: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CORPUS")] = "python-docs"
    """A text file, or the name of a corpus: python-docs (built in), tinyshakespeare (fetched once)."""
    model: tyro.conf.OmitArgPrefixes[_Model] = dataclasses.field(default_factory=_Model)
    """The network."""
    optimizer: tyro.conf.OmitArgPrefixes[_Optimizer] = dataclasses.field(default_factory=_Optimizer)
    """Its optimizer."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json to begin from; flags and CORPUS beside it win over it."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep the run; by default runs/CORPUS-1, or the next number that is free."""
    resume: bool = False
    """Go on with the run in --run-dir, from its newest checkpoint and with its configuration."""
    overwrite: bool = False
    """Replace the run in --run-dir."""
    quiet: bool = False
    """Print the final sample and the result only."""

    @classmethod
    def defaults(cls, arguments: list[str]) -> "Train":
        """Return what the flags begin from: the config of --config or of the run that --resume goes on with."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("--config")
        parser.add_argument("--run-dir", "--run_dir")
        parser.add_argument("--resume", action="store_true")
        try:
            known, _ = parser.parse_known_args(arguments)
        except argparse.ArgumentError:  # tyro will say what is wrong
            return cls()
        if known.resume and known.run_dir:
            from jaxrnn.checkpoint import load_config

            return cls._of(load_config(known.run_dir))
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
        set_up_jax(self.model.dtype)
        from jaxrnn.runs import fit, new_run_directory, sample_title
        from jaxrnn.text import load_corpus

        config = self._train_config()
        corpus = load_corpus(config.corpus, vocabulary=config.vocabulary, normalize=config.normalize)
        run_dir = self.run_dir or new_run_directory(corpus.name)
        signals = _StopSignals()
        reports = fit(
            config,
            corpus,
            run_dir=run_dir,
            resume=self.resume,
            overwrite=self.overwrite,
            stop=lambda: signals.received,
        )
        with signals, contextlib.closing(reports), _progress(config, corpus, run_dir, self.quiet) as progress:
            for report in reports:
                at_end = report.step >= config.steps
                if report.sample is not None and (at_end or not self.quiet):
                    progress.write(f"{sample_title(report)}\n{report.sample}\n")
                progress.show(report)
        print(_result(report, config, corpus, run_dir))
        return 128 + signals.received if report.step < config.steps else 0


def read_config(file: str | Path) -> TrainConfig:
    """Return the configuration in a file such as a run's config.json.

    Raises:
        JaxrnnError: there is none; the message names the file.
    """
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JaxrnnError(f"can't read {file} ({error}); give the config.json of a run") from None
    try:
        return from_json(TrainConfig, text)
    except JaxrnnError as error:
        raise JaxrnnError(f"{file}: {error}") from None


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _result(report: "Report", config: TrainConfig, corpus: "Corpus", run_dir: Path) -> str:
    return (
        f"{report.step:,} of {config.steps:,} steps, {report.seconds:.1f} s: smooth loss {report.smooth_loss:.4f} nats "
        f"per {config.sequence_length} {config.vocabulary}, {report.bits_per_character:.4f} bits each\n"
        f"{corpus}\nrun: {run_dir}"
    )


class _StopSignals(contextlib.AbstractContextManager["_StopSignals"]):
    """Notes SIGINT and SIGTERM so that the loop can save and stop between two steps; a second one stops at once."""

    received = 0

    def __enter__(self) -> "_StopSignals":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        print("\njaxrnn: saving, then stopping; again to stop at once", file=sys.stderr)
        signal.signal(number, signal.SIG_DFL)

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
    print(f"{corpus}\nrun: {run_dir}", file=sys.stderr)
    return _Bar(config) if sys.stderr.isatty() else _Lines(config)


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
        self._bar.set_postfix_str(
            f"loss {report.smooth_loss:.2f}, {report.bits_per_character:.3f} bits/char", refresh=False
        )
        if self._bar.n == 0:
            self._bar.initial = report.step * self._characters  # a resumed run: its rate counts from here
        self._bar.update(report.step * self._characters - self._bar.n)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines(contextlib.AbstractContextManager["_Lines"]):
    """Plain lines for a stderr that is no terminal: one at the beginning, every ten seconds, and at the end."""

    def __init__(self, config: TrainConfig | None) -> None:
        self._config, self._next, self._first = config, 0.0, -1

    def write(self, text: str) -> None:
        print(text, flush=True)

    def show(self, report: "Report") -> None:
        config = self._config
        self._first = report.step if self._first < 0 else self._first
        if config is None or (time.monotonic() < self._next and report.step < config.steps):
            return
        self._next = time.monotonic() + 10
        rate = (report.step - self._first) * config.sequence_length * config.batch_size / report.seconds
        print(
            f"step {report.step:,} of {config.steps:,}: loss {report.smooth_loss:.2f}, "
            f"{report.bits_per_character:.3f} bits/char" + (f", {rate:,.0f} characters/s" if rate else ""),
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *_: object) -> None:
        pass

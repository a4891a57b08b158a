"""`jaxrnn train`: train on a text, showing progress and samples."""

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro

from jaxrnn.cli.cell_file import named_cell
from jaxrnn.cli.device_flags import ProcessFlags
from jaxrnn.cli.fractions import FRACTIONS
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.output import print_result
from jaxrnn.cli.progress import TrainingProgress, loss_words, reading
from jaxrnn.cli.signals import stop_signals
from jaxrnn.cli.slices import corpus_values, slice_lines, slice_values, train_slice_note, validation_lines
from jaxrnn.config import ModelConfig, OptimizerConfig, OptimizerName, TrainConfig, from_json, to_json
from jaxrnn.config.presets import preset
from jaxrnn.errors import JaxrnnError, TakenError
from jaxrnn.runs.checkpoint_files import all_checkpoints

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
    # Not tuple[float, ...]: tyro would import a library to check (1.0,) against that, which takes as long as it all.
    split: Annotated[tuple, FRACTIONS] = (1.0,)  # type: ignore[type-arg]
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
    json: bool = False
    """Print one line of JSON instead of samples and result."""
    tensorboard: bool = False
    """Keep the metrics for TensorBoard too, in the run directory (`tensorboard --logdir runs`); needs tensorboardX."""
    device: tyro.conf.OmitArgPrefixes[ProcessFlags] = dataclasses.field(default_factory=ProcessFlags)
    """Where it computes."""

    @classmethod
    def defaults(cls, arguments: list[str]) -> Self:
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
            return cls._resumed(Path(known.run_dir))
        if known.config:
            return cls._of(read_config(known.config))
        return cls()

    @classmethod
    def _resumed(cls, run_dir: Path) -> Self:
        return cls._of(_config_of_run(run_dir))

    @classmethod
    def _of(cls, config: TrainConfig) -> Self:
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
            print(json.dumps(json.loads(to_json(config))) if self.json else to_json(config))
            return 0
        set_up_jax(self.model.dtype)
        self.device.set_up()
        self.device.mesh("batch_size", self.batch_size)  # raises before anything is read
        import jax

        from jaxrnn.runs import load_run_corpus, sample_title
        from jaxrnn.runs.events import EventLog, check_tensorboard

        first = jax.process_index() == 0  # of many processes one alone writes
        if not first:
            warnings.simplefilter("ignore")

        if self.tensorboard:
            check_tensorboard()
        with reading() as show:
            corpus = load_run_corpus(config, show)
        signals = stop_signals()
        with signals:
            run_dir, reports = self._begin(config, corpus, lambda: signals.received)
            with contextlib.ExitStack() as stack:
                stack.enter_context(contextlib.closing(reports))
                events = None
                if self.tensorboard and first:
                    events = stack.enter_context(contextlib.closing(EventLog(run_dir, config.sequence_length)))
                quiet, size = self.quiet or not first, config.sequence_length * config.batch_size
                if not quiet:
                    print("\n".join([str(corpus), *slice_lines(config, corpus), f"run: {run_dir}"]), file=sys.stderr)
                progress = stack.enter_context(TrainingProgress(config.steps * size, quiet))
                for report in reports:
                    if report.sample is not None and (report.finished or not self.quiet) and not self.json:
                        progress.write(f"{sample_title(report)}\n{report.sample}\n")
                    position = f"step {report.step:,} of {config.steps:,}"
                    progress.show(report.step * size, position, loss_words(report), report.finished)
                    if events:
                        events.add(report)
        if first:
            values = _result_as_json(report, config, corpus, run_dir)
            print_result(self.json, values, _result(report, config, corpus, run_dir))
        # Where this process had no signal, another one of the run had.
        return 0 if report.finished else 128 + (signals.received or signal.SIGTERM)

    def _begin(
        self, config: TrainConfig, corpus: "Corpus", should_stop: Callable[[], object]
    ) -> tuple[Path, Generator["Report"]]:  # fmt: skip
        from jaxrnn.runs import fit, new_run_directory

        options: dict[str, Any] = {"resume": self.resume, "overwrite": self.overwrite, "should_stop": should_stop}
        options["devices"] = self.device.devices
        while True:
            run_dir = self.run_dir or new_run_directory(corpus.name)
            try:
                return run_dir, fit(config, corpus, run_dir=run_dir, **options)
            except TakenError:
                if self.run_dir:
                    raise  # else another process, begun at the same time, was quicker: the next number, then


def _config_of_run(run_dir: Path) -> TrainConfig:
    from jaxrnn.runs.checkpoint import load_config

    begun = run_dir / "config.json"
    if begun.is_file() and not all_checkpoints(run_dir):
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
        + train_slice_note(config, corpus),
        *validation_lines(report, config, corpus),
        f"{corpus}\nrun: {run_dir}",
    ]
    return "\n".join(lines)


def _result_as_json(report: "Report", config: TrainConfig, corpus: "Corpus", run_dir: Path) -> dict[str, Any]:
    import jax

    from jaxrnn.runs import slices_of

    return {
        "run": run_dir,
        "step": report.step,
        "steps": config.steps,
        "finished": report.finished,
        "seconds": report.seconds,
        "smooth_loss": report.smooth_loss,
        "bits_per_character": report.bits_per_character,
        "validation_loss": report.validation_loss,
        "best": report.best and {"step": report.best.step, "loss": report.best.loss},
        "sample": report.sample,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(report.state.params)),
        "unit": corpus.vocabulary.kind,
        "slices": [slice_values(part) for part in slices_of(corpus, config).values()],
        "corpus": corpus_values(corpus),
    }

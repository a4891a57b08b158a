"""`jaxrnn train`: train on a text, showing progress and samples."""

import contextlib
import dataclasses
import importlib.util
import math
import signal
import sys
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import tyro

import jaxrnn
from jaxrnn.cli import advice
from jaxrnn.cli.arguments import DEVICE, OPTIONS, ProcessFlags, RunOptions, TrainingFlags, open_checkpoint
from jaxrnn.cli.dial import dialed
from jaxrnn.cli.flags import with_flags
from jaxrnn.cli.output import corpus_values, fields_of, loss_values, print_result, slice_lines, unseen_symbols
from jaxrnn.cli.process import set_up_jax, stop_signals
from jaxrnn.cli.python_file import cell_of, optimizer_of
from jaxrnn.cli.streams import discard
from jaxrnn.config import Cell, OptimizerConfig, TrainConfig, read_config, with_settings
from jaxrnn.config.fields import check_in
from jaxrnn.config.grid import value_of
from jaxrnn.errors import JaxrnnError, NonFiniteError, StorageError, TakenError, counted
from jaxrnn.runs.checkpoint_files import all_checkpoints, find_checkpoint
from jaxrnn.runs.progress import TrainingProgress


@dataclasses.dataclass(frozen=True)
class TrainOptions(RunOptions):
    """Files and output."""

    from_run: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = None
    """Fine-tune: begin with the weights, the optimizer's memory, the settings and the symbols of RUN, on CORPUS."""
    fresh_memory: bool = False
    """With --from-run, begin with an empty memory of the optimizer."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard to the run directory (`tensorboard --logdir runs`); needs tensorboardX."""


@dataclasses.dataclass(frozen=True)
class Train(TrainingFlags):
    """Train on a text; show progress and samples; write a run directory."""

    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """Choose everything by the text and the time: measure this machine, and train for about M minutes."""
    options: Annotated[TrainOptions, OPTIONS] = dataclasses.field(default_factory=TrainOptions)
    device: Annotated[ProcessFlags, DEVICE] = dataclasses.field(default_factory=ProcessFlags)

    def run(self) -> int:
        """Train, print, and return the exit code."""
        began = time.perf_counter()
        config, optimizer = self._config_and_optimizer()
        if self.options.dry_run and self.minutes is None:
            self.options.print_plan(config)
            return 0
        set_up_jax(config.model.dtype)
        if self.minutes is None:
            device = self.device.set_up_training(config, self._devices_before())
            mesh = device.mesh("batch_size", config.batch_size)  # raises before anything is read
        else:
            auto = self.device.devices == "auto"  # the choice is still to be made
            (dataclasses.replace(self.device, devices="all") if auto else self.device).set_up()
        import jax

        from jaxrnn.runs.metrics import log_events

        prints = jax.process_index() == 0  # only the first of many processes prints and writes
        shows = prints and not self.options.quiet
        if not prints:
            warnings.simplefilter("ignore")
        if self.options.tensorboard and importlib.util.find_spec("tensorboardX") is None:
            raise JaxrnnError("--tensorboard needs tensorboardX, which is not installed; pip install tensorboardX")
        parent = None
        if self.options.from_run:
            memory_of = None if self.options.fresh_memory else optimizer
            cell = config.model.cell if isinstance(config.model.cell, Cell) else None
            parent = open_checkpoint(self.options.from_run, None, cell, optimizer=memory_of)
            if config.vocabulary != parent.vocabulary.kind:
                raise JaxrnnError(f"{parent.file} is of a network of {parent.vocabulary.kind}; leave --vocabulary out")
            symbols = {*parent.vocabulary.symbols, *config.symbols}
            config = with_settings(config, {"symbols": "".join(sorted(symbols))})
        corpus = self.load_corpus(config)
        if self.minutes is not None:
            settings = {name: value_of(config, name) for name in self.changes()}
            config, lines = dialed(self.minutes, corpus, settings, began, self.device, optimizer)
            device = self.device.set_up_training(config)
            mesh = device.mesh("batch_size", config.batch_size)
            if shows:
                print("\n".join(lines), file=sys.stderr)
            if self.options.dry_run:
                self.options.print_plan(config)
                return 0
        slices = jaxrnn.runs.slices_of(corpus, config)
        with stop_signals() as received:
            display = TrainingProgress(config.steps, has_bar=shows, has_lines=shows)
            options: dict[str, Any] = {"optimizer": optimizer, "progress": display.note, "devices": device.devices}
            run_dir, reports = self._begin(config, corpus, parent, should_stop=lambda: received, **options)
            if shows:
                about = [str(corpus), *slice_lines(slices, corpus.vocabulary), f"run: {run_dir}"]
                if mesh and self.device.devices == "auto" and jax.process_count() == 1:
                    about.append(f"devices: {mesh.size}, each with {counted(config.batch_size // mesh.size, 'lanes')}")
                print("\n".join(about), file=sys.stderr)
            if self.options.tensorboard and prints:
                reports = log_events(reports, run_dir)
            try:
                report = self._show(reports, display, shows)
            except NonFiniteError as error:
                if not all_checkpoints(run_dir):
                    raise
                flags = None  # nothing is known of a user-defined optimizer
                if not optimizer:
                    rate = config.optimizer.peak_learning_rate / 2
                    flags = f" --steps {config.steps} --learning-rate {rate:g}"
                closing = "\n".join(self._closing_lines(run_dir, flags))
                raise NonFiniteError(f"{error}\n{closing}") from error
            if prints:
                self._print_result(report, corpus, slices, run_dir)
        # If this process received no signal, another process of the run did.
        return 0 if report.finished else 128 + (received[0] if received else signal.SIGTERM)

    def _devices_before(self) -> int | None:
        """Return how many devices trained the run that is resumed: on as many, its results are bit-identical."""
        if not (self.resume and self.run_dir and all_checkpoints(self.run_dir)):
            return None
        from jaxrnn.runs.checkpoint import load_fields

        return int(load_fields(self.run_dir)["computed_by"].get("device_count", 1))

    def sources(self) -> dict[str, Any]:
        """Return the values of the flags that say what to start from, at most one of which may be given."""
        return {**super().sources(), "--minutes": self.minutes is not None, "--from-run": self.options.from_run}

    def _config_and_optimizer(self) -> tuple[TrainConfig, Any]:
        check_in(self.minutes, "(0, inf)", "minutes")
        config, changes, optimizer = self.starting_config(), self.changes(), None
        if self.options.fresh_memory and not self.options.from_run:
            raise JaxrnnError("--fresh-memory needs --from-run, the run to begin from")
        if self.options.from_run or self.resume:
            from jaxrnn.runs.checkpoint import load_fields
        if self.options.from_run:
            config = load_fields(find_checkpoint(self.options.from_run, "last"))["config"]
        if self.resume and self.run_dir:
            written = self.run_dir / "config.json"  # the newest that a person gave: a checkpoint may hold an older one
            config = read_config(written) if written.exists() else load_fields(self.run_dir)["config"]
        else:  # the corpus gives it
            config = with_settings(config, {"vocab_size": None, "parent": ""})
        if "cell" in changes:
            changes["cell"] = cell_of(changes["cell"])
        if "optimizer" in changes:
            changes["optimizer"], optimizer = optimizer_of(changes["optimizer"])
        if optimizer is not None:  # a preset's fields of its optimizer are not for this one
            config = dataclasses.replace(config, optimizer=OptimizerConfig(name="custom"))
        return with_flags(config, changes), optimizer

    def _begin(
        self, config: TrainConfig, corpus: "jaxrnn.Corpus", parent: "jaxrnn.Checkpoint | None", **options: Any
    ) -> "tuple[Path, Generator[jaxrnn.Report]]":
        options |= {"resume": self.resume, "overwrite": self.options.overwrite}
        while True:
            run_dir = self.run_dir or jaxrnn.runs.new_run_directory(corpus.name)
            try:
                if parent:
                    files, optimizer = self.options, options["optimizer"]
                    memory: dict[str, Any] = {"fresh_memory": files.fresh_memory, "optimizer": optimizer}
                    config = jaxrnn.begin_run(parent, config, corpus, run_dir, overwrite=files.overwrite, **memory)
                    options |= {"resume": True, "overwrite": False}
                return run_dir, jaxrnn.fit(config, corpus, run_dir=run_dir, **options)
            except TakenError:
                if self.run_dir:
                    raise  # else another process took the directory first: try the next number

    def _show(self, reports: "Generator[jaxrnn.Report]", display: TrainingProgress, shows: bool) -> "jaxrnn.Report":
        """Show reports as they come; return the last one."""
        from jaxrnn.runs.report import losses_in_words, sample_title

        step_of_rise, prints_samples = -1, not self.options.json
        with contextlib.closing(reports), display:
            for report in reports:
                display.show(report.step, losses_in_words(report), finished=report.finished)
                if report.sample is not None and (report.finished or shows) and prints_samples:
                    with display.hidden():
                        prints_samples = _print_sample(f"{sample_title(report)}\n{advice.shown_sample(report)}")
                line = advice.rising_line(report) if shows else None
                if line and report.best and report.best.step != step_of_rise:
                    step_of_rise = report.best.step
                    with display.hidden():
                        print(line, file=sys.stderr, flush=True)
        return report

    def _print_result(
        self, report: "jaxrnn.Report", corpus: "jaxrnn.Corpus", slices: "dict[str, jaxrnn.Slice]", run_dir: Path
    ) -> None:
        config, best, unit = report.config, report.best, report.config.loss_unit
        values = {
            "run": run_dir,
            **fields_of(report, "step", "finished", "seconds", "sample", "epochs"),
            **loss_values(report),
            "steps": config.steps,
            "parameters": report.state.params.num_parameters,
            "unit": corpus.vocabulary.kind,
            "slices": [fields_of(part, "name", "begin", "end") for part in slices.values()],
            "corpus": corpus_values(corpus),
        }
        trained_on = f" ({slices['train']})" if len(slices) > 1 else ""
        lines: list[str | None] = [
            f"{report.step:,} of {counted(config.steps, 'steps')}, {report.seconds:.1f} s: "
            f"{report.bits_per_character:.3f} {unit}{trained_on}",
            advice.guessing_line(report),
            _epoch_line(report),
        ]
        if _is_min_char_rnn(config):
            lines.append(
                f"smooth loss of min-char-rnn: {report.smooth_loss:.2f} nats per {config.sequence_length} "
                f"{config.vocabulary}"
            )
        if best:
            validation = slices["validation"]
            lines.append(f"{validation}: {advice.best_line(best, report)}")
            lines.append(unseen_symbols(slices["train"], validation, corpus.vocabulary)[1])
            if report.finished and report.step < config.steps:
                lines.append(f"stopped early: no better validation loss in {counted(best.since, 'validations')}")
        if self.options.quiet:
            lines.append(str(corpus))  # else it stands at the beginning
        lines += [f"run: {run_dir}", *self._closing_lines(run_dir, advice.resume_flags(report))]
        print_result(self.options.json, values, *lines)

    def _closing_lines(self, run_dir: Path, flags: str | None) -> list[str]:
        changes = self.changes()
        return advice.closing_lines(run_dir, {name: changes.get(name) for name in ("cell", "optimizer")}, flags)


def _print_sample(text: str) -> bool:
    """Print a sample; return whether that was possible. If not, a message says so, and the training goes on."""
    try:
        print(text, flush=True)
    except (BrokenPipeError, StorageError) as error:
        reason: object = error  # the disk is full
        if isinstance(error, BrokenPipeError):  # the reader, such as `| head`, has ended, which is no failure
            reason = "stdout is closed"
            discard(sys.stdout)
        print(f"jaxrnn: {reason}; training goes on without printing samples", file=sys.stderr, flush=True)
        return False
    return True


def _epoch_line(report: "jaxrnn.Report") -> str | None:
    """Return the losses of the last two whole epochs, which can be compared; None: there is none."""
    done, last, before = report.epochs
    if last is None:
        return None
    earlier = "" if before is None else f", epoch {int(done) - 1:,}: {before:.3f}"
    tenths = math.floor(10 * done) / 10  # rounded down: 1.96 epochs are no 2 whole ones
    return f"epoch {int(done):,} of {tenths:,.1f}: {last:.3f}{earlier} {report.config.loss_unit}"


def _is_min_char_rnn(config: TrainConfig) -> bool:
    """Return whether network and training step are those of min-char-rnn, on any text."""
    default = TrainConfig()
    names = ("optimizer", "sequence_length", "batch_size")
    same_model = dataclasses.replace(config.model, vocab_size=None) == default.model
    return same_model and all(getattr(config, name) == getattr(default, name) for name in names)

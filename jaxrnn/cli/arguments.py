"""The arguments that several commands share: a run and its checkpoint, devices and processes, what to train."""

import collections
import dataclasses
import math
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

import jaxrnn
from jaxrnn.cli.flags import field_flags, setting_flags
from jaxrnn.cli.output import json_text, reading
from jaxrnn.cli.process import set_up_jax
from jaxrnn.cli.python_file import load_cell
from jaxrnn.cli.streams import Stream
from jaxrnn.config import PRESETS, Cell, TrainConfig, read_config
from jaxrnn.config.fields import check_in
from jaxrnn.config.presets import adapted
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs.checkpoint_files import checkpoint_path, find_checkpoint, newest_good

if TYPE_CHECKING:
    from jax.sharding import Mesh
    from optax import GradientTransformation

RunArgument = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="Run directory or checkpoint.")]
_FROM = "Checkpoint of RUN: best (lowest validation loss), average (newest, averaged), last (newest), or a step."
_FROM_DEFAULT = "(default: best if there was a validation, else average or last)"
CheckpointFlag = Annotated[
    str | None,
    tyro.conf.arg(name="from", metavar="best|average|last|STEP", help=_FROM, help_behavior_hint=_FROM_DEFAULT),
]
_CELL = "User-defined cell of RUN: NAME in that Python file, which is executed."
CellFlag = Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME", help=_CELL)]
_CORPUS = (
    "Text files, folders or patterns, which are joined; - for stdin; or the name of a corpus: python-docs (built in) "
    "or tinyshakespeare (downloaded once)."
)
CorpusArgument = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(metavar="CORPUS...", help=_CORPUS, help_behavior_hint="(default: python-docs)"),
]
PresetFlag = Annotated[
    str | None,
    tyro.conf.arg(
        constructor=tyro.extras.literal_type_from_choices(PRESETS), help_behavior_hint="(default: min-char-rnn)"
    ),
]
ReadingFlags = Annotated[Any, field_flags(TrainConfig, "encoding", "normalize", "join", default="as the run")]
JsonFlag = Annotated[bool, tyro.conf.arg(help="Print one line of JSON and nothing else.")]


@dataclasses.dataclass(frozen=True)
class DeviceFlags:
    """Where to compute."""

    device: Literal["cpu", "gpu", "tpu"] | None = None
    """Kind of device; by default the best that JAX finds."""
    devices: int | Literal["all"] = 1
    """Devices to split the lanes over; a CPU core can be one. `all` takes every core if there is no GPU or TPU."""

    def set_up(self) -> None:
        """Make JAX use the devices, before anything is computed."""
        import jax

        from jaxrnn.distributed.cores import available_cores
        from jaxrnn.distributed.mesh import make_cpu_devices, use_device

        check_in(None if isinstance(self.devices, str) else self.devices, "[1, 1000]", "--devices")
        if not jax.distributed.is_initialized():
            make_cpu_devices(available_cores() if self.devices == "all" else self.devices)
        use_device(self.device)

    def mesh(self, name: str, lanes: int) -> "Mesh | None":
        """Return the devices to split lanes over; raise JaxrnnError, with the name of their flag, if that can't be."""
        from jaxrnn.distributed.mesh import check_divides, make_mesh

        mesh = make_mesh(self.devices)
        check_divides(mesh, name, lanes)
        return mesh


@dataclasses.dataclass(frozen=True)
class ProcessFlags(DeviceFlags):
    """Where to compute, and with which other processes."""

    devices: int | Literal["auto", "all"] = "auto"  # type: ignore[assignment]  # wider than for other commands
    """Devices to split the lanes over, in all. auto: as many CPU cores as divide the lanes and speed up training, one
    GPU or TPU, or the devices of all processes. all: every core if there is no GPU or TPU."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Address of process 0, in a trusted network, to train with many processes; found automatically under Slurm, MPI,
    Kubernetes, on TPU pods. IPv6 stands in brackets: [fd00::1]:1234."""
    num_processes: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of processes; 1 is this one alone, whatever a launcher says."""
    process_id: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of this process, from 0. Only process 0 prints and writes files."""

    def set_up(self) -> None:
        """Join the other processes, if there are any, and make JAX use the devices."""
        from jaxrnn.distributed.processes import launched_together, start_processes

        check_in(self.num_processes, "[1, inf)", "--num-processes")
        if self.coordinator or (launched_together() and self.num_processes != 1):
            # What the library that joins processes writes to stdout would break lines of JSON; it goes to stderr.
            sys.stdout.flush()
            stdout = os.dup(1)
            os.dup2(2, 1)
            sys.stdout = Stream(os.fdopen(stdout, "w", encoding=sys.stdout.encoding))
            start_processes(self.coordinator, self.num_processes, self.process_id)
        elif self.process_id or (self.num_processes or 1) > 1:
            raise JaxrnnError("many processes need --coordinator HOST:PORT, the address of process 0")
        super().set_up()

    def set_up_training(self, config: TrainConfig, before: int | None = None) -> Self:
        """Set up JAX for a run; return these flags with auto replaced by a number: `before`, or what is fastest."""
        if self.devices != "auto":
            self.set_up()
            return self
        import jax

        from jaxrnn.distributed.cores import available_cores, devices_for
        from jaxrnn.runs.programs import step_flops

        count = devices_for(config.batch_size, step_flops(config), available_cores())
        if before and (before <= available_cores() or self.device not in (None, "cpu")):
            count = before
        flags = dataclasses.replace(self, devices=count)
        flags.set_up()
        # Many processes use all their devices, which 1 stands for; one GPU is as fast as several at these sizes.
        fits = count <= jax.device_count() and (before or jax.default_backend() == "cpu")
        return flags if fits and jax.process_count() == 1 else dataclasses.replace(self, devices=1)


DEVICE = tyro.conf.arg(help="Where to compute.")  # annotates a field of these types
DeviceArgument = Annotated[DeviceFlags, DEVICE]


def choose_checkpoint(
    run_dir: Path, which: str | None, cell: str | None = None, device: DeviceFlags | None = None, *, quiet: bool = False
) -> "jaxrnn.Checkpoint":
    """Return the checkpoint that these flags name; unless `quiet`, say on stderr which one is the default.

    Its parameters are those to predict with: their average if the run has one, unless `which` is "last" or a step.
    """
    checkpoint = open_checkpoint(run_dir, which, cell, device)
    averaged, state, params = "", checkpoint.state, checkpoint.state.params
    if which in (None, "best", "average") and state.average is not None:
        params = state.average
        averaged = f", its parameters averaged with decay {checkpoint.config.average_decay:g}"
    elif which == "average":
        raise JaxrnnError(f"{run_dir} has no average; train with --average-decay, such as 0.999, or leave --from out")
    checkpoint = checkpoint._replace(state=state._replace(params=params, average=None))
    if which is None and run_dir.is_dir() and not quiet:
        step, best = checkpoint.counters["step"], checkpoint_path(run_dir / "checkpoints", "best")
        line = f"the newest checkpoint of {run_dir}, after step {step:,}"
        if checkpoint.file == best and "best_loss" in checkpoint.counters:
            bits = checkpoint.counters["best_loss"] / math.log(2)
            loss = f"{bits:.3f} {checkpoint.config.loss_unit}"
            line = f"the best checkpoint of {run_dir}, after step {step:,}: {loss} in validation"
        print(f"{line}{averaged}", file=sys.stderr)
    return checkpoint


def open_checkpoint(
    run_dir: Path,
    which: str | None = "last",
    cell: str | Cell | None = None,
    device: DeviceFlags | None = None,
    optimizer: "GradientTransformation | None" = None,
) -> "jaxrnn.Checkpoint":
    """Return a checkpoint, with JAX set up for its dtype; if `which` is None, the best one or else the newest.

    Without a device, JAX chooses one. The optimizer is used only if the run's own is user-defined.
    """
    from jaxrnn.runs.checkpoint import read_checkpoint

    def prepare(config: TrainConfig) -> "tuple[Cell | None, GradientTransformation | None]":
        set_up_jax(config.model.dtype)
        (device or DeviceFlags()).set_up()
        own_optimizer = optimizer if config.optimizer.name == "custom" else None
        return load_cell(cell) if isinstance(cell, str) else cell, own_optimizer

    path = find_checkpoint(run_dir, which or "last")
    return newest_good(path, lambda file: read_checkpoint(file, prepare), best_first=which is None)


def training_slice(checkpoint: "jaxrnn.Checkpoint", flag: str) -> "jaxrnn.Slice":
    """Return the slice that a run was trained on; load its corpus again, and name the flag that needs it in errors."""
    try:
        with reading() as progress:
            corpus = jaxrnn.runs.reload_corpus(checkpoint, progress)
    except JaxrnnError as error:
        raise JaxrnnError(f"for {flag}, {error}") from None
    return jaxrnn.runs.slices_of(corpus, checkpoint.config)["train"]


def check_read(values: dict[str, Any], source: str, *names: str) -> None:
    """Raise JaxrnnError if a flag of these names is given, because no `source` is read that it could apply to."""
    for name in names:
        if name in values:
            raise JaxrnnError(f"--{name} says how {source} is read; give that too, or leave --{name} out")


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Files and output."""

    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json to start from; CORPUS and other flags win over it."""
    overwrite: bool = False
    """Replace what is in --run-dir."""
    dry_run: bool = False
    """Print the configuration as JSON, and exit."""
    quiet: bool = False
    """Print only the result, without progress and samples on the way."""
    json: bool = False
    """Print one line of JSON instead of text."""

    def print_plan(self, values: Any) -> None:
        """Print as JSON what would be trained, for --dry-run."""
        print(json_text(values, indent=None if self.json else 2))


OPTIONS = tyro.conf.arg(name="run", help="Files and output.")  # annotates a field of this type


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """What to start from, and what to change."""

    settings: Annotated[Any, setting_flags()]
    corpus: CorpusArgument = ()
    preset: PresetFlag = None
    """Settings to start from, which --dry-run shows and `jaxrnn presets` compares; other flags win over them."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Directory of the run; by default runs/CORPUS-1, or the next number that is free."""
    resume: bool = False
    """Continue the run in --run-dir from its newest checkpoint, with its configuration."""
    options: Annotated[RunOptions, OPTIONS] = dataclasses.field(default_factory=RunOptions)

    def starting_config(self) -> TrainConfig:
        """Return the configuration to start from, unless a run is resumed; raise JaxrnnError if flags are at odds."""
        if self.resume and not self.run_dir:
            raise JaxrnnError("--resume needs --run-dir, the directory to resume from")
        flags_in_use = [name for name, value in self.sources().items() if value]
        if len(flags_in_use) > 1:
            raise JaxrnnError(f"{' and '.join(flags_in_use)} both say what to start from; give one of them")
        if self.resume and self.options.overwrite:
            raise JaxrnnError("--resume continues what is in --run-dir and --overwrite replaces it; give one of them")
        if self.options.config:
            return read_config(self.options.config, may_wait=True)
        return adapted(PRESETS[self.preset or "min-char-rnn"], self.changes())

    def load_corpus(self, config: TrainConfig) -> "jaxrnn.Corpus":
        """Return the text to train on; raise JaxrnnError, with what to do if that of a resumed run has moved."""
        for name in ("join", "symbols"):  # others need no warning: a prompt that the text lacks is refused
            if re.search(r"\\[nrt]", str(self.changes().get(name, ""))):
                message = f"--{name} has a backslash and a letter, as they were typed; a new line is $'\\n' in a shell"
                warnings.warn(message, stacklevel=2)
        with reading() as progress:
            try:
                return jaxrnn.runs.load_run_corpus(config, progress)
            except JaxrnnError as error:
                flags = [flag for flag, value in self.sources().items() if value and flag != "--preset"]
                if self.corpus or not flags:
                    raise
                advice = "restore it, or, if it has moved, give its new path as CORPUS"
                raise JaxrnnError(f"{error}; {flags[0]} takes the text as it was: {advice}") from None

    def sources(self) -> dict[str, Any]:
        """Return the values of the flags that say what to start from, at most one of which may be given."""
        return {"--preset": self.preset, "--config": self.options.config, "--resume": self.resume}

    def changes(self) -> dict[str, Any]:
        """Return the settings that flags and CORPUS give, by the names of the flags."""
        corpus = {"corpus": "\n".join(self.corpus)} if self.corpus else {}
        return {**corpus, **collections.ChainMap(*self.settings.values())}

"""The flags that `jaxrnn train` and `jaxrnn sweep` share: what to start from, and the fields of a TrainConfig."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from jaxrnn.cli.flags import comma_separated, file_or_one_of, flag, flags, given, one_of, spec_of
from jaxrnn.config import (
    PRESETS,
    SETTINGS,
    SWEEPABLE,
    CellName,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    TrainConfig,
    from_json,
)
from jaxrnn.errors import JaxrnnError

# The settings by the title of their group in --help. The group without a title has those that people set most often; it
# comes first, after CORPUS, --preset, --run-dir and --resume.
GROUPS = {
    "": ("steps", "split", "cell", "hidden_size", "learning_rate", "sample_every", "seed"),
    "text": ("vocabulary", "normalize", "min_count", "reset_on"),
    "network": ("num_layers", "dropout", "init", "init_scale", "dtype", "products"),
    "optimizer": (
        *("optimizer", "momentum", "rms_decay", "beta1", "beta2", "weight_decay", "clip", "clip_value"),
        *("schedule", "warmup_steps", "final_fraction", "decay_from", "decay_every", "decay_rate"),
    ),
    "training": ("sequence_length", "batch_size", "chunk_length"),
    "logging": ("prompt", "sample_length", "log_every", "checkpoint_every", "keep", "validate_every", "patience"),
}
_PARTS = {"": TrainConfig, "model": ModelConfig, "optimizer": OptimizerConfig}
_SPECS = {
    "cell": file_or_one_of(get_args(CellName)),
    "optimizer": file_or_one_of(get_args(OptimizerName)),
    "split": comma_separated(spec_of(ModelConfig, "dropout")),
}
_DESCRIPTIONS = {
    "cell": "Recurrent cell. FILE.py:NAME is a user-defined one: NAME in that Python file, which is run.",
    "optimizer": "Optimizer. FILE.py:NAME is a user-defined one: an optax transformation, as with --cell.",
}


def setting_flags(lists: bool = False) -> Any:
    """Return the annotation of the flags for all settings, in their groups.

    Args:
        lists: whether settings that can be swept take lists.
    """

    def group(title: str) -> Any:
        names = GROUPS[title]
        return flags(lambda: {name: _flag(name, lists and name in SWEEPABLE) for name in names}, title)

    return flags(lambda: {title or "first": Annotated[Any, group(title)] for title in GROUPS})


def _flag(name: str, as_list: bool) -> Any:
    part, _, field = SETTINGS[name].rpartition(".")
    kind = _PARTS[part]
    spec = _SPECS.get(name) or spec_of(kind, field)
    return flag(kind, field, comma_separated(spec) if as_list else spec, _DESCRIPTIONS.get(name, ""))


OPTIONS = tyro.conf.arg(name="run", help="Files and output.")


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


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """What to start from, and what to change."""

    settings: Annotated[Any, setting_flags()]
    corpus: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="CORPUS", help_behavior_hint="(default: python-docs)")
    ] = None
    """A text file, or the name of a corpus: python-docs (built in) or tinyshakespeare (downloaded once)."""
    preset: Annotated[str | None, one_of(PRESETS), tyro.conf.arg(help_behavior_hint="(default: min-char-rnn)")] = None
    """Settings to start from, which --dry-run shows; other flags win over them."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Directory of the run; by default runs/CORPUS-1, or the next number that is free."""
    resume: bool = False
    """Continue the run in --run-dir from its newest checkpoint, with its configuration."""
    options: Annotated[RunOptions, OPTIONS] = dataclasses.field(default_factory=RunOptions)

    def check(self) -> None:
        """Raise JaxrnnError for flags that contradict each other."""
        if self.resume and not self.run_dir:
            raise JaxrnnError("--resume needs --run-dir, the directory to resume from")
        sources = {"--preset": self.preset, "--config": self.options.config, "--resume": self.resume}
        flags_in_use = [name for name, value in sources.items() if value]
        if len(flags_in_use) > 1:
            raise JaxrnnError(f"{' and '.join(flags_in_use)} both say what to start from; give one of them")
        if self.resume and self.options.overwrite:
            raise JaxrnnError("--resume continues what is in --run-dir and --overwrite replaces it; give one of them")

    def starting_config(self) -> TrainConfig:
        """Return the configuration to start from if no run is resumed."""
        if self.options.config:
            return read_config(self.options.config)
        return PRESETS[self.preset or "min-char-rnn"]

    def changes(self) -> dict[str, Any]:
        """Return the settings that flags and CORPUS give, by the names of the flags."""
        corpus = {} if self.corpus is None else {"corpus": self.corpus}
        return corpus | {name: value for group in given(self.settings).values() for name, value in given(group).items()}


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

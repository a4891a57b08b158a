"""`jaxrnn info`: what a run holds, or what this installation is."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxrnn.cli.opening import open_checkpoint

if TYPE_CHECKING:
    from jaxrnn.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Info:
    """Describe a run and its checkpoints; without one, describe this installation."""

    run_dir: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""

    def run(self) -> int:
        """Print it, and return the exit code."""
        print(_installation() if self.run_dir is None else _run(self.run_dir, self.cell))
        return 0


def _installation() -> str:
    import jax

    from jaxrnn.fetch import NAMED, cache_directory

    devices = ", ".join(f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices())
    return f"devices: {devices}\ncorpora: {', '.join(NAMED)}\ncache: {cache_directory()}"


def _run(path: Path, cell: str | None) -> str:
    import jax

    from jaxrnn.checkpoint import best_checkpoint_path, list_checkpoints
    from jaxrnn.loss import bits_per_character

    checkpoint = open_checkpoint(path, cell=cell)
    config, state, corpus = checkpoint.config, checkpoint.state, checkpoint.corpus
    model, optimizer, smooth_loss = config.model, config.optimizer, float(state.smooth_loss)
    bits = bits_per_character(smooth_loss, config.sequence_length)
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    lines = [
        f"step: {int(state.step):,} of {config.steps:,}",
        f"smooth loss: {smooth_loss:.4f} nats per {config.sequence_length} {config.vocabulary}, {bits:.4f} bits each",
        f"model: {cell or model.cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols, "
        f"{size:,} parameters, {model.dtype}",
        f"training: T {config.sequence_length}, B {config.batch_size}, {optimizer.name}, {optimizer.schedule} learning "
        f"rate {optimizer.peak_learning_rate}, clip {optimizer.clip} {optimizer.clip_value}, seed {config.seed}",
        f"corpus: {corpus['source']}, {corpus['length']:,} {config.vocabulary}, sha256 {corpus['sha256']}",
        *([f"split: {', '.join(map(str, config.split))}"] if len(config.split) > 1 else []),
        f"computed by: jax {checkpoint.computed_by['jax']} on {checkpoint.computed_by['device']}",
    ]
    if path.is_dir():
        directory = path / "checkpoints"
        lines += [f"checkpoint: {file}" for file in list_checkpoints(directory)]
        if best_checkpoint_path(directory).exists():
            lines += [f"best checkpoint: {_best(best_checkpoint_path(directory), config)}"]
    return "\n".join(lines)


def _best(path: Path, config: "TrainConfig") -> str:
    from jaxrnn.checkpoint import load_checkpoint
    from jaxrnn.errors import CheckpointError

    try:
        counters = load_checkpoint(path).counters
    except CheckpointError as error:
        return str(error)
    loss = f"validation loss {counters['best_loss']:.4f} nats per {config.vocabulary.removesuffix('s')}"
    return f"{path}, step {counters['step']:,}, {loss}"

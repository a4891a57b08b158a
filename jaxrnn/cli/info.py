"""`jaxrnn info`: what a run holds, or what this installation is."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrnn.cli.cell_file import load_cell


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

    from jaxrnn.checkpoint import list_checkpoints, load_checkpoint, load_config
    from jaxrnn.loss import bits_per_character

    if load_config(path).model.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    checkpoint = load_checkpoint(path, load_cell(cell) if cell else None)
    config, state, corpus = checkpoint.config, checkpoint.state, checkpoint.corpus
    model, smooth_loss = config.model, float(state.smooth_loss)
    bits = bits_per_character(smooth_loss, config.sequence_length)
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    lines = [
        f"step: {int(state.step):,} of {config.steps:,}",
        f"smooth loss: {smooth_loss:.4f} nats per {config.sequence_length} {config.vocabulary}, {bits:.4f} bits each",
        f"model: {cell or model.cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols, "
        f"{size:,} parameters, {model.dtype}",
        f"training: T {config.sequence_length}, B {config.batch_size}, learning rate "
        f"{config.optimizer.learning_rate}, clip {config.optimizer.clip_value}, seed {config.seed}",
        f"corpus: {corpus['source']}, {corpus['length']:,} {config.vocabulary}, sha256 {corpus['sha256']}",
        f"computed by: jax {checkpoint.computed_by['jax']} on {checkpoint.computed_by['device']}",
    ]
    if path.is_dir():
        lines += [f"checkpoint: {file}" for file in list_checkpoints(path / "checkpoints")]
    return "\n".join(lines)

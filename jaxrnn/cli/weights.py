"""`jaxrnn export` and `jaxrnn import`: weights for PyTorch, and from it."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

import jaxrnn
from jaxrnn.cli.arguments import CellFlag, CheckpointFlag, JsonFlag, RunArgument, open_checkpoint, read_config
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.output import corpus_values, fields_of, print_result
from jaxrnn.cli.python_file import cell_of
from jaxrnn.config import TrainConfig, with_settings
from jaxrnn.errors import JaxrnnError


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a network's weights as a PyTorch state dict, in a safetensors file."""

    run_dir: RunArgument
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.safetensors")]
    """File to write, for a module that has an nn.RNN, nn.GRU or nn.LSTM `rnn` and an nn.Linear `readout`."""
    from_: CheckpointFlag = "last"
    cell: CellFlag = None
    overwrite: bool = False
    """Replace the file."""
    json: JsonFlag = False

    def run(self) -> None:
        """Write the file, and print its name."""
        checkpoint = open_checkpoint(self.run_dir, self.from_, self.cell)
        params, model = checkpoint.state.params, checkpoint.config.model
        jaxrnn.save_weights(self.out, params, model, checkpoint.vocabulary, overwrite=self.overwrite)
        values = {"weights": self.out, "step": checkpoint.counters["step"]}
        print_result(self.json, values, f"weights: {self.out}")


@dataclasses.dataclass(frozen=True)
class Import:
    """Make a run of a PyTorch model's weights (a state dict, safetensors), to sample from or to train further."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.safetensors")]
    """File from `jaxrnn export`, or from safetensors.torch.save_file of recurrent layers and a linear layer."""
    corpus: Annotated[str, tyro.conf.arg(metavar="CORPUS")]
    """Text that the model was trained on; its sorted distinct characters are the symbols if FILE lists none."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Run directory to make; by default runs/CORPUS-1, or the next free number."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="{tanh,gru,lstm,FILE.py:NAME}")] = None
    """Cell; by default that of the file's metadata, or the one with as many gates as the weights."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json with the settings for further training; by default those of `jaxrnn train`."""
    overwrite: bool = False
    """Replace the run in --run-dir."""
    json: JsonFlag = False

    def run(self) -> None:
        """Make the run, and describe it."""
        config = read_config(self.config) if self.config else TrainConfig()
        weights = jaxrnn.load_weights(self.file, cell_of(self.cell) if self.cell else None)
        set_up_jax(weights.model.dtype)
        kind = weights.vocabulary.kind if weights.vocabulary else config.vocabulary
        corpus = jaxrnn.load_corpus(
            self.corpus, vocabulary=kind, normalize=config.normalize, min_count=config.min_count
        )
        _check_symbols(self.file, weights, corpus)
        run_dir = self.run_dir or jaxrnn.runs.new_run_directory(corpus.name)
        config = with_settings(config, fields_of(weights.model, "cell", "hidden_size", "num_layers", "dtype"))
        model = jaxrnn.begin_run(weights.params, config, corpus, run_dir, overwrite=self.overwrite).model
        cell = self.cell or model.cell
        values = {
            "run": run_dir,
            "cell": cell,
            **fields_of(model, "num_layers", "hidden_size"),
            "symbols": model.vocab_size,
            "corpus": corpus_values(corpus),
        }
        described = f"{cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols"
        print_result(self.json, values, described, str(corpus), f"run: {run_dir}")


def _check_symbols(file: Path, weights: "jaxrnn.Weights", corpus: "jaxrnn.Corpus") -> None:
    """Raise JaxrnnError if the weights are not of a network with the symbols of the corpus."""
    size, theirs, ours = weights.model.vocab_size, weights.vocabulary, corpus.vocabulary
    advice = "import it with the text that it was trained on"
    if theirs and theirs.unknown and not ours.unknown:
        raise JaxrnnError(f"{file} has an unknown symbol for rare ones; give the run's config.json, with its min_count")
    if len(ours) != size:
        raise JaxrnnError(f"{file} is for {size} symbols, and {corpus.name} has {len(ours)} distinct ones; {advice}")
    if theirs and theirs != ours:
        only_theirs = "".join(sorted(set(theirs.symbols) - set(ours.symbols)))
        only_ours = "".join(sorted(set(ours.symbols) - set(theirs.symbols)))
        raise JaxrnnError(f"{file} knows {only_theirs!r}, and {corpus.name} has {only_ours!r} instead; {advice}")

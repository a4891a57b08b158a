"""`jaxrnn export` and `jaxrnn import`: weights for PyTorch, and from it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxrnn.cli.cell_file import named_cell
from jaxrnn.cli.jax_setup import set_up_jax
from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.cli.output import print_result
from jaxrnn.cli.train import read_config
from jaxrnn.config import TrainConfig
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.torch_weights import Weights
    from jaxrnn.text import Corpus


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a network's weights as a PyTorch state dict, in a safetensors file."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.safetensors")]
    """Where to. Names: rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0, ..., readout.weight,
    readout.bias."""
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""
    overwrite: bool = False
    """Replace the file."""
    json: bool = False
    """Print one line of JSON."""

    def run(self) -> int:
        """Write it, say so, and return the exit code."""
        checkpoint = open_checkpoint(self.run_dir, self.from_, self.cell)
        from jaxrnn.runs.torch_weights import save_weights

        save_weights(
            self.out, checkpoint.state.params, checkpoint.config.model, checkpoint.vocabulary, overwrite=self.overwrite
        )
        values = {"weights": str(self.out), "step": checkpoint.counters["step"]}
        print_result(self.json, values, f"weights: {self.out}")
        return 0


@dataclasses.dataclass(frozen=True)
class Import:
    """Make a run of a PyTorch model's weights (a state dict, safetensors), to sample from or to train on with."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.safetensors")]
    """What safetensors.torch.save_file(module.state_dict(), FILE) wrote of recurrent layers and a linear one, or what
    `jaxrnn export` wrote."""
    corpus: Annotated[str, tyro.conf.arg(metavar="CORPUS")]
    """The text, a single one, that the model was trained on and that training goes on with. Where the file's metadata
    don't name the symbols, the i-th is the i-th of the text's distinct characters, sorted."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep the run; by default runs/CORPUS-1, or the next number that is free."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="{tanh,gru,lstm,FILE.py:NAME}")] = None
    """The weights' cell; by default what the file says, or as many gates as it has tell."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json that says how to train on; by default as `jaxrnn train` does."""
    overwrite: bool = False
    """Replace the run in --run-dir."""
    json: bool = False
    """Print one line of JSON."""

    def run(self) -> int:
        """Make the run, describe it, and return the exit code."""
        from jaxrnn.runs import begin_run, new_run_directory
        from jaxrnn.runs.torch_weights import load_weights
        from jaxrnn.text import load_corpus

        config = read_config(self.config) if self.config else TrainConfig()
        weights = load_weights(self.file, named_cell(self.cell) if self.cell else None)
        set_up_jax(weights.model.dtype)
        kind = weights.vocabulary.kind if weights.vocabulary else config.vocabulary
        corpus = load_corpus(self.corpus, vocabulary=kind, normalize=config.normalize, min_count=config.min_count)
        _check_same_symbols(self.file, weights, corpus)
        run_dir = self.run_dir or new_run_directory(corpus.name)
        told = {name: getattr(weights.model, name) for name in ("cell", "hidden_size", "num_layers", "dtype")}
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **told))
        model = begin_run(weights.params, config, corpus, run_dir, overwrite=self.overwrite).model
        cell = self.cell or model.cell
        values = {
            "run": str(run_dir),
            "cell": cell,
            "num_layers": model.num_layers,
            "hidden_size": model.hidden_size,
            "symbols": model.vocab_size,
            "corpus": {"source": corpus.source, "sha256": corpus.sha256, "length": len(corpus)},
        }
        text = f"{cell}, {model.num_layers} x {model.hidden_size}, {model.vocab_size} symbols\n{corpus}\nrun: {run_dir}"
        print_result(self.json, values, text)
        return 0


def _check_same_symbols(file: Path, weights: "Weights", corpus: "Corpus") -> None:
    size, given = weights.model.vocab_size, corpus.vocabulary
    advice = "import it with the text that it was trained on"
    if weights.vocabulary and weights.vocabulary.unknown and not given.unknown:
        raise JaxrnnError(f"{file} has an unknown symbol for rare ones; give the run's config.json, with its min_count")
    if len(given) != size:
        raise JaxrnnError(f"{file} is for {size} symbols, and {corpus.name} has {len(given)} distinct ones; {advice}")
    known = weights.vocabulary
    if known and known != given:
        only = "".join(sorted(set(known.symbols) - set(given.symbols)))
        other = "".join(sorted(set(given.symbols) - set(known.symbols)))
        raise JaxrnnError(f"{file} knows {only!r}, and {corpus.name} has {other!r} instead; {advice}")

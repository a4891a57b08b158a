"""`jaxrnn prepare`, `jaxrnn export` and `jaxrnn import`: texts read ahead of their runs, and weights of PyTorch."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import jaxrnn
from jaxrnn.cli import arguments
from jaxrnn.cli.flags import field_flags, with_flags
from jaxrnn.cli.output import corpus_values, fields_of, print_result, reading
from jaxrnn.cli.process import set_up_jax
from jaxrnn.cli.python_file import cell_of
from jaxrnn.config import TEXT_RULES, TrainConfig, read_config, with_settings
from jaxrnn.config.atomic import check_writable
from jaxrnn.errors import JaxrnnError


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Read and encode a text, so that runs on it start at once; print what it contains."""

    settings: Annotated[Any, field_flags(TrainConfig, *TEXT_RULES)]
    corpus: arguments.CorpusArgument = ()
    verify: bool = False
    """Read the text and the cached tokens again, and check the SHA-256 of both."""
    json: arguments.JsonFlag = False

    def run(self) -> None:
        """Read the text, and print what it contains."""
        bytes_read, start = 0, time.perf_counter()
        with reading() as progress:

            def count(phase: str, more: int, total: int) -> None:
                nonlocal bytes_read
                bytes_read += more if phase == "reading" else 0
                progress(phase, more, total)

            source = {"corpus": "\n".join(self.corpus)} if self.corpus else {}
            config = with_flags(TrainConfig(), {**source, **self.settings})
            corpus = jaxrnn.runs.load_run_corpus(config, count, verify=self.verify)
        seconds, cached = time.perf_counter() - start, corpus.cache_file
        values = {
            **corpus_values(corpus),
            "unit": corpus.vocabulary.kind,
            "bytes_read": bytes_read,
            "seconds": seconds,
            "verified": self.verify,
            "cache_file": cached,
        }
        if cached is None:
            lines = [f"small: read at every start, {bytes_read:,} bytes in {seconds:.3f} s; nothing is cached"]
        else:
            rate = f"{bytes_read:,} bytes in {seconds:.1f} s, {bytes_read / seconds / 1e6:.0f} MB/s"
            lines = [
                f"{rate if bytes_read else 'already cached'}{'; verified' if self.verify else ''}",
                f"cached: {cached}, {cached.stat().st_size:,} bytes",
            ]
        print_result(self.json, values, str(corpus), *lines)


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a network's weights as a PyTorch state dict, in a safetensors file."""

    run_dir: arguments.RunArgument
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.safetensors")]
    """File to write, for a module that has an nn.RNN, nn.GRU or nn.LSTM `rnn` and an nn.Linear `readout`."""
    from_: arguments.CheckpointFlag = None
    cell: arguments.CellFlag = None
    overwrite: bool = False
    """Replace the file."""
    json: arguments.JsonFlag = False

    def run(self) -> None:
        """Write the file, and print its name."""
        check_writable(self.out)
        checkpoint = arguments.choose_checkpoint(self.run_dir, self.from_, self.cell, quiet=self.json)
        params, model = checkpoint.state.params, checkpoint.config.model
        jaxrnn.save_weights(self.out, params, model, checkpoint.vocabulary, overwrite=self.overwrite)
        values = {"weights": self.out, "step": checkpoint.counters["step"], "checkpoint": checkpoint.file}
        print_result(self.json, values, f"weights: {self.out}")


@dataclasses.dataclass(frozen=True)
class Import:
    """Make a run from a PyTorch model's weights (a state dict in safetensors), to sample from or train further."""

    settings: Annotated[Any, field_flags(TrainConfig, *TEXT_RULES)]
    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.safetensors")]
    """File from `jaxrnn export`, or from safetensors.torch.save_file of recurrent layers and a linear layer."""
    corpus: Annotated[str, tyro.conf.arg(metavar="CORPUS")]
    """Text that the model was trained on; its sorted distinct characters are the symbols if FILE lists none."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Run directory to make; by default runs/CORPUS-1, or the next free number."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="{tanh,relu,gru,lstm,FILE.py:NAME}")] = None
    """Cell; by default that of the file's metadata, or the one with as many gates as the weights."""
    nonlinearity: Literal["tanh", "relu"] | None = None
    """Nonlinearity of a torch.nn.RNN, which its weights do not show."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A config.json with the settings for further training; by default those of `jaxrnn train`."""
    overwrite: bool = False
    """Replace the run in --run-dir."""
    json: arguments.JsonFlag = False

    def run(self) -> None:
        """Make the run, and describe it."""
        start = read_config(self.config, may_wait=True) if self.config else TrainConfig()
        config = with_flags(start, self.settings)
        if self.cell and self.nonlinearity:
            raise JaxrnnError("--nonlinearity tells the cell of a torch.nn.RNN, as --cell does; give one of them")
        weights = jaxrnn.load_weights(self.file, cell_of(self.cell) if self.cell else self.nonlinearity)
        set_up_jax(weights.model.dtype)
        arguments.DeviceFlags().set_up()
        config = dataclasses.replace(config, corpus=self.corpus)
        if theirs := weights.vocabulary:
            encoding = config.encoding if self.config or "encoding" in self.settings else theirs.encoding
            symbols = config.symbols if theirs.unknown or "symbols" in self.settings else theirs.symbols
            config = dataclasses.replace(config, vocabulary=theirs.kind, encoding=encoding, symbols=symbols)
        corpus = jaxrnn.runs.load_run_corpus(config)
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
    size, theirs, ours = weights.model.vocab_size, weights.vocabulary, corpus.vocabulary
    advice = "import it with the text that it was trained on"
    if theirs and theirs.unknown and not ours.unknown:
        raise JaxrnnError(f"{file} has an unknown symbol for rare ones; give its --min-count, or the run's config.json")
    if theirs and (new := sorted(set(ours.symbols) - set(theirs.symbols))):
        raise JaxrnnError(f"{file} does not know {''.join(new)!r}, which {corpus.name} has; {advice}")
    if len(ours) != size:
        raise JaxrnnError(f"{file} is for {size} symbols, and {corpus.name} has {len(ours)} distinct ones; {advice}")

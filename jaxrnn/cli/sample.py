"""`jaxrnn sample`: write text with a trained network."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxrnn.cli.device_flags import DeviceFlags
from jaxrnn.cli.interactive import converse
from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.cli.progress import reading
from jaxrnn.config import SampleConfig, VocabularyKind
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.runs.checkpoint import Checkpoint


@dataclasses.dataclass(frozen=True)
class Sample(SampleConfig):
    """Write text with a trained network, as it is drawn; several samples one after another, each under a title."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")] = dataclasses.field(kw_only=True)
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    prompt_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Take the prompt from a file, from stdin if it is -; all of it, with the new line at its end if there is one."""
    json: bool = False
    """Print one line of JSON instead: prompt, samples (what follows the prompt), config, run, step."""
    report_copies: bool = False
    """Name, after each sample, the longest span of what was written that stands in the training text."""
    interactive: bool = False
    """Take turns: type a beginning, the network goes on, and so forth; /help there shows more."""

    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""
    device: tyro.conf.OmitArgPrefixes[DeviceFlags] = dataclasses.field(default_factory=DeviceFlags)
    """Where it computes."""

    def run(self) -> int:
        """Print what the network writes; return the exit code."""
        if self.interactive:
            self._check_interactive()
        checkpoint = open_checkpoint(self.run_dir, self.from_, self.cell, self.device)
        mesh = self.device.mesh("num_samples", self.num_samples)
        from jaxrnn.sampling.generate import Writer, write, write_many

        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(SampleConfig)}
        config = SampleConfig(**{**values, "prompt": self._prompt(checkpoint.vocabulary.kind)})
        network = checkpoint.state.params, checkpoint.vocabulary, checkpoint.config.model
        reset_on = checkpoint.config.reset_on
        text = _training_text(checkpoint) if self.report_copies else None
        if self.interactive:
            converse(Writer(*network, reset_on), config, self._introduction(checkpoint))
        elif self.json:
            samples = write_many(*network, config, reset_on=reset_on, mesh=mesh)
            print(json.dumps(self._as_json(config, samples, checkpoint, text)))
        elif config.num_samples == 1:
            pieces, sample = write(*network, config, reset_on=reset_on), ""
            vocabulary = checkpoint.vocabulary
            print(vocabulary.decoder().decode(vocabulary.encode(config.prompt)), end="", flush=True)
            for piece in pieces:
                print(piece, end="", flush=True)
                sample += piece
            print()
            _report_copy(sample, text)
        else:
            for index, sample in enumerate(write_many(*network, config, reset_on=reset_on, mesh=mesh)):
                title = f"---- sample {index + 1} of {config.num_samples}, seed {config.seed + index} ----"
                print(f"{title}\n{config.prompt}{sample}")
                _report_copy(sample, text)
        return 0

    def _check_interactive(self) -> None:
        if sys.stdin is None:
            raise JaxrnnError("--interactive reads what you type from stdin, which is closed; leave it open")
        conflicts = {
            "--json": self.json,
            "--report-copies": self.report_copies,
            "--num-samples": self.num_samples > 1,
            "--prompt-file -": str(self.prompt_file) == "-",
        }
        for flag, given in conflicts.items():
            if given:
                raise JaxrnnError(f"--interactive and {flag} don't go together; give one of them")

    def _introduction(self, checkpoint: "Checkpoint") -> str:
        model, vocabulary = checkpoint.config.model, checkpoint.vocabulary
        return (
            f"{self.run_dir}: {self.cell or model.cell}, {model.num_layers} x {model.hidden_size}, after step "
            f"{checkpoint.counters['step']:,}; it knows {len(vocabulary):,} {vocabulary.kind}."
        )

    def _prompt(self, kind: VocabularyKind) -> str:
        if self.prompt_file is None:
            return self.prompt
        if self.prompt:
            raise JaxrnnError("--prompt and --prompt-file both give a prompt; give one of them")
        try:
            data = sys.stdin.buffer.read() if str(self.prompt_file) == "-" else self.prompt_file.read_bytes()
        except OSError as error:
            raise JaxrnnError(f"can't read {self.prompt_file} ({error.strerror or error}); give a text file") from None
        try:
            # Any bytes are a prompt to a model of bytes: they travel as a command line's do.
            return data.decode("utf-8", "surrogateescape" if kind == "bytes" else "strict")
        except UnicodeDecodeError as error:
            raise JaxrnnError(
                f"{self.prompt_file} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start}); convert it"
            ) from None

    def _as_json(
        self, config: SampleConfig, samples: list[str], checkpoint: "Checkpoint", text: "_Text | None"
    ) -> dict[str, Any]:
        found = {
            "prompt": config.prompt,
            "samples": samples,
            "config": dataclasses.asdict(config),
            "run": str(self.run_dir),
            "step": checkpoint.counters["step"],
        }
        if text is None:
            return found
        from jaxrnn.evaluation import longest_copy

        return {**found, "copies": [longest_copy(sample, text())._asdict() for sample in samples]}


_Text = Callable[[], Iterator[str]]  # gives a text from its beginning, in pieces


def _report_copy(sample: str, text: _Text | None) -> None:
    if text is not None:
        from jaxrnn.evaluation import longest_copy

        copy = longest_copy(sample, text())
        print(
            f"---- longest copy: {len(copy.text)} of {len(sample)} characters, from {copy.sample_offset} on, in the "
            f"training text from {copy.text_offset} on: {copy.text!r} ----"
        )


def _training_text(checkpoint: "Checkpoint") -> _Text:
    """Return the text that a run was trained on, which is loaded once more: its training slice.

    Raises:
        JaxrnnError: it is gone, or no more what it was.
    """
    from jaxrnn.runs import reload_corpus, slices_of
    from jaxrnn.text import blocks

    try:
        with reading() as progress:
            corpus = reload_corpus(checkpoint, progress)
    except JaxrnnError as error:
        raise JaxrnnError(f"--report-copies needs the text that the run was trained on: {error}") from None
    tokens = slices_of(corpus, checkpoint.config)["train"].tokens

    def pieces() -> Iterator[str]:
        decoder = corpus.vocabulary.decoder()
        for block in blocks(tokens):
            yield decoder.decode(block)
        yield decoder.decode([], final=True)

    return pieces

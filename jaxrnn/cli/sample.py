"""`jaxrnn sample`: write text with a trained network."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import tyro

import jaxrnn
from jaxrnn.cli import arguments
from jaxrnn.cli.dynamic import DYNAMIC, DynamicFlags
from jaxrnn.cli.flags import field_flags
from jaxrnn.cli.interactive import Conversation
from jaxrnn.cli.output import json_text
from jaxrnn.config import SampleConfig
from jaxrnn.errors import JaxrnnError, NonFiniteError, counted


@dataclasses.dataclass(frozen=True)
class Sample:
    """Write text with a trained network, as it is drawn; several samples follow each other, each under a title."""

    sampling: Annotated[Any, field_flags(SampleConfig)]
    run_dir: arguments.RunArgument
    prompt_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Read the whole prompt from a file, or from stdin if FILE is -; a new line at its end belongs to the prompt."""
    reading: arguments.ReadingFlags = dataclasses.field(default_factory=dict)
    json: bool = False
    """Print one line of JSON and nothing else: prompt, samples (without the prompt), config, run, step; and ln of
    each sample's probability after the prompt: under the network, and as drawn under temperature, top-k and top-p."""
    report_copies: bool = False
    """After each sample, report its longest passage that occurs in the training text."""
    interactive: bool = False
    """Take turns with the network: type a beginning, and it continues; /help shows more."""

    learning: Annotated[DynamicFlags, DYNAMIC] = dataclasses.field(default_factory=DynamicFlags)
    from_: arguments.CheckpointFlag = None
    cell: arguments.CellFlag = None
    device: arguments.DeviceArgument = dataclasses.field(default_factory=arguments.DeviceFlags)

    def run(self) -> None:
        """Print what the network writes."""
        from jaxrnn.text.stream import Rules

        turn = {"length": 300} if self.interactive else {}  # what a person reads before the next line
        config = SampleConfig(**{**turn, **self.sampling})
        if self.interactive:
            self._check_interactive(config)
        quiet = self.json or self.interactive  # JSON and the introduction name the checkpoint
        checkpoint = arguments.choose_checkpoint(self.run_dir, self.from_, self.cell, self.device, quiet=quiet)
        rules = Rules.of(dataclasses.replace(checkpoint.config, **self.reading))
        if self.prompt_file is None:
            names = ("encoding", "join") if rules.vocabulary == "characters" else ("join",)
            arguments.check_read(self.reading, "--prompt-file", *names)
        checkpoint = checkpoint._replace(vocabulary=rules.vocabulary_of(checkpoint.vocabulary))
        mesh = self.device.mesh("num_samples", config.num_samples)
        vocabulary, reset_on = checkpoint.vocabulary, checkpoint.config.reset_on
        params, model, dynamic = checkpoint.state.params, checkpoint.config.model, None
        writer = jaxrnn.sampling.generate.Writer(params, vocabulary, model, reset_on, mesh)
        given = self._with_prompt(config, rules)
        config = writer.checked(given)
        if config.prompt != given.prompt:
            print(f"the prompt is read as {config.prompt!r}", file=sys.stderr)
        tokens = vocabulary.encode(config.prompt)
        if self.learning.dynamic and len(tokens) < 2:
            raise JaxrnnError("--dynamic learns from the prompt; give a long one, by --prompt-file")
        if choice := self.learning.choose(checkpoint):
            from jaxrnn.evaluation.dynamic import adapt
            from jaxrnn.runs.programs import all_finite

            dynamic, rule = choice
            separator = jaxrnn.text.encode_separator(vocabulary, reset_on)
            starts = jaxrnn.text.document_starts(tokens, separator) if len(separator) else None
            params = adapt(params, tokens, model, rule, dynamic.length, starts)
            if not all_finite(params):
                raise NonFiniteError("what the network learned from the prompt is not finite; try a smaller rate")
            writer = jaxrnn.sampling.generate.Writer(params, vocabulary, model, reset_on, mesh)
            if not quiet:
                print(f"{dynamic}{self.learning.chosen}", file=sys.stderr)
        find_copy = _copy_finder(checkpoint) if self.report_copies else None
        is_raw = not (sys.stdout.isatty() or find_copy)  # a pipe or a file gets bytes as they are
        prompt = vocabulary.decoder(raw=is_raw).decode(tokens)
        if self.interactive:
            Conversation(writer, config).run(self._introduction(checkpoint))
        elif self.json:
            texts = writer.write_many(config)
            samples = [writer.decode(text, config.prompt) for text in texts]
            by_network, as_drawn = writer.log_probabilities(texts, config)
            values = {
                "prompt": config.prompt,
                "samples": samples,
                "log_probabilities": by_network,
                "drawn_log_probabilities": as_drawn,
                "config": config,
                "dynamic": dynamic,
                **({"copies": list(map(find_copy, samples))} if find_copy else {}),
            }
            step, file = checkpoint.counters["step"], checkpoint.file
            print(json_text({**values, "run": self.run_dir, "step": step, "checkpoint": file}))
        elif config.num_samples == 1:
            sample = ""
            print(prompt, end="", flush=True)
            for piece in writer.pieces(config, raw=is_raw):
                print(piece, end="", flush=True)
                sample += piece
            print(_copy_line(sample, find_copy))
        else:
            for index, tokens in enumerate(writer.write_many(config)):
                title = f"---- sample {index + 1} of {config.num_samples}, seed {config.seed + index} ----"
                sample = writer.decode(tokens, config.prompt, raw=is_raw)
                print(f"{title}\n{prompt}{sample}{_copy_line(sample, find_copy)}")

    def _check_interactive(self, config: SampleConfig) -> None:
        if sys.stdin is None:
            raise JaxrnnError("--interactive reads what you type from stdin, which is closed; leave it open")
        conflicts = {
            "--json": self.json,
            "--report-copies": self.report_copies,
            "--num-samples": config.num_samples > 1,
            "--prompt-file -": self.prompt_file == "-",
        }
        for flag, is_given in conflicts.items():
            if is_given:
                raise JaxrnnError(f"--interactive and {flag} don't go together; give one of them")

    def _introduction(self, checkpoint: "jaxrnn.Checkpoint") -> str:
        model, vocabulary, step = checkpoint.config.model, checkpoint.vocabulary, checkpoint.counters["step"]
        return (
            f"{self.run_dir}, {checkpoint.file.name}: {self.cell or model.cell}, {model.num_layers} x "
            f"{model.hidden_size}, after step {step:,}; it knows {len(vocabulary):,} {vocabulary.kind}."
        )

    def _with_prompt(self, config: SampleConfig, rules: "jaxrnn.text.stream.Rules") -> SampleConfig:
        """Return the configuration with the prompt, which is normalized and decoded by the rules of a text."""
        from jaxrnn.text.stream import normalized, read_pieces

        prompt = config.prompt
        if self.prompt_file is not None:
            if config.prompt:
                raise JaxrnnError("--prompt and --prompt-file both give a prompt; give one of them")
            pieces = read_pieces(self.prompt_file, rules)
            if rules.vocabulary == "characters":
                prompt = "".join(map(str, pieces))
            else:  # of any bytes, as Python passes those of a command line
                data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
                prompt = data.decode(rules.encoding, "surrogateescape")
        return dataclasses.replace(config, prompt=normalized(prompt, rules.normalize))


def _copy_finder(checkpoint: "jaxrnn.Checkpoint") -> "Callable[[str], jaxrnn.Copy]":
    """Return a function that finds the longest passage of a sample in the training slice, which is loaded again."""
    from jaxrnn.text.stream import blocks

    tokens = arguments.training_slice(checkpoint, "--report-copies").tokens

    def pieces() -> Iterator[str]:
        decoder = checkpoint.vocabulary.decoder()
        yield from map(decoder.decode, blocks(tokens))
        yield decoder.decode([], final=True)

    return lambda sample: jaxrnn.longest_copy(sample, pieces())


def _copy_line(sample: str, find_copy: "Callable[[str], jaxrnn.Copy] | None") -> str:
    if find_copy is None:
        return ""
    copy = find_copy(sample)
    return (
        f"\n---- longest copy: {len(copy.text)} of {counted(len(sample), 'characters')}, from {copy.sample_offset} on, "
        f"in the training text from {copy.text_offset} on: {copy.text!r} ----"
    )

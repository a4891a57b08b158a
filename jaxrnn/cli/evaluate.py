"""`jaxrnn evaluate`: how well a trained network predicts a text."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, NamedTuple

import tyro

import jaxrnn
from jaxrnn.atomic import replacing
from jaxrnn.cli.arguments import DEVICE, CellFlag, CheckpointFlag, DeviceFlags, JsonFlag, RunArgument, choose_checkpoint
from jaxrnn.cli.output import fields_of, listed, print_result, reading, unseen_symbols
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from jaxrnn.evaluation.score import Scored, Tally


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a slice of a run's corpus, or a text file: the loss of every symbol but the first."""

    run_dir: RunArgument
    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="FILE")] = None
    """Text file, read as one stream; by default a slice of the run's corpus is scored."""
    split_name: Literal["train", "validation", "test"] | None = None
    """Slice of the corpus; by default validation, or train if the run has no other."""
    from_: CheckpointFlag = None
    cell: CellFlag = None
    per_character: Annotated[Path | None, tyro.conf.arg(metavar="FILE.tsv")] = None
    """Write a line per scored character: its offset in the text, the character (escaped as in Python), its bits."""
    overwrite: bool = False
    """Replace the file of --per-character."""
    lanes: int = 1
    """Number of parts that are read side by side: faster, and almost exact (each but the first starts cold)."""
    normalize: bool = False
    """Drop a byte-order mark of FILE and convert its CRLF and CR line ends to LF; implied if the run did so."""
    json: JsonFlag = False
    device: Annotated[DeviceFlags, DEVICE] = dataclasses.field(default_factory=DeviceFlags)

    def run(self) -> None:
        """Score the text, and print the score."""
        tsv = self.per_character
        if self.lanes < 1:
            raise JaxrnnError(f"lanes must be at least 1, got {self.lanes}")
        if self.file is not None and self.split_name:
            raise JaxrnnError("FILE is scored whole; give it or --split-name, not both")
        if tsv and tsv.is_dir():
            raise JaxrnnError(f"{tsv} is a directory; give a file for --per-character")
        if tsv and tsv.exists() and not self.overwrite:
            raise JaxrnnError(f"{tsv} exists already; choose another file, or replace it by --overwrite")
        checkpoint = choose_checkpoint(self.run_dir, self.from_, self.cell, self.device, quiet=self.json)
        mesh = self.device.mesh("lanes", self.lanes)
        text = self._slice(checkpoint, mesh) if self.file is None else self._file(self.file, checkpoint, mesh)
        with replacing(tsv) if tsv else contextlib.nullcontext() as tsv_file:
            score = _total(text, checkpoint.vocabulary, tsv_file)
        self._print_result(text, score, checkpoint)

    def _file(self, file: Path, checkpoint: "jaxrnn.Checkpoint", mesh: "Mesh | None") -> "_Text":
        from jaxrnn.evaluation.score import Tally, score_stream
        from jaxrnn.text.stream import read_pieces

        config, vocabulary, tally = checkpoint.config, checkpoint.vocabulary, Tally()
        pieces = read_pieces(file, vocabulary.kind, self.normalize or config.normalize)
        options: dict[str, Any] = {"reset_on": config.reset_on, "lanes": self.lanes, "mesh": mesh}
        scored = score_stream(checkpoint.state.params, pieces, vocabulary, config.model, tally, **options)
        return _Text(str(file), scored, tally)

    def _slice(self, checkpoint: "jaxrnn.Checkpoint", mesh: "Mesh | None") -> "_Text":
        from jaxrnn.evaluation.score import Scored, Tally, ordered_surprisals, surprisals_in_parts
        from jaxrnn.text.stream import count_tokens

        config, vocabulary = checkpoint.config, checkpoint.vocabulary
        try:
            with reading() as progress:
                corpus = jaxrnn.runs.reload_corpus(checkpoint, progress)
        except JaxrnnError as error:
            raise JaxrnnError(f"{error}, or give FILE to score another text") from None
        slices = jaxrnn.runs.slices_of(corpus, config)
        name = self.split_name or ("validation" if "validation" in slices else "train")
        if name not in slices:
            raise JaxrnnError(f"the run has no slice {name!r}; it has {', '.join(slices)}")
        part = slices[name]
        tally = Tally(len(part.tokens))
        if vocabulary.unknown:
            counts = count_tokens(part.tokens, len(vocabulary))
            tally.unknown = int(counts[vocabulary.symbols.index(jaxrnn.text.UNKNOWN)])

        def scored() -> Iterator[Scored]:
            surprisals = surprisals_in_parts if self.per_character is None else ordered_surprisals
            parts = surprisals(checkpoint.state.params, part.tokens, config.model, self.lanes, part.starts, mesh)
            for indices, nats in parts:
                tokens = part.tokens[1:][indices]
                symbols = "" if self.per_character is None else "".join(vocabulary.symbols[token] for token in tokens)
                yield Scored(part.begin + 1 + indices, symbols, tokens, nats)

        return _Text(corpus.source, scored(), tally, part, slices["train"])

    def _print_result(self, text: "_Text", score: "jaxrnn.Score", checkpoint: "jaxrnn.Checkpoint") -> None:
        part, train, tally, step = text.part, text.train, text.tally, checkpoint.counters["step"]
        kind = checkpoint.vocabulary.kind
        unseen, unseen_line = unseen_symbols(train, part, checkpoint.vocabulary) if train and part else (None, None)
        values = {
            "text": text.source,
            "slice": part and fields_of(part, "name", "begin", "end"),
            "unit": kind,
            "scored": score.symbols,
            **fields_of(score, "utf8_bytes", "nats", "nats_per_character"),
            **fields_of(score, "bits_per_character", "bits_per_byte", "perplexity"),
            "unknown": tally.unknown,
            "left_out": tally.left_out.total(),
            "unseen": unseen,
            "lanes": self.lanes,
            "step": step,
            "checkpoint": checkpoint.file,
        }
        in_lanes = f", in {self.lanes:,} lanes" if self.lanes > 1 else ""
        lines = [
            f"{text.source}{f', {part}' if part else ''}, by the network after step {step:,}",
            f"{score.nats_per_character:.4f} nats/{kind[:-1]}, {score.bits_per_character:.4f} bits/{kind[:-1]}, "
            f"{score.bits_per_byte:.4f} bits/byte, perplexity {score.perplexity:.5g}",
            f"{score.symbols:,} {kind} scored ({score.utf8_bytes:,} bytes), all but the first{in_lanes}",
            unseen_line,
        ]
        if tally.unknown:
            lines.append(f"{tally.unknown:,} {kind} were read as the unknown symbol")
        if tally.left_out:
            symbols = listed([repr(symbol) for symbol, _ in tally.left_out.most_common()])
            lines.append(f"{tally.left_out.total():,} {kind} that the network does not know were left out ({symbols})")
        print_result(self.json, values, *lines)


class _Text(NamedTuple):
    """A text that is scored while `scored` is iterated over; its slice and the training slice, if it is of a corpus."""

    source: str
    scored: "Iterator[Scored]"
    tally: "Tally"
    part: "jaxrnn.Slice | None" = None
    train: "jaxrnn.Slice | None" = None


def _total(text: _Text, vocabulary: "jaxrnn.Vocabulary", tsv: BinaryIO | None) -> "jaxrnn.Score":
    """Score a text and add up its surprisals; write them to a file if one is given."""
    utf8_lengths = vocabulary.utf8_lengths()
    nats, symbols, utf8_bytes = 0.0, 0, 0
    for scored in text.scored:
        if tsv:
            tsv.write(_tsv_lines(scored).encode())
        nats += float(scored.nats.sum(dtype="float64"))
        symbols += len(scored.nats)
        utf8_bytes += int(utf8_lengths[scored.tokens].sum())
    if not symbols:
        raise JaxrnnError(
            f"{text.source} has {text.tally.read} {vocabulary.kind}, {text.tally.left_out.total()} of them unknown; "
            "2 known ones are needed to score one"
        )
    return jaxrnn.Score(nats, symbols, utf8_bytes)


def _tsv_lines(scored: "Scored") -> str:
    bits = scored.nats.astype("float64") / math.log(2)
    rows = zip(scored.indices.tolist(), scored.symbols, bits.tolist(), strict=True)
    return "".join(f"{index}\t{_escaped(symbol)}\t{surprisal:.6f}\n" for index, symbol, surprisal in rows)


def _escaped(symbol: str) -> str:
    return symbol if symbol.isprintable() and symbol != "\\" else symbol.encode("unicode_escape").decode()

"""`jaxrnn evaluate`: how well a trained network predicts a text."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, NamedTuple

import tyro

from jaxrnn.atomic import replacing
from jaxrnn.cli.arguments import DEVICE, CellFlag, CheckpointFlag, DeviceFlags, JsonFlag, RunArgument, open_checkpoint
from jaxrnn.cli.output import listed, print_json, slice_values, unseen_line
from jaxrnn.cli.progress import reading
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from jaxrnn.evaluation.score import Score
    from jaxrnn.evaluation.stream import Scored, Tally
    from jaxrnn.runs.checkpoint import Checkpoint
    from jaxrnn.text import Slice, Vocabulary


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a slice of a run's corpus, or a text file: the loss of every symbol but the first."""

    run_dir: RunArgument
    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="FILE")] = None
    """Text file, read as one stream; by default a slice of the run's corpus is scored."""
    split_name: Literal["train", "validation", "test"] | None = None
    """Slice of the corpus; by default validation, or train if the run has no other."""
    from_: CheckpointFlag = "last"
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
        self._check()
        checkpoint = open_checkpoint(self.run_dir, self.from_, self.cell, self.device)
        mesh = self.device.mesh("lanes", self.lanes)
        text = self._slice(checkpoint, mesh) if self.file is None else self._file(self.file, checkpoint, mesh)
        with contextlib.nullcontext() if self.per_character is None else replacing(self.per_character) as tsv:
            score = _total(text, checkpoint.vocabulary, tsv)
        step = checkpoint.counters["step"]
        if self.json:
            print_json({**_values(text, score, checkpoint.vocabulary), "lanes": self.lanes, "step": step})
        else:
            print("\n".join(filter(None, _lines(text, score, checkpoint.vocabulary, self.lanes, step))))

    def _check(self) -> None:
        tsv = self.per_character
        if self.lanes < 1:
            raise JaxrnnError(f"lanes must be at least 1, got {self.lanes}")
        if self.file is not None and self.split_name:
            raise JaxrnnError("FILE is scored whole; give it or --split-name, not both")
        if tsv and tsv.is_dir():
            raise JaxrnnError(f"{tsv} is a directory; give a file for --per-character")
        if tsv and tsv.exists() and not self.overwrite:
            raise JaxrnnError(f"{tsv} exists already; choose another file, or replace it by --overwrite")

    def _file(self, file: Path, checkpoint: "Checkpoint", mesh: "Mesh | None") -> "_Text":
        from jaxrnn.evaluation.stream import Tally, score_stream
        from jaxrnn.text.stream import read_pieces

        config, vocabulary, tally = checkpoint.config, checkpoint.vocabulary, Tally()
        scored = score_stream(
            checkpoint.state.params,
            lambda: read_pieces(file, vocabulary.kind, self.normalize or config.normalize),
            vocabulary,
            config.model,
            tally,
            reset_on=config.reset_on,
            lanes=self.lanes,
            mesh=mesh,
        )
        return _Text(str(file), scored, tally)

    def _slice(self, checkpoint: "Checkpoint", mesh: "Mesh | None") -> "_Text":
        from jaxrnn.evaluation.score import surprisals_in_parts
        from jaxrnn.evaluation.stream import Scored, Tally, ordered_surprisals
        from jaxrnn.runs import reload_corpus, slices_of
        from jaxrnn.text import UNKNOWN
        from jaxrnn.text.stream import count_tokens

        config, vocabulary = checkpoint.config, checkpoint.vocabulary
        try:
            with reading() as progress:
                corpus = reload_corpus(checkpoint, progress)
        except JaxrnnError as error:
            raise JaxrnnError(f"{error}, or give FILE to score another text") from None
        slices = slices_of(corpus, config)
        name = self.split_name or ("validation" if "validation" in slices else "train")
        if name not in slices:
            raise JaxrnnError(f"the run has no slice {name!r}; it has {', '.join(slices)}")
        part = slices[name]
        tally = Tally(len(part.tokens))
        if vocabulary.unknown:
            tally.unknown = int(count_tokens(part.tokens, len(vocabulary))[vocabulary.symbols.index(UNKNOWN)])

        def scored() -> Iterator[Scored]:
            surprisals = surprisals_in_parts if self.per_character is None else ordered_surprisals
            options: dict[str, Any] = {"lanes": self.lanes, "starts": part.starts, "mesh": mesh}
            for indices, nats in surprisals(checkpoint.state.params, part.tokens, config.model, **options):
                tokens = part.tokens[1:][indices]
                symbols = "" if self.per_character is None else "".join(vocabulary.symbols[token] for token in tokens)
                yield Scored(part.begin + 1 + indices, symbols, tokens, nats)

        return _Text(corpus.source, scored(), tally, part, slices["train"])


class _Text(NamedTuple):
    """A text that is scored while `scored` is iterated over; its slice and the training slice, if it is of a corpus."""

    source: str
    scored: Iterator["Scored"]
    tally: "Tally"
    part: "Slice | None" = None
    train: "Slice | None" = None


def _total(text: _Text, vocabulary: "Vocabulary", tsv: BinaryIO | None) -> "Score":
    """Score a text and add up its surprisals; write them to a file if one is given."""
    from jaxrnn.evaluation.score import Score

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
    return Score(nats, symbols, utf8_bytes)


def _values(text: _Text, score: "Score", vocabulary: "Vocabulary") -> dict[str, Any]:
    from jaxrnn.text.documents import never_seen

    train, part = text.train, text.part
    means = ("nats_per_character", "bits_per_character", "bits_per_byte", "perplexity")
    return {
        "text": text.source,
        "slice": part and slice_values(part),
        "unit": vocabulary.kind,
        "scored": score.symbols,
        "utf8_bytes": score.utf8_bytes,
        "nats": score.nats,
        **{name: getattr(score, name) for name in means},
        "unknown": text.tally.unknown,
        "left_out": text.tally.left_out.total(),
        "unseen": never_seen(train.tokens, part.tokens, len(vocabulary))[1] if train and part else None,
    }


def _lines(text: _Text, score: "Score", vocabulary: "Vocabulary", lanes: int, step: int) -> Iterator[str]:
    train, part, tally, kind = text.train, text.part, text.tally, vocabulary.kind
    yield f"{text.source}{f', {part}' if part else ''}, by the network after step {step:,}"
    yield (
        f"{score.nats_per_character:.4f} nats/{kind[:-1]}, {score.bits_per_character:.4f} bits/{kind[:-1]}, "
        f"{score.bits_per_byte:.4f} bits/byte, perplexity {score.perplexity:.5g}"
    )
    in_lanes = f", in {lanes:,} lanes" if lanes > 1 else ""
    yield f"{score.symbols:,} {kind} scored ({score.utf8_bytes:,} bytes), all but the first{in_lanes}"
    if train and part:
        yield unseen_line(train, part, vocabulary)
    if tally.unknown:
        yield f"{tally.unknown:,} {kind} were read as the unknown symbol"
    if tally.left_out:
        symbols = listed([repr(symbol) for symbol, _ in tally.left_out.most_common()])
        yield f"{tally.left_out.total():,} {kind} that the network does not know were left out ({symbols})"


def _tsv_lines(scored: "Scored") -> str:
    bits = scored.nats.astype("float64") / math.log(2)
    rows = zip(scored.indices.tolist(), scored.symbols, bits.tolist(), strict=True)
    return "".join(f"{index}\t{_escaped(symbol)}\t{surprisal:.6f}\n" for index, symbol, surprisal in rows)


def _escaped(symbol: str) -> str:
    return symbol if symbol.isprintable() and symbol != "\\" else symbol.encode("unicode_escape").decode()

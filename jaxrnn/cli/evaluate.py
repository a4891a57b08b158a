"""`jaxrnn evaluate`: how well a trained network predicts a text."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxrnn.cli.device_flags import DeviceFlags
from jaxrnn.cli.opening import open_checkpoint
from jaxrnn.cli.progress import reading
from jaxrnn.cli.slices import unseen_line
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from jaxrnn.evaluation.score import Score
    from jaxrnn.evaluation.stream import Scored, Tally
    from jaxrnn.runs.checkpoint import Checkpoint
    from jaxrnn.text import Slice


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a slice of a run's corpus, or a text file: what each symbol but the first cost to predict."""

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run directory that `jaxrnn train` left, or a checkpoint file."""
    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="FILE")] = None
    """A text file, read as a single stream; without it, a slice of the run's corpus."""
    split_name: Literal["train", "validation", "test"] | None = None
    """Which slice of the corpus; by default validation, or train where the run has no other."""
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="best|last|STEP")] = "last"
    """Which checkpoint of RUN: the newest, that of the lowest validation loss, or that of a step."""
    cell: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None
    """The cell of a run that had one of your own: NAME in that Python file, which is run."""
    per_character: Annotated[Path | None, tyro.conf.arg(metavar="FILE.tsv")] = None
    """Write a line for each scored character: its place in the text, itself (escaped as in Python), its bits."""
    overwrite: bool = False
    """Replace the file of --per-character."""
    lanes: int = 1
    """Parts of the text that are read side by side: faster, and very nearly exact (each but the first begins cold)."""
    normalize: bool = False
    """Drop a byte-order mark of FILE and turn its CRLF and CR line ends into LF; so it is if the run did so."""
    json: bool = False
    """Print one line of JSON."""
    device: tyro.conf.OmitArgPrefixes[DeviceFlags] = dataclasses.field(default_factory=DeviceFlags)
    """Where it computes."""

    def run(self) -> int:
        """Score, print, and return the exit code."""
        if self.lanes < 1:
            raise JaxrnnError(f"lanes must be at least 1, got {self.lanes}")
        if self.file is not None and self.split_name:
            raise JaxrnnError("FILE is scored whole; give it or --split-name, not both")
        if self.per_character and self.per_character.is_dir():
            raise JaxrnnError(f"{self.per_character} is a directory; give a file for --per-character")
        if self.per_character and self.per_character.exists() and not self.overwrite:
            raise JaxrnnError(f"{self.per_character} exists already; choose another file, or replace it by --overwrite")
        checkpoint = open_checkpoint(self.run_dir, self.from_, self.cell, self.device)
        mesh = self.device.mesh("lanes", self.lanes)
        with self._tsv() as keep:
            if self.file is not None:
                result = self._file(self.file, checkpoint, keep, mesh)
            else:
                result = self._slice(checkpoint, keep, mesh)
        print(json.dumps(result.as_json()) if self.json else result.as_text())
        return 0

    @contextlib.contextmanager
    def _tsv(self) -> Iterator[Callable[["Scored"], object]]:
        """Give what writes the lines of --per-character; the file takes its name when all of them are written."""
        from jaxrnn.atomic import replacing

        if self.per_character is None:
            yield lambda _: None
            return
        with replacing(self.per_character) as file:
            yield lambda scored: file.write(_tsv_lines(scored).encode())

    def _file(
        self, file: Path, checkpoint: "Checkpoint", keep: Callable[["Scored"], object], mesh: "Mesh | None"
    ) -> "_Result":
        from jaxrnn.evaluation.score import Score
        from jaxrnn.evaluation.stream import Tally, score_stream
        from jaxrnn.text import read_pieces

        config, vocabulary, tally = checkpoint.config, checkpoint.vocabulary, Tally()

        def pieces() -> Iterator[str | bytes]:
            return read_pieces(file, vocabulary.kind, self.normalize or config.normalize)

        nats, symbols, utf8_bytes = 0.0, 0, 0
        lengths = vocabulary.utf8_lengths()
        for scored in score_stream(
            checkpoint.state.params,
            vocabulary,
            config.model,
            pieces,
            tally,
            reset_on=config.reset_on,
            lanes=self.lanes,
            mesh=mesh,
        ):
            keep(scored)
            nats += float(scored.nats.sum(dtype="float64"))
            symbols += len(scored.nats)
            utf8_bytes += int(lengths[scored.tokens].sum())
        if not symbols:
            raise JaxrnnError(
                f"{file} has {tally.read} {vocabulary.kind}, {tally.left_out.total()} of them unknown; "
                "2 known ones are needed to score one"
            )
        return _Result(str(file), None, None, Score(nats, symbols, utf8_bytes), tally, checkpoint, self.lanes)

    def _slice(
        self, checkpoint: "Checkpoint", keep: Callable[["Scored"], object], mesh: "Mesh | None"
    ) -> "_Result":  # fmt: skip
        from jaxrnn.evaluation.score import Score, surprisals_in_parts, utf8_bytes
        from jaxrnn.evaluation.stream import Scored, Tally, ordered_surprisals
        from jaxrnn.runs import reload_corpus, slices_of
        from jaxrnn.text import UNKNOWN

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
        score_parts = surprisals_in_parts if self.per_character is None else ordered_surprisals
        options: dict[str, Any] = {"lanes": self.lanes, "starts": part.starts, "mesh": mesh}
        parts = score_parts(checkpoint.state.params, part.tokens, config.model, **options)
        nats, scored = 0.0, part.tokens[1:]
        unknown_token = vocabulary.symbols.index(UNKNOWN) if vocabulary.unknown else -1
        unknown = int(part.tokens[0] == unknown_token)  # the first symbol has no score
        for places, found in parts:
            nats += float(found.sum(dtype="float64"))
            tokens = scored[places]
            unknown += int((tokens == unknown_token).sum())
            if self.per_character is not None:
                symbols = "".join(vocabulary.symbols[token] for token in tokens)
                keep(Scored(part.begin + 1 + places, symbols, tokens, found))
        score = Score(nats, len(scored), utf8_bytes(scored, vocabulary))
        tally = Tally(len(part.tokens), unknown)
        return _Result(corpus.source, part, slices["train"], score, tally, checkpoint, self.lanes)


@dataclasses.dataclass(frozen=True)
class _Result:
    source: str
    part: "Slice | None"
    train: "Slice | None"
    score: "Score"
    tally: "Tally"
    checkpoint: "Checkpoint"
    lanes: int

    def as_json(self) -> dict[str, Any]:
        from jaxrnn.text import never_seen

        score, part, vocabulary = self.score, self.part, self.checkpoint.vocabulary
        unseen = never_seen(self.train.tokens, part.tokens, len(vocabulary))[1] if self.train and part else None
        return {
            "text": self.source,
            "slice": part and {"name": part.name, "begin": part.begin, "end": part.end},
            "unit": vocabulary.kind,
            "scored": score.symbols,
            "utf8_bytes": score.utf8_bytes,
            "nats": score.nats,
            "nats_per_character": score.nats_per_character,
            "bits_per_character": score.bits_per_character,
            "bits_per_byte": score.bits_per_byte,
            "perplexity": score.perplexity,
            "unknown": self.tally.unknown,
            "left_out": self.tally.left_out.total(),
            "unseen": unseen,
            "lanes": self.lanes,
            "step": self.checkpoint.counters["step"],
        }

    def as_text(self) -> str:
        score, vocabulary, tally = self.score, self.checkpoint.vocabulary, self.tally
        kind = vocabulary.kind
        lines = [
            f"{self.source}{f', {self.part}' if self.part else ''}, by the network after step "
            f"{self.checkpoint.counters['step']:,}",
            f"{score.nats_per_character:.4f} nats/{kind[:-1]}, {score.bits_per_character:.4f} bits/{kind[:-1]}, "
            f"{score.bits_per_byte:.4f} bits/byte, perplexity {score.perplexity:.5g}",
            f"{score.symbols:,} {kind} scored ({score.utf8_bytes:,} bytes), all but the first"
            + (f", in {self.lanes:,} lanes" if self.lanes > 1 else ""),
            unseen_line(self.train, self.part, vocabulary) if self.train and self.part else "",
        ]
        if tally.unknown:
            lines.append(f"{tally.unknown:,} {kind} were read as the unknown symbol")
        if tally.left_out:
            named = ", ".join(repr(symbol) for symbol, _ in tally.left_out.most_common(8))
            more = f" and {len(tally.left_out) - 8} more" if len(tally.left_out) > 8 else ""
            lines.append(
                f"{tally.left_out.total():,} {kind} that the network does not know were left out ({named}{more})"
            )
        return "\n".join(filter(None, lines))


def _tsv_lines(scored: "Scored") -> str:
    bits = scored.nats.astype("float64") / math.log(2)
    return "".join(
        f"{place}\t{_escaped(symbol)}\t{surprisal:.6f}\n"
        for place, symbol, surprisal in zip(scored.places.tolist(), scored.symbols, bits.tolist(), strict=True)
    )


def _escaped(symbol: str) -> str:
    return symbol if symbol.isprintable() and symbol != "\\" else symbol.encode("unicode_escape").decode()

"""`jaxrnn evaluate`: how well a trained network predicts a text."""

import contextlib
import dataclasses
import itertools
import math
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, NamedTuple

import tyro

import jaxrnn
from jaxrnn.cli import arguments
from jaxrnn.cli.dynamic import DYNAMIC, DynamicFlags
from jaxrnn.cli.output import fields_of, print_result, reading, unseen_symbols
from jaxrnn.config import TrainConfig
from jaxrnn.config.atomic import check_writable, replacing
from jaxrnn.config.fields import check_in
from jaxrnn.errors import JaxrnnError, NonFiniteError, counted, listed

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from jaxrnn.evaluation.dynamic import Dynamic
    from jaxrnn.evaluation.stream import Reader, Scored, Tally


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a slice of a run's corpus, or a text file: the loss of every symbol but the first."""

    run_dir: arguments.RunArgument
    file: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILE...", help_behavior_hint="")] = ()
    """Text, as CORPUS of `jaxrnn train`, or a pipe; by default a slice of the run's corpus is scored."""
    text: str | None = None
    """Text to score, in place of FILE."""
    split_name: Literal["train", "validation", "test"] | None = None
    """Slice of the corpus; by default validation, or train if the run has no other."""
    from_: arguments.CheckpointFlag = None
    cell: arguments.CellFlag = None
    per_character: Annotated[Path | None, tyro.conf.arg(metavar="FILE.tsv")] = None
    """Write a line per scored character: its offset in the text, the character (escaped as in Python), its bits."""
    overwrite: bool = False
    """Replace the file of --per-character."""
    per_document: bool = False
    """Also print a line per document: where it begins, its loss."""
    reset_on: str | None = None
    """String that separates documents; the state is reset where a document begins. By default that of the run."""
    lanes: int = 1
    """Number of parts to read side by side: faster, and almost exact (all but the first warm up on 256 symbols)."""
    reading: arguments.ReadingFlags = dataclasses.field(default_factory=dict)
    json: arguments.JsonFlag = False
    learning: Annotated[DynamicFlags, DYNAMIC] = dataclasses.field(default_factory=DynamicFlags)
    device: arguments.DeviceArgument = dataclasses.field(default_factory=arguments.DeviceFlags)

    def run(self) -> None:
        """Score the text, and print the score."""
        tsv = self.per_character
        check_in(self.lanes, "[1, inf)", "lanes")
        texts = {"FILE": self.file or None, "--text": self.text, "--split-name": self.split_name}
        if len(given := [name for name, value in texts.items() if value is not None]) > 1:
            raise JaxrnnError(f"{' and '.join(given)} both say what to score; give one of them")
        if not self.file and self.text is None:
            arguments.check_read(self.reading, "FILE", *self.reading)
        if not self.file:
            arguments.check_read(self.reading, "FILE", "join")
        if self.lanes > 1 and self.learning.dynamic:
            raise JaxrnnError("--dynamic reads in one lane, in which every symbol is learned from; leave --lanes out")
        if tsv:
            check_writable(tsv)
        if tsv and tsv.exists() and not self.overwrite:
            raise JaxrnnError(f"{tsv} exists already; choose another file, or replace it by --overwrite")
        checkpoint = arguments.choose_checkpoint(self.run_dir, self.from_, self.cell, self.device, quiet=self.json)
        unit = checkpoint.vocabulary.kind
        mesh = self.device.mesh("lanes", self.lanes)
        read = self._stream if self.file or self.text is not None else self._slice
        is_training = read == self._slice and self._slice_name(checkpoint.config) == "train"
        choice, reader = self.learning.choose(checkpoint, scores_training=is_training), None
        if choice:
            from jaxrnn.evaluation.dynamic import reader as dynamic_reader

            dynamic, rule = choice
            reader = dynamic_reader(checkpoint.state.params, checkpoint.config.model, rule, dynamic.length)
        if self.reset_on is not None:
            config = dataclasses.replace(checkpoint.config, reset_on=self.reset_on)
            checkpoint = checkpoint._replace(config=config)
        text = read(checkpoint, mesh, reader)
        total, documents = jaxrnn.Score(0.0, 0, 0), []
        with replacing(tsv) if tsv else contextlib.nullcontext() as tsv_file:
            for begin, score in _documents(text, checkpoint.vocabulary, tsv_file, self.per_document):
                total = jaxrnn.Score(*map(operator.add, total, score))
                values = {"begin": begin, **score._asdict(), **fields_of(score, "bits_per_character")}
                if self.per_document and self.json:
                    documents.append(values)
                elif self.per_document:
                    bits = f"{score.bits_per_character:.4f} bits/{unit[:-1]}"
                    print(f"document at {begin:,}: {bits}, {counted(score.symbols, unit)} scored")
            if not total.symbols:
                counts = f"{counted(text.tally.read, unit)}, {text.tally.left_out.total()} of them unknown"
                raise JaxrnnError(f"{text.source} has {counts}; 2 known ones are needed to score one")
            if not math.isfinite(total.nats):
                raise NonFiniteError(f"the loss of {text.source} is not finite; with --dynamic, try a smaller rate")
        self._print_result(text, total, checkpoint, choice and choice[0], documents)

    def _stream(self, checkpoint: "jaxrnn.Checkpoint", mesh: "Mesh | None", reader: "Reader | None") -> "_Text":
        from jaxrnn.evaluation.stream import Tally, score_stream
        from jaxrnn.text.files import one_line
        from jaxrnn.text.stream import Rules, decode, read_pieces
        from jaxrnn.text.vocabulary import encode_bytes

        config, vocabulary, tally = checkpoint.config, checkpoint.vocabulary, Tally()
        rules = Rules.of(dataclasses.replace(config, **self.reading))
        if self.file:
            source = "\n".join(self.file)
            name, pieces = one_line(source), read_pieces(source, rules)
        else:
            rules = rules.of_arguments
            name, pieces = "--text", decode([encode_bytes(self.text or "", rules.encoding)], "--text", rules)
        options: dict[str, Any] = {"reset_on": config.reset_on, "lanes": self.lanes, "mesh": mesh, "reader": reader}
        scored = score_stream(checkpoint.state.params, pieces, vocabulary, config.model, tally, **options)
        return _Text(name, scored, tally)

    def _slice_name(self, config: TrainConfig) -> str:
        return self.split_name or ("validation" if len(config.split) > 1 else "train")

    def _slice(self, checkpoint: "jaxrnn.Checkpoint", mesh: "Mesh | None", reader: "Reader | None") -> "_Text":
        from jaxrnn.evaluation.score import ordered_surprisals, surprisals_in_parts
        from jaxrnn.evaluation.stream import Scored, Tally, read_in_parts
        from jaxrnn.text.files import STDIN, one_line
        from jaxrnn.text.stream import Rules, count_tokens, read_pieces

        config, vocabulary = checkpoint.config, checkpoint.vocabulary
        try:
            with reading() as progress:
                corpus = jaxrnn.runs.reload_corpus(checkpoint, progress)
        except JaxrnnError as error:
            raise JaxrnnError(f"{error} (or give FILE, to score another text)") from None
        slices = jaxrnn.runs.slices_of(corpus, config)
        name = self._slice_name(config)
        if name not in slices:
            raise JaxrnnError(f"the run has no slice {name!r}; it has {', '.join(slices)}")
        part = slices[name]
        tally = Tally(len(part.tokens))
        if vocabulary.unknown:
            counts = count_tokens(part.tokens, len(vocabulary))
            tally.unknown = int(counts[vocabulary.symbols.index(jaxrnn.text.UNKNOWN)])

        # Tokens don't tell what the unknown symbol stands for: the text is read again, unless it came from stdin.
        characters = None
        if tally.unknown and vocabulary.kind == "characters" and corpus.source != STDIN:
            pieces = map(str, read_pieces(corpus.source, Rules.of(config)))
            characters = itertools.islice(itertools.chain.from_iterable(pieces), part.begin + 1, None)

        def scored() -> Iterator[Scored]:
            in_order = self.per_character or self.per_document or characters
            surprisals = ordered_surprisals if in_order else surprisals_in_parts
            if not reader:
                parts = surprisals(checkpoint.state.params, part.tokens, config.model, self.lanes, part.starts, mesh)
            else:
                parts = ((indices, nats) for indices, nats, _ in read_in_parts(reader, part.tokens, part.starts))
            for indices, nats in parts:
                tokens, symbols = part.tokens[1:][indices], ""
                if characters:
                    symbols = "".join(itertools.islice(characters, len(tokens)))
                elif self.per_character:
                    symbols = "".join(vocabulary.symbols[token] for token in tokens)
                starts = None if part.starts is None else part.starts[indices]
                yield Scored(part.begin + 1 + indices, symbols, tokens, nats, starts)

        return _Text(one_line(corpus.source), scored(), tally, part, slices["train"])

    def _print_result(
        self,
        text: "_Text",
        score: "jaxrnn.Score",
        checkpoint: "jaxrnn.Checkpoint",
        dynamic: "Dynamic | None",
        documents: list[dict[str, Any]],
    ) -> None:
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
            "dynamic": dynamic,
            "step": step,
            "checkpoint": checkpoint.file,
            **({"documents": documents} if self.per_document else {}),
        }
        per_byte = f"{score.bits_per_byte:.4f} bits/byte, " if kind == "characters" else ""
        in_lanes = f", in {self.lanes:,} lanes" if self.lanes > 1 else ""
        lines = [
            f"{text.source}{f', {part}' if part else ''}, by the network after step {step:,}",
            f"{score.nats_per_character:.4f} nats/{kind[:-1]}, {score.bits_per_character:.4f} bits/{kind[:-1]}, "
            f"{per_byte}perplexity {score.perplexity:.5g}",
            f"{counted(score.symbols, kind)} scored ({counted(score.utf8_bytes, 'bytes')}), all but "
            f"the first{in_lanes}",
            f"{dynamic}{self.learning.chosen}" if dynamic else None,
            unseen_line,
        ]
        if tally.unknown:
            lines.append(f"{kind} read as the unknown symbol: {tally.unknown:,}")
        if tally.left_out:
            from jaxrnn.text.characters import visible

            symbols = listed([repr(visible(symbol)) for symbol, _ in tally.left_out.most_common()])
            lines.append(f"{kind} left out, as the network does not know them: {tally.left_out.total():,} ({symbols})")
        print_result(self.json, values, *lines)


class _Text(NamedTuple):
    """A text that is scored while `scored` is iterated over; its slice and the training slice, if it is of a corpus."""

    source: str
    scored: "Iterator[Scored]"
    tally: "Tally"
    part: "jaxrnn.Slice | None" = None
    train: "jaxrnn.Slice | None" = None


def _documents(
    text: _Text, vocabulary: "jaxrnn.Vocabulary", tsv: BinaryIO | None, separately: bool
) -> "Iterator[tuple[int, jaxrnn.Score]]":
    """Score a text; yield the offset and score of each document, or of the whole text; write surprisals to `tsv`."""
    utf8_lengths = vocabulary.utf8_lengths()
    begin, nats, symbols, utf8_bytes = text.part.begin if text.part else 0, 0.0, 0, 0
    for scored in text.scored:
        if tsv:
            tsv.write(_tsv_lines(scored).encode())
        starts = scored.starts.nonzero()[0].tolist() if separately and scored.starts is not None else []
        for part, (start, end) in enumerate(itertools.pairwise([0, *starts, len(scored.nats)])):
            if part:
                if symbols:
                    yield begin, jaxrnn.Score(nats, symbols, utf8_bytes)
                begin, nats, symbols, utf8_bytes = int(scored.indices[start]), 0.0, 0, 0
            if end > start:
                nats += float(scored.nats[start:end].sum(dtype="float64"))
                symbols += end - start
                if vocabulary.kind == "characters" and scored.symbols:
                    utf8_bytes += len(scored.symbols[start:end].encode("utf-8", "surrogatepass"))
                else:
                    utf8_bytes += int(utf8_lengths[scored.tokens[start:end]].sum())
    if symbols:
        yield begin, jaxrnn.Score(nats, symbols, utf8_bytes)


def _tsv_lines(scored: "Scored") -> str:
    bits = scored.nats.astype("float64") / math.log(2)
    rows = zip(scored.indices.tolist(), scored.symbols, bits.tolist(), strict=True)
    return "".join(f"{index}\t{_escaped(symbol)}\t{surprisal:.6f}\n" for index, symbol, surprisal in rows)


def _escaped(symbol: str) -> str:
    return symbol if symbol.isprintable() and symbol != "\\" else symbol.encode("unicode_escape").decode()

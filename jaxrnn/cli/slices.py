"""What commands print about a corpus, its slices, and validations."""

from typing import TYPE_CHECKING, Any

from jaxrnn.cli.output import listed

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus, Slice, Vocabulary

    Slices = dict[str, Slice]  # by name; a text that is not split has a single one, "train"


def corpus_values(corpus: "Corpus") -> dict[str, Any]:
    """Return what identifies a corpus, for JSON."""
    symbols = len(corpus.vocabulary)
    return {"source": corpus.source, "sha256": corpus.sha256, "length": len(corpus), "symbols": symbols}


def slice_values(part: "Slice") -> dict[str, Any]:
    """Return the name, begin and end of a slice, for JSON."""
    return {"name": part.name, "begin": part.begin, "end": part.end}


def slice_lines(slices: "Slices", vocabulary: "Vocabulary") -> list[str]:
    """Return a line per slice of a text that is split, and one per slice with symbols that training never sees."""
    if len(slices) == 1:
        return []
    train, *others = slices.values()
    unseen = [unseen_line(train, other, vocabulary) for other in others]
    return [*map(str, slices.values()), *filter(None, unseen)]


def unseen_line(train: "Slice", other: "Slice", vocabulary: "Vocabulary") -> str:
    """Return how many symbols of a slice never occur in the training slice, and which; empty if all occur there."""
    from jaxrnn.text import never_seen

    unseen, count = never_seen(train.tokens, other.tokens, len(vocabulary))
    if not count:
        return ""
    symbols = listed([repr(vocabulary.symbols[token]) for token in unseen])
    return f"{other}: {count:,} of its {other.kind} never occur in {train.name} ({len(unseen)} distinct: {symbols})"


def validation_lines(report: "Report", slices: "Slices", vocabulary: "Vocabulary") -> list[str]:
    """Return the validation losses with the name of their slice, and why training stopped early, if it did."""
    if report.best is None:
        return []
    now = f"{report.validation_loss:.4f} nats each, " if report.validation_loss is not None else ""
    stopped_early = (
        f"stopped early: no better validation loss in {report.best.since} validations; "
        "use --resume with a larger --patience to continue"
    )
    lines = [
        f"{slices['validation']}: {now}best {report.best.loss:.4f} nats each, after step {report.best.step:,}",
        unseen_line(slices["train"], slices["validation"], vocabulary),
        stopped_early if report.finished and report.step < report.config.steps else "",
    ]
    return list(filter(None, lines))

"""What commands print about a corpus, its slices, and validations."""

from typing import TYPE_CHECKING, Any

from jaxrnn.cli.output import listed
from jaxrnn.config import TrainConfig

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus, Slice, Vocabulary


def slice_lines(config: TrainConfig, corpus: "Corpus") -> list[str]:
    """Return a line per slice of a text that is split, and one per slice with symbols that training never sees."""
    from jaxrnn.runs import slices_of

    if len(config.split) < 2:
        return []
    train, *others = slices_of(corpus, config).values()
    unseen = [unseen_line(train, other, corpus.vocabulary) for other in others]
    return [*map(str, (train, *others)), *filter(None, unseen)]


def train_slice_note(config: TrainConfig, corpus: "Corpus") -> str:
    """Return the name of the training slice in parentheses, or nothing if training uses the whole text."""
    from jaxrnn.runs import slices_of

    return f" ({slices_of(corpus, config)['train']})" if len(config.split) > 1 else ""


def slice_values(part: "Slice") -> dict[str, Any]:
    """Return the name, begin and end of a slice, for JSON."""
    return {"name": part.name, "begin": part.begin, "end": part.end}


def corpus_values(corpus: "Corpus") -> dict[str, Any]:
    """Return what identifies a corpus, for JSON."""
    return {
        "source": corpus.source,
        "sha256": corpus.sha256,
        "length": len(corpus),
        "symbols": len(corpus.vocabulary),
    }


def unseen_line(train: "Slice", other: "Slice", vocabulary: "Vocabulary") -> str:
    """Return how many symbols of a slice never occur in the training slice, and which; empty if all occur there."""
    from jaxrnn.text import never_seen

    unseen, count = never_seen(train.tokens, other.tokens, len(vocabulary))
    if not count:
        return ""
    symbols = listed([repr(vocabulary.symbols[token]) for token in unseen])
    return f"{other}: {count:,} of its {other.kind} never occur in {train.name} ({len(unseen)} distinct: {symbols})"


def validation_lines(report: "Report", config: TrainConfig, corpus: "Corpus") -> list[str]:
    """Return the validation losses with the name of their slice, and why training stopped early, if it did."""
    from jaxrnn.runs import slices_of

    if report.best is None:
        return []
    slices = slices_of(corpus, config)
    now = f"{report.validation_loss:.4f} nats each, " if report.validation_loss is not None else ""
    lines = [
        f"{slices['validation']}: {now}best {report.best.loss:.4f} nats each, after step {report.best.step:,}",
        unseen_line(slices["train"], slices["validation"], corpus.vocabulary),
    ]
    if report.finished and report.step < config.steps:
        lines.append(
            f"stopped early: no better validation loss in {report.best.since} validations; "
            "--resume with a larger --patience goes on"
        )
    return list(filter(None, lines))

"""What a training run says of its slices and of its validations."""

from typing import TYPE_CHECKING, Any

from jaxrnn.config import TrainConfig

if TYPE_CHECKING:
    from jaxrnn.runs import Report
    from jaxrnn.text import Corpus, Slice, Vocabulary


def slice_lines(config: TrainConfig, corpus: "Corpus") -> list[str]:
    """Return a line for each slice of a text that is split, and one where a slice has what training never sees."""
    from jaxrnn.runs import slices_of

    if len(config.split) < 2:
        return []
    train, *others = slices_of(corpus, config).values()
    unseen = [unseen_line(train, other, corpus.vocabulary) for other in others]
    return [*map(str, (train, *others)), *filter(None, unseen)]


def on_train(config: TrainConfig, corpus: "Corpus") -> str:
    """Return the name of the slice that is trained on, for the end of a line; nothing where that is the whole text."""
    from jaxrnn.runs import slices_of

    return f" ({slices_of(corpus, config)['train']})" if len(config.split) > 1 else ""


def slices_as_json(config: TrainConfig, corpus: "Corpus") -> list[dict[str, Any]]:
    """Return the slices of a text: names, and where they begin and end."""
    from jaxrnn.runs import slices_of

    return [{"name": part.name, "begin": part.begin, "end": part.end} for part in slices_of(corpus, config).values()]


def unseen_line(train: "Slice", other: "Slice", vocabulary: "Vocabulary") -> str:
    """Return how many symbols of a slice never occur in the training slice, and which; nothing where there are none."""
    from jaxrnn.text import never_seen

    unseen, count = never_seen(train.tokens, other.tokens, len(vocabulary))
    if not count:
        return ""
    named = ", ".join(repr(vocabulary.symbols[token]) for token in unseen[:8])
    more = f" and {len(unseen) - 8} more" if len(unseen) > 8 else ""
    return f"{other}: {count:,} of its {other.kind} never occur in {train.name} ({len(unseen)} distinct: {named}{more})"


def validation_lines(report: "Report", config: TrainConfig, corpus: "Corpus") -> list[str]:
    """Return what the validations found, naming the slice; and why training stopped early, if it did."""
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

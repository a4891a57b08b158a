"""`jaxrnn presets`: which preset to train with."""

import dataclasses

from jaxrnn.cli.arguments import JsonFlag
from jaxrnn.cli.output import print_result, table
from jaxrnn.config.presets import PRESET_FACTS

_HOW = (
    "Train with one: jaxrnn train novel.txt --preset quick",
    "Or let text and time decide: jaxrnn train novel.txt --minutes 10",
)


@dataclasses.dataclass(frozen=True)
class Presets:
    """Compare the presets of `jaxrnn train`: what for, texts, minutes, loss, and a line that each writes."""

    json: JsonFlag = False

    def run(self) -> None:
        """Print the table."""
        values = [{"preset": name, **facts._asdict()} for name, facts in PRESET_FACTS.items()]
        print_result(self.json, values, *preset_table(), "", *_HOW)


def preset_table() -> list[str]:
    """Return the table of the presets: two lines for each, the second with what it writes."""
    rows = [("--preset", "for", "text", "minutes", "bits")]
    for name, facts in PRESET_FACTS.items():
        minutes = " to ".join(f"{minutes:g}" for minutes in sorted({*facts.minutes}))
        rows.append((name, facts.purpose, facts.text, minutes, f"{facts.bits_per_character:.2f}"))
    title, *lines = table(rows)
    pairs = zip(lines, PRESET_FACTS.values(), strict=True)
    return [
        title,
        *[line for row, facts in pairs for line in (row, f"    {facts.writes}")],
        "(minutes on two cores; bits per character on the last tenth of tinyshakespeare;",
        "the lines are what each writes then, at temperature 0.5)",
    ]

"""What a run tells its user while it trains and at its end: samples in short, a rising loss, commands to copy."""

import math
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import jaxrnn
from jaxrnn.cli.output import quoted

# Noise stays below these: on tinyshakespeare the loss of the preset quick rises by 2 % for two validations, and on a
# plateau the loss rises by less for longer.
_MARGIN, _MARGIN_OF_THREE = 1.03, 1.005
_DIVERGED = 1.01  # times the loss of guessing; below is the noise of the first steps
_COLUMNS = 80


def shown_sample(report: "jaxrnn.Report") -> str:
    """Return the sample of a report for the terminal.

    With the default `sample_every` the samples of a run fit on a screen: those on the way are shown as two lines of
    words, and the last one up to its fifth line.
    """
    sample = report.sample or ""
    if report.config.sample_every is not None:
        return f"{sample}\n"
    if not report.finished:
        return "\n".join(textwrap.wrap(" ".join(sample.split()), _COLUMNS, break_on_hyphens=False)[:2])
    lines = [line for line in sample.splitlines() if line.strip()]
    return "\n".join([line[start : start + _COLUMNS] for line in lines for start in range(0, len(line), _COLUMNS)][:5])


def _has_risen(best: "jaxrnn.runs.report.Best") -> bool:
    """Return whether the newest validation loss is above the lowest by more than noise."""
    return (best.newest or 0.0) > (_MARGIN if best.since < 3 else _MARGIN_OF_THREE) * best.loss


def _is_by_heart(report: "jaxrnn.Report") -> bool:
    """Return whether the network predicts its training text better than it ever predicted the validation text."""
    return report.best is not None and report.bits_per_character < report.best.bits_per_character


def rising_line(report: "jaxrnn.Report") -> str | None:
    """Return what to say when a validation shows that the loss rises; None: it does not, or there was no validation."""
    best, now = report.best, report.validation_loss
    if best is None or now is None or not _has_risen(best):
        return None
    return (
        f"validation loss rises: {now / math.log(2):.3f} {report.config.loss_unit} after step {report.step:,}, best "
        f"{best.bits_per_character:.3f} after step {best.step:,}"
        f"{': the network begins to learn the text by heart' if _is_by_heart(report) else ''}"
    )


def best_line(best: "jaxrnn.runs.report.Best", report: "jaxrnn.Report") -> str:
    """Return the lowest validation loss of a run that ends with this report, and the newest one if it is known."""
    config = report.config
    line = f"best after step {best.step:,} of {config.steps:,}: {best.bits_per_character:.3f} {config.loss_unit}"
    if best.newest is not None:
        line += f"; now {best.newest / math.log(2):.3f}"
    if not _has_risen(best):
        return line
    by_heart = "it has learned the text by heart; " if _is_by_heart(report) else ""
    return f"{line}: {by_heart}sample, page and evaluate take the best (--from best)"


def guessing_line(report: "jaxrnn.Report") -> str | None:
    """Return what to say of a run whose loss is above that of a network that knows nothing; None: it is below."""
    guessing = math.log2(report.config.model.vocab_size or 1)
    if not report.step or report.bits_per_character <= _DIVERGED * guessing:
        return None
    return f"worse than guessing, which is {guessing:.3f} {report.config.loss_unit}: lower --learning-rate"


def closing_lines(
    run_dir: Path, flags: Mapping[str, str | None], resume_flags: str | None, sweep_dir: Path | None = None
) -> list[str]:
    """Return the commands to copy at the end of a run.

    Args:
        run_dir: the run; of a sweep, the best one.
        flags: `cell` and `optimizer` as the user gave them; the run does not store those from a Python file.
        resume_flags: what to change so that the run continues; None: nothing would help.
        sweep_dir: the sweep that is resumed, in place of the run.
    """
    run, program = quoted(run_dir), _program()
    given = {name: f" --{name} {shlex.quote(flag)}" for name, flag in flags.items() if flag and ":" in flag}
    cell = given.get("cell", "")
    lines = [f"sample it:  {program} sample {run}{cell}"]
    if not cell:
        lines.append(f"see it:     {program} page {run}")
    if resume_flags is not None:
        what = f"sweep --run-dir {quoted(sweep_dir)}" if sweep_dir else f"train --run-dir {run}"
        lines.append(f"go on:      {program} {what} --resume{resume_flags}{''.join(given.values())}")
    return lines


def _program() -> str:
    """Return how this program is called where its virtual environment may not be active."""
    called = Path(sys.argv[0])
    if not shutil.which("jaxrnn"):
        if called.name == "jaxrnn":
            return shlex.quote(sys.argv[0])
        if called.parts[-2:] == ("jaxrnn", "__main__.py"):
            return f"{shlex.quote(sys.executable)} -m jaxrnn"
    return "jaxrnn"


def resume_flags(report: "jaxrnn.Report") -> str:
    """Return the flags with which `--resume` continues a run that has ended with this report."""
    config, best = report.config, report.best
    if report.step >= config.steps:
        return f" --steps {2 * report.step}"
    return f" --patience {config.patience + best.since}" if report.finished and best else ""

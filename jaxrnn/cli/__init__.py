"""The command line: one small module a command. All printing happens here."""

import contextlib
import difflib
import importlib.metadata
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxrnn.cli.bench import Bench
from jaxrnn.cli.evaluate import Evaluate
from jaxrnn.cli.info import Info
from jaxrnn.cli.page import Page
from jaxrnn.cli.plot import Plot
from jaxrnn.cli.sample import Sample
from jaxrnn.cli.train import Train
from jaxrnn.cli.weights import Export, Import
from jaxrnn.errors import JaxrnnError

_DESCRIPTION = (
    "Character-level recurrent networks in JAX. Exit codes: 0 done, 1 failed, 2 usage, 3 unusable checkpoint, "
    "4 loss not finite, 130 or 143 stopped by a signal (the run is saved)."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that can't show every character
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"jaxrnn: warning: {message}", file=sys.stderr)
            code = _run(arguments)
        sys.stdout.flush()  # here, where what is wrong with it can still be said
        return code
    except JaxrnnError as error:
        print(f"jaxrnn: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output (`| head`) has had enough
        _drop_output()
        return 0
    except OSError as error:
        print(f"jaxrnn: {error}", file=sys.stderr)
        _drop_output()
        return 1


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(_version())
        return 0
    try:
        command = _parse(arguments)
    except SystemExit:  # tyro has shown the help
        return 0
    return command.run()


def _drop_output() -> None:
    """Throw away what stdout has not taken and would complain of once more when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_COMMANDS = ("train", "sample", "evaluate", "info", "plot", "page", "bench", "export", "import")


def _parse(arguments: list[str]) -> Train | Sample | Evaluate | Info | Plot | Page | Bench | Export | Import:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in _COMMANDS:
        near = difflib.get_close_matches(arguments[0], _COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COMMANDS)}"
        raise JaxrnnError(f"no such command: {arguments[0]}; {hint}")
    default = Train.defaults(arguments[1:]) if arguments[:1] == ["train"] else Train()
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=default)]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Page, tyro.conf.subcommand("page")]
        | Annotated[Bench, tyro.conf.subcommand("bench")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Import, tyro.conf.subcommand("import")]
    )
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                commands,
                prog="jaxrnn",
                description=_DESCRIPTION,
                args=arguments or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise JaxrnnError(_in_short(complaint.getvalue(), arguments)) from None


def _in_short(complaint: str, arguments: list[str]) -> str:
    """Return tyro's complaint, a box of sections under a title, as one line with the flags that it finds near."""
    lines = [line.strip(" │") for line in complaint.splitlines() if not line.startswith("╭")]
    sections = [section.split("\n") for section in re.split(r"\n?[─╰-]{3,}╯?\n?", "\n".join(lines))]
    if "╭" not in complaint:  # a terminal without box characters: the title is a section of its own
        sections = sections[1:]
    # The name of the class that was being built says nothing here; that of a flag does.
    message = re.sub(r"^Error parsing (?!-)\S+: ", "", " ".join(sections[0]))
    for section in sections[1:]:
        if section[0].startswith("Perhaps you meant"):
            flags = [line for line in section[1:] if line.startswith("--")]
            message += f"; perhaps you meant {' or '.join(flags[:3])}"
    command = f"jaxrnn {arguments[0]}" if arguments[:1] and arguments[0] in _COMMANDS else "jaxrnn"
    return f"{message}\n`{command} --help` shows what there is"


def _version() -> str:
    parts = ("jax", "jaxlib", "optax", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in parts)
    return f"jaxrnn {importlib.metadata.version('jaxrnn')} ({versions})"

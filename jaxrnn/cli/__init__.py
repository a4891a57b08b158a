"""The command line: one small module a command. All printing happens here."""

import contextlib
import difflib
import functools
import importlib.metadata
import io
import operator
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import tyro

from jaxrnn.cli.bench import Bench
from jaxrnn.cli.compare import Compare
from jaxrnn.cli.completion import Completion
from jaxrnn.cli.evaluate import Evaluate
from jaxrnn.cli.info import Info
from jaxrnn.cli.jax_setup import mend_cache, set_xla_flags
from jaxrnn.cli.output import wants_color
from jaxrnn.cli.page import Page
from jaxrnn.cli.plot import Plot
from jaxrnn.cli.prepare import Prepare
from jaxrnn.cli.runs import Runs
from jaxrnn.cli.sample import Sample
from jaxrnn.cli.sweep import Sweep
from jaxrnn.cli.train import Train
from jaxrnn.cli.weights import Export, Import
from jaxrnn.errors import JaxrnnError

_DESCRIPTION = (
    "Character-level recurrent networks in JAX. Exit codes: 0 done, 1 failed, 2 usage, 3 unusable checkpoint, "
    "4 loss not finite, 130 or 143 stopped by a signal (the run is saved). With --debug any command shows the "
    "traceback of an error."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that can't show every character
    set_xla_flags()
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = _run([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()  # here, where what is wrong with it can still be said
        return code
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code = _told(error)
        _leave_others(code)
        return code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    text = str(message)
    print(f"jaxrnn: warning: {mend_cache(text) or text}", file=sys.stderr)


def _leave_others(code: int) -> None:
    """End at once where other processes wait for this one: an orderly end would wait for them."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _told(error: BaseException) -> int:
    """Say what went wrong in a line or two; return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):  # the reader of the output (`| head`) has had enough
        _drop_output()
        return 0
    code = 1
    if isinstance(error, JaxrnnError):
        message, code = str(error), error.exit_code
    elif isinstance(error, OSError):
        message = str(error)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # NumPy's and JAX's
        message = "out of memory; try a smaller hidden_size, batch_size, sequence_length or chunk_length"
    else:
        found = str(error).partition("\n")[0]
        message = f"{type(error).__name__}: {found}\nthis is a bug; please report it with what --debug adds"
    print(f"jaxrnn: {message}", file=sys.stderr)
    if isinstance(error, OSError):
        _drop_output()
    return code


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


COMMANDS = {
    "train": Train,
    "sweep": Sweep,
    "sample": Sample,
    "evaluate": Evaluate,
    "info": Info,
    "runs": Runs,
    "compare": Compare,
    "plot": Plot,
    "page": Page,
    "bench": Bench,
    "export": Export,
    "import": Import,
    "prepare": Prepare,
    "completion": Completion,
}


class Command(Protocol):
    """What a command line becomes."""

    def run(self) -> int:
        """Do it; return the exit code."""


def command_line(train: Train | None = None, sweep: Sweep | None = None, bench: Bench | None = None) -> Any:
    """Return the type of all commands, as tyro takes it; the arguments are what the flags of the three begin from."""
    defaults: dict[str, dict[str, Any]] = {
        "train": {"default": train or Train()},
        "sweep": {"default": sweep or Sweep()},
        "bench": {"default": bench or Bench()},
    }
    kinds: list[Any] = [
        Annotated[kind, tyro.conf.subcommand(name, **defaults.get(name, {}))] for name, kind in COMMANDS.items()
    ]
    return functools.reduce(operator.or_, kinds)


def _parse(arguments: list[str]) -> Command:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        raise JaxrnnError(f"no such command: {arguments[0]}; {hint}")
    train, sweep, bench = None, None, None
    if arguments[:1] == ["train"]:
        train = Train.defaults(arguments[1:])
    if arguments[:1] == ["sweep"]:
        arguments[1:], sweep = Sweep.parsed(arguments[1:])
    if arguments[:1] == ["bench"]:
        bench = Bench.defaults(arguments[1:])
    # tyro looks at the terminal, not at what a person has asked for.
    tyro._experimental_options["ansi_codes"] = wants_color(sys.stdout)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                command_line(train, sweep, bench),
                prog="jaxrnn",
                description=_DESCRIPTION,
                args=arguments or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        command = f"jaxrnn {arguments[0]}" if arguments[0] in COMMANDS else "jaxrnn"
        message = _cause(stop) or _in_short(re.sub("\x1b\\[[0-9;]*m", "", complaint.getvalue()))
        raise JaxrnnError(f"{message}\n`{command} --help` shows what there is") from None


def _cause(error: BaseException) -> JaxrnnError | None:
    """Return the error of a configuration, of which tyro has made a complaint in lines as wide as the terminal."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, JaxrnnError):
        found = found.__cause__ or found.__context__
    return found


_NO_NUMBER = {"a whole number": "invalid literal for int()", "a number": "could not convert string to float"}


def _in_short(complaint: str) -> str:
    """Return tyro's complaint, a box of sections under a title, as one line with the flags that it finds near."""
    lines = [line.strip(" │") for line in complaint.splitlines() if not line.startswith("╭")]
    sections = [section.split("\n") for section in re.split(r"\n?[─╰-]{3,}╯?\n?", "\n".join(lines))]
    if "╭" not in complaint:  # a terminal without box characters: the title is a section of its own
        sections = sections[1:]
    # The name of the class that was being built says nothing here; that of a flag does.
    message = re.sub(r"^Error parsing (?!-)\S+: ", "", " ".join(sections[0]))
    for kind, words in _NO_NUMBER.items():
        if found := re.search(rf"^Error parsing (--\S+): .*{re.escape(words)}[^:]*: (.*)", message):
            message = f"{found[1]} must be {kind}, got {found[2]}"
    for section in sections[1:]:
        if section[0].startswith("Perhaps you meant"):
            flags = [line for line in section[1:] if line.startswith("--")]
            message += f"; perhaps you meant {' or '.join(flags[:3])}"
    return message


def _version() -> str:
    parts = ("jax", "jaxlib", "optax", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in parts)
    return f"jaxrnn {importlib.metadata.version('jaxrnn')} ({versions})"

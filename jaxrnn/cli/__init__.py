"""The command line: small modules, each with a command or two. All printing happens here."""

import contextlib
import difflib
import functools
import importlib.metadata
import io
import operator
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import tyro

from jaxrnn.cli.bench import Bench
from jaxrnn.cli.completion import Completion
from jaxrnn.cli.evaluate import Evaluate
from jaxrnn.cli.info import Info
from jaxrnn.cli.jax_setup import clear_damaged_cache, set_xla_flags
from jaxrnn.cli.output import wants_color
from jaxrnn.cli.plot import Page, Plot
from jaxrnn.cli.prepare import Prepare
from jaxrnn.cli.runs import Compare, Runs
from jaxrnn.cli.sample import Sample
from jaxrnn.cli.sweep import Sweep
from jaxrnn.cli.train import Train
from jaxrnn.cli.weights import Export, Import
from jaxrnn.errors import JaxrnnError

_DESCRIPTION = """\
Character-level recurrent networks in JAX.

Exit codes: 0 success, 1 failure, 2 usage error, 3 unusable checkpoint,
4 loss not finite, 130 or 143 stopped by a signal (the run is saved).

--debug prints the traceback of an error. NO_COLOR=1 turns colors off."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal can show every character
    set_xla_flags()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _run([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()  # an error of it must show up here, where it can be reported
        return code
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code = _report(error)
        _leave_other_processes(code)
        return code


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(_version())
        return 0
    try:
        return parse(arguments).run() or 0
    except SystemExit as stop:  # tyro has printed help or an error
        return int(stop.code or 0)


def _version() -> str:
    packages = ("jax", "jaxlib", "optax", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"jaxrnn {importlib.metadata.version('jaxrnn')} ({versions})"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    text = str(message)
    print(f"jaxrnn: warning: {clear_damaged_cache(text) or text}", file=sys.stderr)


def _report(error: BaseException) -> int:
    """Print an error in a line or two; return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):  # the reader of stdout, such as `| head`, has closed it
        _discard_stdout()
        return 0
    code = 1
    if isinstance(error, JaxrnnError):
        message, code = str(error), error.exit_code
    elif isinstance(error, OSError):
        message = str(error)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # of NumPy and of JAX
        message = "out of memory; try a smaller hidden_size, batch_size, sequence_length or chunk_length"
    else:
        line = str(error).partition("\n")[0]
        message = f"{type(error).__name__}: {line}\nthis is a bug; please report it with the output of --debug"
    print(f"jaxrnn: {message}", file=sys.stderr)
    if isinstance(error, OSError):
        _discard_stdout()
    return code


def _discard_stdout() -> None:
    """Discard what stdout could not write, or Python would fail again when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_other_processes(code: int) -> None:
    """Exit at once if other processes train with this one: an orderly exit would wait for them."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


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
    """What tyro parses a command line to."""

    def run(self) -> int | None:
        """Run the command; return the exit code, None for 0."""


def parse(arguments: list[str]) -> Command:
    """Return the command of a command line.

    Raises:
        SystemExit: tyro has printed help (code 0) or an error (code 2).
        JaxrnnError: there is no such command.
    """
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        raise JaxrnnError(f"no such command: {arguments[0]}; {hint}")
    if arguments[:1] == ["sweep"]:
        _check_repetition([argument.partition("=")[0] for argument in arguments if argument.startswith("--")])
    kinds: list[Any] = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items()]
    with _plain_text_without_colors():
        return tyro.cli(
            functools.reduce(operator.or_, kinds),
            prog="jaxrnn",
            description=_DESCRIPTION,
            args=arguments or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone),
        )


def _check_repetition(flags: list[str]) -> None:
    """Raise JaxrnnError for a flag given twice: tyro takes the last list only."""
    for flag in flags:
        if flags.count(flag) > 1:
            raise JaxrnnError(f"{flag} is given twice; give all its values in one list, such as {flag} A,B")


@contextlib.contextmanager
def _plain_text_without_colors() -> Iterator[None]:
    """Keep tyro from writing escape codes where they are not wanted: it only looks at TERM, and at stdout."""
    terminal = os.environ.get("TERM")
    if terminal is None or (wants_color(sys.stdout) and wants_color(sys.stderr)):
        yield
        return
    os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        os.environ["TERM"] = terminal

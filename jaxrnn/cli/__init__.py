"""The command line: small modules, each with a command or two. All printing happens here."""

import collections
import contextlib
import importlib.metadata
import io
import itertools
import os
import re
import shlex
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tyro

from jaxrnn.cli.bench import Bench
from jaxrnn.cli.evaluate import Evaluate
from jaxrnn.cli.files import Export, Import, Prepare
from jaxrnn.cli.flags import HOME_EXPANDED
from jaxrnn.cli.help import Completion, Docs
from jaxrnn.cli.info import Info
from jaxrnn.cli.output import wants_color
from jaxrnn.cli.plot import Page, Plot
from jaxrnn.cli.presets import Presets, preset_table
from jaxrnn.cli.process import clear_damaged_cache, set_environment
from jaxrnn.cli.runs import Compare, Runs
from jaxrnn.cli.sample import Sample
from jaxrnn.cli.streams import Stream, discard, standard_streams
from jaxrnn.cli.sweep import Sweep
from jaxrnn.cli.train import Train
from jaxrnn.errors import JaxrnnError, StorageError, did_you_mean

_DESCRIPTION = """\
Character-level recurrent networks in JAX.

Exit codes: 0 success, 1 failure, 2 usage error, 3 unusable checkpoint,
4 loss not finite, 129, 130 or 143 stopped by a signal (the run is saved).

--debug prints the traceback of an error. NO_COLOR=1 turns colors off."""

_TYRO = tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone
_LEAST_COLUMNS = 40

COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__.lower(): command
    for command in (
        *(Train, Presets, Sweep, Sample, Evaluate, Info, Runs, Compare),
        *(Plot, Page, Bench, Export, Import, Prepare, Completion, Docs),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    set_environment()
    with standard_streams():
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = _run([argument for argument in arguments if argument != "--debug"])
            sys.stdout.flush()  # raises here, where its error can be reported
            return code
        except (Exception, KeyboardInterrupt) as error:
            if "--debug" in arguments:
                traceback.print_exc()
            code = _report(error)
            jax = sys.modules.get("jax")
            if jax is not None and jax.distributed.is_initialized():  # an orderly exit would wait for other processes
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            return code


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        packages = ("jax", "jaxlib", "optax", "numpy")
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
        print(f"jaxrnn {importlib.metadata.version('jaxrnn')} ({versions})")
        return 0
    try:
        return parse(arguments).run() or 0
    except SystemExit as stop:  # tyro has printed help or an error
        if not stop.code and arguments[:1] == ["train"]:
            print("\n".join(["which preset:", *preset_table()]))
        return int(stop.code or 0)


def parse(arguments: list[str]) -> Any:
    """Return the command of a command line: an object with a method `run`, which returns an exit code, or None for 0.

    Raises:
        SystemExit: tyro has printed help (code 0) or an error (code 2).
        JaxrnnError: there is no such command, a word stands in no place, a list is given twice, or a word holds a NUL.
    """
    name, *rest = arguments or ["--help"]
    for word in arguments:
        if "\0" in word:  # no shell can pass one
            raise JaxrnnError(f"{word!r} contains a NUL, which no file name can; leave it out")
    if not name.startswith("-") and name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS, f"there are {', '.join(COMMANDS)}")
        raise JaxrnnError(f"no such command: {name}; {hint}")
    rest = _joined(rest)
    if name == "sweep":  # tyro would take the last of two lists
        counts = collections.Counter(word.partition("=")[0] for word in rest if word.startswith("--"))
        for flag, count in counts.items():
            if count > 1:
                raise JaxrnnError(f"{flag} is given twice; give all its values in one list, such as {flag} A,B")
    with _terminal_for_tyro(), HOME_EXPANDED:
        try:
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="jaxrnn", description=_DESCRIPTION, args=[name, *rest], config=_TYRO
            )
        except SystemExit as stop:
            if stop.code and name in COMMANDS:
                _explain_stray_words(name, rest)
            raise


def _joined(words: Sequence[str]) -> list[str]:
    """Return words, each text such as "-To" joined by "=" to the flag before it, lest it be taken for a flag."""
    joined = list(words[:1])
    for flag, word in itertools.pairwise(words):
        is_text = word[:1] == "-" and word not in ("-", "-h") and (word[:2] != "--" or " " in word)
        if is_text and re.fullmatch(r"--[\w-]+", flag):
            joined[-1] = f"{flag}={word}"
        else:
            joined.append(word)
    return joined


def _explain_stray_words(name: str, arguments: list[str]) -> None:
    """Raise JaxrnnError if words that tyro has refused are neither flags nor their values."""
    words: list[str] = []
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        _, words = tyro.cli(COMMANDS[name], args=arguments, config=_TYRO, return_unknown_args=True)
    if words and not any(word.startswith("-") for word in words):
        raise JaxrnnError(
            f"`jaxrnn {name}` can't take {shlex.join(words[:3])}{' ...' * (len(words) > 3)} there: files and runs come "
            f"first, together, as many as `jaxrnn {name} --help` shows, then the flags; a text with spaces is quoted"
        )


@contextlib.contextmanager
def _terminal_for_tyro() -> Iterator[None]:
    """Keep tyro from failing in a narrow terminal, and from writing escape codes where they are not wanted.

    For colors, tyro looks only at TERM and at stdout.
    """
    wanted = {"COLUMNS": str(max(_LEAST_COLUMNS, shutil.get_terminal_size().columns))}
    if "TERM" in os.environ and not (wants_color(sys.stdout) and wants_color(sys.stderr)):
        wanted["TERM"] = "dumb"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Stream)]
    for stream in streams:
        stream.shows_styles = True
    try:
        yield
    finally:
        for stream in streams:
            stream.shows_styles = False
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    text = str(message)
    print(f"jaxrnn: warning: {clear_damaged_cache(text) or text}", file=sys.stderr)


def _report(error: BaseException) -> int:
    """Print an error in a line or two; return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    code = error.exit_code if isinstance(error, JaxrnnError) else 1
    if isinstance(error, BrokenPipeError):  # the reader of stdout, such as `| head`, has closed it
        code = 0
    elif isinstance(error, OSError) and error.filename:
        print(f"jaxrnn: can't use {error.filename} ({error.strerror}); correct that, or give another", file=sys.stderr)
    elif isinstance(error, JaxrnnError | OSError):
        print(f"jaxrnn: {error}", file=sys.stderr)
    elif isinstance(error, importlib.metadata.PackageNotFoundError):
        print(f"jaxrnn: {error}; run `pip install .` in the clone of jaxrnn", file=sys.stderr)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # of NumPy and of JAX
        advice = "try a smaller hidden_size, batch_size, sequence_length or chunk_length"
        print(f"jaxrnn: out of memory; {advice}", file=sys.stderr)
    else:
        line = str(error).partition("\n")[0]
        words = re.findall(r"jax[_.]\w+|(?<=environment ')\w+", line, re.IGNORECASE)
        names = [word.replace(".", "_").upper() for word in words]
        if isinstance(error, ValueError):  # of a value that is no number
            variables = {name: repr(value) for name, value in os.environ.items() if name.startswith(("JAX_", "TQDM_"))}
            names += [name for name, value in variables.items() if value in line]
        for name in filter(os.environ.__contains__, names):
            print(f"jaxrnn: {name} is {os.environ[name]!r} ({line}); correct or unset it", file=sys.stderr)
            return JaxrnnError.exit_code
        advice = "this is a bug; please report it with the output of --debug"
        print(f"jaxrnn: {type(error).__name__}: {line}\n{advice}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except (OSError, StorageError):
        discard(sys.stdout)
    return code

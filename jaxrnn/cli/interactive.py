"""`jaxrnn sample --interactive`: a person and the network write a text in turns.

On a terminal the lines can be edited, with a history and completion. The history is ~/.local/state/jaxrnn/history (or
below XDG_STATE_HOME), which only its owner may read. The lines may also come from a pipe; stdout then gets the text and
nothing else.
"""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxrnn
from jaxrnn.cli.output import BOLD, styled, table
from jaxrnn.cli.process import noted_signals
from jaxrnn.config import SampleConfig
from jaxrnn.config.atomic import replacing
from jaxrnn.errors import JaxrnnError, StorageError, did_you_mean

_SETTINGS = {
    "temperature": ("X", "below 1 safer, above 1 wilder"),
    "top-k": ("N", "draw from the N likeliest characters; off: from all"),
    "top-p": ("X", "draw from the fewest that have probability X; off: from all"),
    "greedy": ("on|off", "take the likeliest character instead of drawing one"),
    "length": ("N", "characters per turn"),
    "stop": ("TEXT", r"end a turn after TEXT (\n is a new line); off: nowhere"),
    "seed": ("N", "other draws from here on; the same seed writes the same text"),
}
_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "X": ("a number", float),
    "N": ("a whole number", int),
    "on|off": ("on or off", {"on": True}.__getitem__),
    "TEXT": ("a text", lambda value: value.replace("\\n", "\n")),
}
_OFF = {"top-k": None, "top-p": None, "greedy": False, "stop": ""}
_COMMANDS = {
    "again": ("", "take back the last turn of the network and write another one"),
    "reset": ("", "begin a new text"),
    "show": ("", "show the text so far"),
    "save": ("FILE", "write it to a file"),
    "help": ("", "show this"),
    "quit": ("", "leave, as Ctrl-D does"),
    **_SETTINGS,
}
_HELP = """\
What you type is a new line of the text, and the network continues it; after
an empty line it just continues. A line that ends in \\ is joined with the
next one; // at the beginning stands for a single /. Ctrl-C stops the writing.
A setting without a value shows its value.
"""
_HISTORY_LENGTH = 1000  # lines
WORDS = tuple(f"/{name}" for name in _COMMANDS)


class Conversation:
    """A text that a person and a network write in turns: the text goes to stdout, everything else to stderr."""

    def __init__(self, writer: "jaxrnn.sampling.generate.Writer", config: SampleConfig) -> None:
        """Begin with an empty text, and a configuration that the writer has checked."""
        self._writer, self._vocabulary, self._config = writer, writer.vocabulary, config
        self._saved: set[Path] = set()
        self._reset()

    def _reset(self) -> None:
        self._tokens: list[int] = []
        self._position = self._writer.begin()
        self._turn_start = self._position, 0

    def run(self, introduction: str) -> None:
        """Take turns with a person at stdin until they leave; a prompt is their first turn."""
        at_terminal = sys.stdin.isatty()
        if at_terminal:
            _say(f"{introduction}\nType a beginning, then Enter; /help shows more. Ctrl-C stops the writing.")
        with _line_editing():
            if self._config.prompt:
                self._turn(self._config.prompt)
            while True:
                try:
                    line = _read_lines()
                    if line is None or line.strip() in ("/quit", "/exit"):
                        return
                    self._answer(line)
                except StorageError:  # stdout can't be written to
                    raise
                except JaxrnnError as error:
                    _say(str(error))
                except KeyboardInterrupt:  # drops the line that was being typed
                    if not at_terminal:
                        raise
                    _say("")

    def _answer(self, line: str) -> None:
        if line.startswith("//") or not line.startswith("/"):
            self._turn(line[1:] if line.startswith("//") else line)
            return
        name, _, value = line[1:].partition(" ")
        name, value = name.replace("_", "-"), value.strip()
        match name:
            case "again":  # the position remembers what has been drawn: other draws follow
                position, length = self._turn_start
                del self._tokens[length:]
                self._position = position._replace(drawn=self._position.drawn)
                self._turn("")
            case "reset":
                self._reset()
            case "show":
                print(self._vocabulary.decode(self._tokens), flush=True)
            case "save":
                self._save(value)
            case "help":
                commands = [(f"  /{name} {metavar}", words) for name, (metavar, words) in _COMMANDS.items()]
                _say(_HELP + "\n".join(table(commands)))
            case _ if name in _SETTINGS:
                self._set(name, value)
            case _:
                hint = did_you_mean(f"/{name}", WORDS, "/help shows what there is")
                raise JaxrnnError(f"no such command: /{name}; {hint}")

    def _turn(self, typed: str) -> None:
        """Let the network read a line and write, until Ctrl-C; after each piece the text is complete."""
        symbols, last = self._vocabulary.symbols, typed[-1:]
        is_within_line = self._tokens and "\n" in symbols and symbols[self._tokens[-1]] != "\n"
        with noted_signals(signal.SIGINT) as received:
            typed = self._writer.adapted(typed, self._config.unknown)
            tokens = self._vocabulary.encode("\n" + typed if typed and is_within_line else typed)
            self._position = self._position.extend(tokens)
            self._tokens += tokens.tolist()
            self._turn_start = self._position, len(self._tokens)
            sys.stdout.write(styled(typed, BOLD))
            decoder = self._vocabulary.decoder(raw=not sys.stdout.isatty())
            for (tokens,), position in self._writer.write(self._position, self._config):
                self._position = position
                self._tokens += tokens.tolist()
                piece = decoder.decode(tokens)
                print(piece, end="", flush=True)
                last = piece[-1:] or last
                if received:
                    break
            else:
                rest = decoder.decode([], final=True)
                sys.stdout.write(rest)
                last = rest or last
            if last != "\n":
                print(flush=True)

    def _save(self, name: str) -> None:
        if not name:
            raise JaxrnnError("/save needs a file's name")
        path = Path(name).expanduser()
        if path not in self._saved and path.exists():
            raise JaxrnnError(f"{path} exists already; choose another file")
        try:
            with replacing(path) as file:
                file.write(self._vocabulary.to_bytes(self._tokens))
        except StorageError as error:
            raise JaxrnnError(str(error)) from None
        self._saved.add(path)
        _say(f"saved: {path}")

    def _set(self, name: str, value: str) -> None:
        """Change a setting, if a value is given, and show it."""
        field = name.replace("-", "_")
        if value:
            kind, parse = _PARSERS[_SETTINGS[name][0]]
            try:
                new: Any = _OFF[name] if value == "off" and name in _OFF else parse(value)
            except (ValueError, KeyError):
                raise JaxrnnError(f"/{name} must be {kind}, got {value}") from None
            config = dataclasses.replace(self._config, **{field: new})
            self._config = self._writer.checked(config)
        current = getattr(self._config, field)
        words = repr(current) if name == "stop" else str(current).replace("True", "on")
        _say(f"{name}: {'off' if name in _OFF and current == _OFF[name] else words}")


def _read_lines() -> str | None:
    """Return the next line, joined with those that follow a backslash at its end; None at the end of the input."""
    line = ""
    while True:
        try:
            line += _read_line("... " if line else "> ")
        except EOFError:
            if sys.stdin.isatty():
                _say("")
            return line or None
        if not line.endswith("\\"):
            return line
        line = line[:-1] + "\n"


def _read_line(prompt: str) -> str:
    """Return the next line without its end; the prompt is shown on a terminal only, and never goes into a file."""
    if _is_editable():
        return input(prompt)
    if sys.stdin.isatty():
        print(prompt, end="", file=sys.stderr, flush=True)
    try:
        return input().removesuffix("\r")
    except UnicodeError as error:
        raise JaxrnnError(f"stdin is no {sys.stdin.encoding} ({error}); try PYTHONIOENCODING=utf-8") from None


def _is_editable() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _say(message: str) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)


def history_file() -> Path:
    """Return the history's file in the user's directory for state, XDG_STATE_HOME."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "jaxrnn" / "history"


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Give `_read_line`, on a terminal, the arrow keys, a history that is saved, and Tab completion of commands."""
    if not _is_editable() or importlib.util.find_spec("readline") is None:  # not every Python has it
        yield
        return
    import readline

    def complete(text: str, number: int) -> str | None:
        matches = [word for word in WORDS if text and word.startswith(text)]
        return matches[number] if number < len(matches) else None

    readline.set_completer_delims("")
    readline.set_completer(complete)
    is_libedit = "libedit" in (readline.__doc__ or "")  # macOS
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    with contextlib.suppress(OSError, RuntimeError):  # no history yet; no home directory
        readline.read_history_file(history_file())
    try:
        yield
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            path = history_file()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # nobody else may read it
            readline.set_history_length(_HISTORY_LENGTH)
            readline.write_history_file(path)
            path.chmod(0o600)

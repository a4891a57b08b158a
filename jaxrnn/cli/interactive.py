"""`jaxrnn sample --interactive`: a person and the network write a text in turns."""

import dataclasses
import difflib
import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrnn.atomic import replacing
from jaxrnn.cli.line_input import line_editing, read_line
from jaxrnn.cli.output import BOLD, styled, table
from jaxrnn.cli.signals import NotedSignals
from jaxrnn.config import SampleConfig
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from jaxrnn.sampling.generate import Writer

_SETTINGS = {
    "temperature": ("X", "below 1 safer, above 1 wilder"),
    "top-k": ("N", "draw from the N likeliest characters only; off: from all"),
    "top-p": ("P", "draw from the fewest that together have probability P; off: from all"),
    "greedy": ("on|off", "take the likeliest character instead of drawing one"),
    "length": ("N", "characters to write in a turn"),
    "stop": ("TEXT", r"end a turn right after TEXT (\n is a new line); off: nowhere"),
    "seed": ("N", "other draws from here on; the same seed writes the same text"),
}
_COMMANDS = {
    "again": ("", "take back what was written last and write something else"),
    "reset": ("", "begin a new text"),
    "show": ("", "show the text so far"),
    "save": ("FILE", "write it to a file"),
    "help": ("", "this"),
    "quit": ("", "leave; so does Ctrl-D"),
    **_SETTINGS,
}
_HELP = "\n".join(
    [
        "What you type is a new line of the text, and the network goes on with it; an empty line just lets it go on.",
        "A line that ends in \\ goes on in the next one; one that begins with // begins with a single /.",
        "Ctrl-C stops the writing. A setting without a value shows the one that it has.",
        *table([(f"  /{name} {value}", what) for name, (value, what) in _COMMANDS.items()]),
    ]
)
WORDS = tuple(f"/{name}" for name in _COMMANDS)


class Text:
    """A text that a person and a network write in turns, and where the network stands in it."""

    def __init__(self, writer: "Writer", config: SampleConfig) -> None:
        """Begin it: nothing is written yet."""
        writer.check(config)
        self.config = config
        self._writer = writer
        self.reset()

    def reset(self) -> None:
        """Begin a new text, as if none had been written before."""
        self._tokens: list[int] = []
        self._position = self._writer.begin()
        self._turn = self._position, 0  # where the network's last turn began

    def add(self, text: str) -> None:
        """Add what a person wrote, on a line of its own.

        Raises:
            JaxrnnError: it has characters that the network has never seen; the text stays as it was.
        """
        symbols = self._writer.vocabulary.symbols
        within_line = self._tokens and "\n" in symbols and symbols[self._tokens[-1]] != "\n"
        tokens = self._writer.vocabulary.encode("\n" + text if text and within_line else text)
        self._position = self._position.extend(tokens)
        self._tokens += tokens.tolist()

    def write(self) -> Iterator[str]:
        """Let the network go on; after each piece the text ends there, wherever one stops."""
        self._turn = self._position, len(self._tokens)
        decoder = self._writer.vocabulary.decoder()
        for (tokens,), position in self._writer.write(self._position, self.config):
            self._position = position
            self._tokens += tokens.tolist()
            yield decoder.decode(tokens)
        yield decoder.decode([], final=True)

    def take_back(self) -> None:
        """Forget what the network wrote last; what it writes next is drawn anew."""
        position, length = self._turn
        del self._tokens[length:]
        self._position = position._replace(drawn=self._position.drawn)

    def set(self, name: str, value: Any) -> None:
        """Write otherwise from here on.

        Raises:
            JaxrnnError: this network can't; everything stays as it was.
        """
        config = dataclasses.replace(self.config, **{name: value})
        self._writer.check(config)
        self.config = config

    def __str__(self) -> str:
        """Return the text so far."""
        return self._writer.vocabulary.decode(self._tokens)


def converse(writer: "Writer", config: SampleConfig, introduction: str) -> None:
    """Take turns with a person at stdin, until they leave; a prompt is their first turn."""
    _Conversation(Text(writer, config)).run(introduction)


class _Conversation:
    """Carries out what a person types: the text goes to stdout, and everything else that is said to stderr."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._saved: set[Path] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "again": self._again,
            "reset": lambda _: self._text.reset(),
            "show": lambda _: print(self._text, flush=True),
            "save": self._save,
            "help": lambda _: _say(_HELP),
        }

    def run(self, introduction: str) -> None:
        at_terminal = sys.stdin.isatty()
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a model of bytes takes any
        if at_terminal:
            _say(f"{introduction}\nType a beginning, then Enter; /help shows more. Ctrl-C stops the writing.")
        with line_editing(WORDS):
            if self._text.config.prompt:
                self._turn(self._text.config.prompt)
            while True:
                try:
                    line = _line()
                    if line is None or line.strip() in ("/quit", "/exit"):
                        return
                    self._answer(line)
                except JaxrnnError as error:
                    _say(str(error))
                except KeyboardInterrupt:  # what was being typed is dropped
                    if not at_terminal:
                        raise
                    _say("")

    def _answer(self, line: str) -> None:
        if line.startswith("//") or not line.startswith("/"):
            self._turn(line.removeprefix("/") if line.startswith("//") else line)
            return
        name, _, value = line[1:].partition(" ")
        name, value = name.replace("_", "-"), value.strip()
        if name in self._commands:
            self._commands[name](value)
        elif name in _SETTINGS:
            self._set(name, value)
        else:
            near = difflib.get_close_matches(f"/{name}", WORDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "/help shows what there is"
            raise JaxrnnError(f"no such command: /{name}; {hint}")

    def _turn(self, typed: str) -> None:
        last = typed[-1:]
        with NotedSignals(signal.SIGINT, then=None) as signals:
            self._text.add(typed)
            sys.stdout.write(styled(typed, BOLD, sys.stdout))
            for piece in self._text.write():
                sys.stdout.write(piece)
                sys.stdout.flush()
                last = piece[-1:] or last
                if signals.received:
                    break
            if last != "\n":
                print(flush=True)

    def _again(self, _: str) -> None:
        self._text.take_back()
        self._turn("")

    def _save(self, name: str) -> None:
        if not name:
            raise JaxrnnError("/save needs a file's name")
        path = Path(name).expanduser()
        if path not in self._saved and path.exists():
            raise JaxrnnError(f"{path} exists already; choose another file")
        with replacing(path) as file:
            file.write(str(self._text).encode("utf-8", "surrogatepass"))
        self._saved.add(path)
        _say(f"saved: {path}")

    def _set(self, name: str, value: str) -> None:
        field = name.replace("-", "_")
        if value:
            self._text.set(field, _parsed(name, value))
        _say(f"{name}: {_shown(getattr(self._text.config, field))}")


def _line() -> str | None:
    """Return what is typed next, lines that end in a backslash joined; None: it is over."""
    line = ""
    while True:
        try:
            line += read_line("... " if line else "> ")
        except EOFError:
            if sys.stdin.isatty():
                _say("")
            return line or None
        if not line.endswith("\\"):
            return line
        line = line[:-1] + "\n"


def _say(message: str) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)


def _parsed(name: str, value: str) -> Any:
    """Return the value of a setting."""
    if name == "stop":
        return "" if value == "off" else value.replace("\\n", "\n")
    if name == "greedy":
        if value not in ("on", "off"):
            raise JaxrnnError(f"/greedy is on or off, got {value}")
        return value == "on"
    if name in ("top-k", "top-p") and value == "off":
        return None
    whole = name in ("top-k", "length", "seed")
    try:
        return int(value) if whole else float(value)
    except ValueError:
        raise JaxrnnError(f"/{name} must be a {'whole ' if whole else ''}number, got {value}") from None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "off" if value in (None, "") else repr(value) if isinstance(value, str) else str(value)

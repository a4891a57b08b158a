"""Lines that a person types: with history and completion on a terminal, plainly from anything else."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_KEPT = 1000  # lines of history


def history_file() -> Path:
    """Return the file of what was typed, in the user's directory for such things (XDG_STATE_HOME)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "jaxrnn" / "history"


@contextlib.contextmanager
def line_editing(words: Sequence[str]) -> Iterator[None]:
    """Give `read_line`, on a terminal, the arrow keys, a history that is kept in a file, and Tab for some words."""
    readline = _readline()
    if readline is None:
        yield
        return
    readline.set_completer_delims("")
    readline.set_completer(lambda text, number: _completion(words, text, number))
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    with contextlib.suppress(OSError, RuntimeError):  # there is none yet; no home directory
        readline.read_history_file(history_file())
    try:
        yield
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            _keep(readline, history_file())


def read_line(prompt: str) -> str:
    """Return the next line without its end; the prompt is shown on a terminal only.

    Raises:
        EOFError: there is none.
    """
    if _readline() is not None:
        return input(prompt)
    if sys.stdin.isatty():
        print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n").removesuffix("\r")


def _readline() -> Any:
    """Return the module that edits lines, where there is one and a terminal to edit them on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        import readline
    except ImportError:
        return None
    return readline


def _completion(words: Sequence[str], text: str, number: int) -> str | None:
    found = [word for word in words if text.startswith("/") and word.startswith(text)]
    return found[number] if number < len(found) else None


def _keep(readline: Any, path: Path) -> None:
    """Write the history; nobody else may read what was typed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    readline.set_history_length(_KEPT)
    readline.write_history_file(path)
    path.chmod(0o600)

"""Lines that a person types: on a terminal with editing, a history and completion.

The history is ~/.local/state/jaxrnn/history (or below XDG_STATE_HOME), which only its owner may read.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_HISTORY_LENGTH = 1000  # lines


def history_file() -> Path:
    """Return the history's file in the user's directory for state, XDG_STATE_HOME."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "jaxrnn" / "history"


def _is_editable() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def line_editing(words: Sequence[str]) -> Iterator[None]:
    """Give `read_line`, on a terminal, the arrow keys, a history that is saved, and Tab completion of some words."""
    try:
        import readline
    except ImportError:  # not every Python has it
        yield
        return
    if not _is_editable():
        yield
        return

    def complete(text: str, number: int) -> str | None:
        matches = [word for word in words if text and word.startswith(text)]
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


def read_line(prompt: str) -> str:
    """Return the next line without its end; the prompt is shown on a terminal only, and never goes into a file.

    Raises:
        EOFError: there are no more lines.
    """
    if _is_editable():
        return input(prompt)
    if sys.stdin.isatty():
        print(prompt, end="", file=sys.stderr, flush=True)
    return input().removesuffix("\r")

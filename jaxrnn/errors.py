"""The errors that a user can cause; the command line prints their message and ends with their exit code."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal


class _OneLine:
    """Base of the errors that end training: a notebook shows their message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: str, names: Iterable[str], otherwise: str, *, cutoff: float = 0.6) -> str:
    """Return advice for a name that is not known: the most similar of some names, or else other advice."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else otherwise


def listed(items: Sequence[object], most: int = 8) -> str:
    """Return the first items with commas, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def counted(count: int, noun: str) -> str:
    """Return a number with a noun, which is given in the plural: 1 step, 2,000 steps."""
    return f"{count:,} {noun[:-1] if count == 1 else noun}"


class JaxrnnError(ValueError):
    """A mistake of the user: the message says what was expected, what was given, and what to do."""

    exit_code = 2


class StorageError(JaxrnnError):
    """A file could not be written."""

    exit_code = 1


class TakenError(JaxrnnError):
    """The run directory already holds a run, or another process trains in it."""


class CheckpointError(JaxrnnError):
    """A checkpoint can't be used, for one of three reasons, which `word` names."""

    exit_code = 3
    word: Literal["damaged", "unusable", "unreadable"] = "unusable"


class DamagedError(CheckpointError):
    """It can be read, but it contradicts itself: its structure or its SHA-256 is wrong."""

    word = "damaged"


class UnusableError(CheckpointError):
    """It is of another version, cell, optimizer or implementation of random keys."""


class UnreadableError(CheckpointError):
    """It can't be read now: the permission is missing, the disk fails, or too many files are open."""

    word = "unreadable"


class NonFiniteError(_OneLine, JaxrnnError):
    """The loss or the parameters became infinite or NaN."""

    exit_code = 4


class Interrupted(_OneLine, KeyboardInterrupt):
    """Ctrl-C, or a notebook's interrupt, has ended a run, which is saved if it has a run directory."""

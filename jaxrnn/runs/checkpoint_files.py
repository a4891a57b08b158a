"""The checkpoint files of a run: what they are called, which there are, which to read, which to keep."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jaxrnn.errors import CheckpointError, JaxrnnError

_NAME = re.compile(r"step-(\d{10})\.safetensors")
_BEST = "best.safetensors"

Found = TypeVar("Found")


def checkpoint_path(directory: Path, step: int) -> Path:
    """Return the file in `directory` for the checkpoint after `step` steps."""
    return directory / f"step-{step:010d}.safetensors"


def best_checkpoint_path(directory: Path) -> Path:
    """Return the file in `directory` for the checkpoint with the lowest validation loss."""
    return directory / _BEST


def has_checkpoint_name(path: Path) -> bool:
    """Return whether a file is called what checkpoints are."""
    return path.name == _BEST or bool(_NAME.fullmatch(path.name))


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint files in `directory`, the newest (the one with most steps) first, without the best one."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def all_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint files of a run directory, the newest first and the best one last."""
    best = best_checkpoint_path(run / "checkpoints")
    return [*list_checkpoints(run / "checkpoints"), *([best] if best.is_file() else [])]


def find_checkpoint(run: Path, which: str) -> Path:
    """Return what `load_checkpoint` is to read: of a run directory the "last" checkpoint, the "best", or a step's.

    Raises:
        JaxrnnError: there is no such checkpoint; the message lists what there is.
    """
    if which == "last":
        return run
    if not run.is_dir():
        raise JaxrnnError(f"{run} is no run directory, of which {which!r} could be chosen; leave that out")
    directory = run / "checkpoints"
    if which == "best":
        path = best_checkpoint_path(directory)
    elif which.isascii() and which.isdigit():
        path = checkpoint_path(directory, int(which))
    else:
        raise JaxrnnError(f"a checkpoint is best, last or a step, got {which!r}")
    if not path.is_file():
        steps = [str(int(file.stem.removeprefix("step-"))) for file in reversed(list_checkpoints(directory))]
        best = ["best"] if best_checkpoint_path(directory).is_file() else []
        there = ", ".join([*steps, *best]) or "none"
        raise JaxrnnError(f"{run} has no checkpoint {which!r}; there is {there}")
    return path


def newest_good(path: Path, read: Callable[[Path], Found]) -> Found:
    """Read the file that a path means: itself, or the newest in a run directory that can be used.

    The best one comes last of all; a warning names each that could not be used.

    Raises:
        JaxrnnError: there is none.
        CheckpointError: there are some, of which none can be used.
    """
    if path.is_file():
        return read(path)
    if not path.is_dir():
        raise JaxrnnError(f"no such run: {path}; give the run directory that `jaxrnn train` made")
    files = all_checkpoints(path)
    if not files:
        raise JaxrnnError(f"{path} holds no checkpoint; give the run directory that `jaxrnn train` made")
    errors = []
    for file in files:
        try:
            found = read(file)
        except CheckpointError as error:
            if not file.exists():  # it was the oldest to whoever trains there, and newer ones have come
                return newest_good(path, read)
            errors.append(str(error))
            continue
        for reason in errors:
            warnings.warn(f"{reason}; using {file.name} instead", stacklevel=1)
        return found
    raise CheckpointError(f"{errors[0]}; no other checkpoint in {path} can be used")


def prune(directory: Path, step: int, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints up to `step`.

    Newer ones are damaged, or their run would not have begun before them: they must not crowd out the good.
    """
    done = [path for path in list_checkpoints(directory) if path <= checkpoint_path(directory, step)]
    for old in done[keep:]:
        try:
            old.unlink()
        except OSError as error:  # the new one is safe, which is what matters
            warnings.warn(f"can't remove {old} ({error.strerror or error}); remove it by hand", stacklevel=1)

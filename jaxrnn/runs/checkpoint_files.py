"""The checkpoint files of a run: their names, which to read, to keep and to set aside; without JAX."""

import contextlib
import difflib
import errno
import os
import re
import warnings
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import Literal, TypeVar

from jaxrnn.errors import CheckpointError, JaxrnnError, StorageError, UnreadableError, UnusableError

_NAME = re.compile(r"step-([0-9]{10})\.safetensors")
_BEST = "best.safetensors"
_DAMAGED = "damaged"

Contents = TypeVar("Contents")


def checkpoint_path(directory: Path, which: int | Literal["best"]) -> Path:
    """Return the file in `directory` for the checkpoint after so many steps, or with the lowest validation loss."""
    return directory / (_BEST if which == "best" else f"step-{which:010d}.safetensors")


def has_checkpoint_name(path: Path) -> bool:
    """Return whether a file is named as a checkpoint."""
    return path.name == _BEST or bool(_NAME.fullmatch(path.name))


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint files in `directory` without the best one, the one with most steps first."""
    try:
        files = sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
        if not os.access(directory, os.X_OK):  # it may be listed, but not entered
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return files
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        if os.path.lexists(directory):
            raise UnusableError(f"{directory} is not a directory; move it elsewhere") from None
        return []
    except OSError as error:
        raise UnreadableError(f"{directory} can't be read now ({error.strerror or error})") from None


def all_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint files of a run directory, the newest first and the best one last."""
    best = run / "checkpoints" / _BEST
    return [*list_checkpoints(run / "checkpoints"), *([best] if os.path.lexists(best) else [])]


def is_run(path: Path) -> bool:
    """Return whether a directory is a run directory."""
    names = ("config.json", "metrics.jsonl", "checkpoints")  # a damaged run may lack one
    return sum((path / name).exists() for name in names) >= 2


def other_run(path: Path, otherwise: str = "give the run directory that `jaxrnn train` made") -> str:
    """Return advice for a path that is no run: the run or sweep in it, beside it or in runs/ that may be meant."""
    with contextlib.suppress(OSError):
        below = sorted(filter(is_run, path.iterdir())) if path.is_dir() else []
        if below:
            return f"give one of the runs in it, such as {below[0]}"
        folders = filter(Path.is_dir, (path.parent, Path("runs")))
        inside = [file for folder in folders for file in folder.iterdir()]
        runs = {run.name: run for run in inside if run != path and (is_run(run) or (run / "sweep.json").is_file())}
        if near := difflib.get_close_matches(path.name, runs, n=1):
            return f"did you mean {runs[near[0]]}?"
    return otherwise


def find_checkpoint(run: Path, which: str) -> Path:
    """Return the path for `newest_good` to read: the "last" or "best" checkpoint of a run, or the one of a step.

    Raises JaxrnnError, which lists the checkpoints of the run, if it has no such checkpoint.
    """
    if which in ("last", "average"):
        return run
    if not all_checkpoints(run) and not run.is_file():
        return run  # which `newest_good` refuses
    if not run.is_dir():
        raise JaxrnnError(f"{run} is not a run directory, so {which!r} can't be chosen from it; leave that out")
    directory = run / "checkpoints"
    if which != "best" and not (which.isascii() and which.isdigit()):
        raise JaxrnnError(f"a checkpoint is best, last, average or a step, got {which!r}")
    path, files = checkpoint_path(directory, "best" if which == "best" else int(which)), all_checkpoints(run)
    if path not in files:
        files.sort(key=lambda file: (file.name == _BEST, file))
        names = [file.stem.removeprefix("step-").lstrip("0") or "0" for file in files]
        raise JaxrnnError(f"{run} has no checkpoint {which!r}; there is {', '.join(names) or 'none'}")
    return path


def newest_good(
    path: Path,
    read: Callable[[Path], Contents],
    *,
    best_first: bool = False,
    skips: type[CheckpointError] = CheckpointError,
) -> Contents:
    """Read `path` if it is a file, else the newest usable checkpoint of the run directory at `path`.

    The best checkpoint is tried last, or first if `best_first`; a warning names each that can't be used.

    Raises:
        JaxrnnError: there is none.
        CheckpointError: none of them can be used, or one fails with an error that `skips` does not include.
    """
    if path.is_file() or (has_checkpoint_name(path) and os.path.lexists(path)):
        return read(path)
    if not path.is_dir():
        raise JaxrnnError(f"no such run: {path}; {other_run(path)}")
    files = all_checkpoints(path)
    if best_first:
        files.sort(key=lambda file: file.name != _BEST)
    if not files:
        advice = other_run(path)
        if is_run(path):
            advice = "it ended before its first one; begin it again with --resume or --overwrite"
        if has_lost_all(path):
            advice = f"those that were damaged are in {path / 'checkpoints' / _DAMAGED}"
        raise JaxrnnError(f"{path} holds no checkpoint; {advice}")
    errors: list[CheckpointError] = []
    for file in files:
        try:
            contents = read(file)
        except CheckpointError as error:
            if file not in all_checkpoints(path):  # the process that trains there has removed it and saved newer ones
                return newest_good(path, read, best_first=best_first, skips=skips)
            if not isinstance(error, skips):
                raise type(error)(f"{error}; make it usable, or move it elsewhere to use an older one") from None
            errors.append(error)
            continue
        for skipped in errors:
            warnings.warn(f"{skipped}; using {file.name} instead", stacklevel=1)
        return contents
    raise type(errors[0])(f"{errors[0]}; no other checkpoint in {path} can be used")


def set_aside(run: Path, path: Path) -> Path:
    """Move a file of a run to checkpoints/damaged, where nothing is replaced; return its new path."""
    folder = run / "checkpoints" / _DAMAGED
    try:
        folder.mkdir(exist_ok=True)
        names = chain([path.name], (f"{path.name}.{number}" for number in count(2)))
        target = next(folder / name for name in names if not os.path.lexists(folder / name))
        return path.rename(target)
    except OSError as error:
        raise StorageError(f"can't move {path} to {folder} ({error.strerror or error}); move it by hand") from None


def has_lost_all(run: Path) -> bool:
    """Return whether a run had checkpoints, all of which were damaged and set aside."""
    return not all_checkpoints(run) and any((run / "checkpoints" / _DAMAGED).glob("[!.]*"))


def prune(directory: Path, step: int, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints up to `step`.

    Newer ones than `step` are damaged, or the run would have resumed from them: they must not crowd out the good ones.
    """
    checkpoints = [path for path in list_checkpoints(directory) if path <= checkpoint_path(directory, step)]
    for old in checkpoints[keep:]:
        try:
            old.unlink()
        except OSError as error:  # the new checkpoint is safe, which is what matters
            warnings.warn(f"can't remove {old} ({error.strerror or error}); remove it by hand", stacklevel=1)

"""The checkpoint files of a run: their names, their headers, which to read and which to keep; without JAX."""

import contextlib
import difflib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import safetensors

from jaxrnn.errors import CheckpointError, JaxrnnError

_NAME = re.compile(r"step-(\d{10})\.safetensors")
_BEST = "best.safetensors"

HEADER_LIMIT = 2**20  # bytes

Contents = TypeVar("Contents")


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the metadata of a safetensors file and the shapes of its tensors, none of which is read.

    Raises:
        ValueError: it is no safetensors file, it has not just the size that its tensors need, or its header is larger
            than 1 MB.
        OSError: it can't be read.
    """
    if path.exists() and not path.is_file():  # opening a pipe could wait forever
        raise ValueError("not a regular file")
    with path.open("rb") as start:
        if int.from_bytes(start.read(8), "little") > HEADER_LIMIT:
            raise ValueError(f"no safetensors file, or its header is larger than {HEADER_LIMIT:,} bytes")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None


def checkpoint_path(directory: Path, which: int | Literal["best"]) -> Path:
    """Return the file in `directory` for the checkpoint after so many steps, or with the lowest validation loss."""
    return directory / (_BEST if which == "best" else f"step-{which:010d}.safetensors")


def has_checkpoint_name(path: Path) -> bool:
    """Return whether a file is named as a checkpoint."""
    return path.name == _BEST or bool(_NAME.fullmatch(path.name))


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint files in `directory` without the best one, the one with most steps first."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def all_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint files of a run directory, the newest first and the best one last."""
    best = run / "checkpoints" / _BEST
    return [*list_checkpoints(run / "checkpoints"), *([best] if best.is_file() else [])]


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
        runs = {run.name: run for run in inside if is_run(run) or (run / "sweep.json").is_file()}
        if near := difflib.get_close_matches(path.name, runs, n=1):
            return f"did you mean {runs[near[0]]}?"
    return otherwise


def find_checkpoint(run: Path, which: str) -> Path:
    """Return the path for `newest_good` to read: the "last" or "best" checkpoint of a run, or the one of a step.

    Raises:
        JaxrnnError: there is no such checkpoint; the message lists those that there are.
    """
    if which == "last":
        return run
    if not all_checkpoints(run) and not run.is_file():
        return run  # which `newest_good` refuses
    if not run.is_dir():
        raise JaxrnnError(f"{run} is not a run directory, so {which!r} can't be chosen from it; leave that out")
    directory = run / "checkpoints"
    if which != "best" and not (which.isascii() and which.isdigit()):
        raise JaxrnnError(f"a checkpoint is best, last or a step, got {which!r}")
    path = checkpoint_path(directory, "best" if which == "best" else int(which))
    if not path.is_file():
        steps = [int(file.stem.removeprefix("step-")) for file in reversed(list_checkpoints(directory))]
        names = [*map(str, steps), *["best"] * (directory / _BEST).is_file()]
        raise JaxrnnError(f"{run} has no checkpoint {which!r}; there is {', '.join(names) or 'none'}")
    return path


def newest_good(path: Path, read: Callable[[Path], Contents], *, best_first: bool = False) -> Contents:
    """Read `path` if it is a file, else the newest usable checkpoint of the run directory at `path`.

    The best checkpoint is tried last, or first if `best_first`; a warning names each that can't be used.

    Raises:
        JaxrnnError: there is none.
        CheckpointError: there are some, none of which can be used.
    """
    if path.is_file():
        return read(path)
    if not path.is_dir():
        raise JaxrnnError(f"no such run: {path}; {other_run(path)}")
    files = all_checkpoints(path)
    if best_first:
        files.sort(key=lambda file: file.name != _BEST)
    if not files:
        raise JaxrnnError(f"{path} holds no checkpoint; {other_run(path)}")
    errors = []
    for file in files:
        try:
            contents = read(file)
        except CheckpointError as error:
            if not file.exists():  # the process that trains there has removed it and saved newer ones
                return newest_good(path, read, best_first=best_first)
            errors.append(str(error))
            continue
        for reason in errors:
            warnings.warn(f"{reason}; using {file.name} instead", stacklevel=1)
        return contents
    raise CheckpointError(f"{errors[0]}; no other checkpoint in {path} can be used")


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

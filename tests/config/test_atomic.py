import errno
import os
from pathlib import Path

import pytest

from jaxrnn.config import atomic
from jaxrnn.config.atomic import check_writable, replacing
from jaxrnn.errors import StorageError


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with replacing(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("before")

    def write_half():
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="can't write"), replacing(tmp_path / "nowhere" / "file"):
        pass


def test_what_a_link_points_to_is_replaced_and_not_the_link(tmp_path):
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as file:
        file.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"


def test_a_link_to_itself_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with replacing(tmp_path / "link") as file:
        file.write(b"whole")
    assert (tmp_path / "link").read_bytes() == b"whole"


def test_a_place_below_a_directory_that_was_removed_is_named(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match="can't write file"):
        check_writable(Path("file"))


@pytest.mark.parametrize("name", [255 * "x", 85 * "\u732b"], ids=["ASCII", "CJK"])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, name):
    with replacing(tmp_path / name) as file:
        file.write(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"


def test_a_place_in_a_file_and_a_pipe_that_has_no_path_are_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match=r"file/page .Not a directory.; make its directory first"):
        check_writable(tmp_path / "file" / "page")
    if Path("/dev/fd").exists():
        reader, writer = os.pipe()  # as stdout may be
        with os.fdopen(reader), os.fdopen(writer, "w"), pytest.raises(StorageError, match="it is not a regular file"):
            check_writable(Path(f"/dev/fd/{writer}"))


def test_a_hyphen_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"can't write - .a file is needed, not stdout.; give the name of a file"):
        check_writable(Path("-"))


def test_what_is_not_a_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"), replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def fail(function, times, number):
    """A function that fails with an error number so many times before it works."""
    failures = iter(range(times))

    def called(*arguments):
        if next(failures, None) is not None:
            raise OSError(number, os.strerror(number))
        return function(*arguments)

    return called


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EBUSY])
def test_a_rename_that_fails_for_a_moment_is_tried_again(tmp_path, monkeypatch, number):
    monkeypatch.setattr(Path, "replace", fail(Path.replace, 3, number))
    with replacing(tmp_path / "file") as file:
        file.write(b"text")
    assert (tmp_path / "file").read_bytes() == b"text"


@pytest.mark.parametrize(("number", "times"), [(errno.EACCES, 10**9), (errno.ENOSPC, 1)])
def test_a_rename_that_keeps_failing_leaves_the_old_file(tmp_path, monkeypatch, number, times):
    (tmp_path / "file").write_text("before")
    monkeypatch.setattr(atomic, "PATIENCE", 0.1)
    monkeypatch.setattr(Path, "replace", fail(Path.replace, times, number))
    with pytest.raises(StorageError, match="can't write"), replacing(tmp_path / "file") as file:
        file.write(b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_directory_that_cannot_be_synced_is_a_warning(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.warns(UserWarning, match="can't sync the directory"), replacing(tmp_path / "file") as file:
        file.write(b"text")
    assert (tmp_path / "file").read_bytes() == b"text"

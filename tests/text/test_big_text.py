"""Texts that are larger than memory: their tokens stay on the disk, and everything works as if they did not."""

import errno
import hashlib
import io
import multiprocessing
import os
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import stress_corpus
from stress_corpus import CASES, fuzz, run_case

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.errors import JaxrnnError, StorageError
from jaxrnn.evaluation.score import evaluate
from jaxrnn.network.model import init_params
from jaxrnn.runs import fit, slices_of
from jaxrnn.runs.trainer import validate
from jaxrnn.text import Vocabulary, batches, cache, corpus, document_starts, files, load_corpus, stream
from jaxrnn.text.documents import DocumentStarts, never_seen
from jaxrnn.text.stream import count_tokens

TEXT = "to be, or\n\nnot to be: 日本 👩‍🚀 that is the question é\n" * 40


@pytest.fixture
def big(monkeypatch):
    """Every text is a big one, read and counted in small pieces."""
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 0)
    monkeypatch.setattr(files, "PIECE", 7)
    monkeypatch.setattr(stream, "BLOCK", 11)


@pytest.fixture
def text(tmp_path):
    """The file of a text that has been there for a while."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    long_ago(path)
    return path


@pytest.fixture
def readings(monkeypatch):
    """What is read of a text, by name; filled while corpora are loaded."""
    done = []
    whole = cache.survey_text
    monkeypatch.setattr(cache, "survey_text", lambda *given: (done.append(given[1]), whole(*given))[1])
    return done


def long_ago(path):
    os.utime(path, (1e9, 1e9))


@pytest.fixture(autouse=True)
def _clock_without_grain(monkeypatch):
    """A file that was just made counts as one that has been there for a while."""
    monkeypatch.setattr(cache, "CLOCK_NS", 0)


def cached_files():
    return sorted(file.name for file in cache.directory().iterdir()) if cache.directory().exists() else []


def test_a_small_text_leaves_nothing_in_the_cache(text):
    small = load_corpus(text)
    assert small.cache_file is None
    assert type(small.tokens) is np.ndarray
    assert cached_files() == []


def test_a_big_text_is_read_once_and_then_taken_from_the_cache(text, big, readings):
    first, again = load_corpus(text), load_corpus(text)
    assert isinstance(again.tokens, np.memmap)
    assert again.cache_file == first.cache_file
    assert (again.sha256, again.vocabulary, repr(again)) == (first.sha256, first.vocabulary, repr(first))
    np.testing.assert_array_equal(again.tokens, Vocabulary.of(TEXT).encode(TEXT))
    assert len(readings) == 1
    load_corpus(text, min_count=2)  # another encoding of it
    assert len(readings) == 2
    load_corpus(text, verify=True)
    assert len(readings) == 3


@pytest.mark.parametrize("change", ["contents", "times", "path"])
def test_a_text_that_may_have_changed_is_read_again(text, big, readings, change):
    before = load_corpus(text)
    if change == "contents":
        text.write_text(TEXT.replace("to be", "ot be"))  # as long as before
        long_ago(text)
    elif change == "times":
        os.utime(text, (1e9 + 1, 1e9 + 1))
    else:
        text = text.rename(text.with_name("other"))
    after = load_corpus(text)
    assert len(readings) == 2
    assert (after.cache_file == before.cache_file) == (change != "contents")
    assert after.vocabulary.decode(after.tokens) == text.read_text()


def test_a_text_written_just_now_is_read_again_the_next_time(text, big, readings, monkeypatch):
    monkeypatch.setattr(cache, "CLOCK_NS", 10**12)
    load_corpus(text)
    load_corpus(text)
    assert len(readings) == 2


def test_a_text_that_changes_while_it_is_read_is_refused(text, big, monkeypatch):
    def scan_and_write(file, *rest):
        with text.open("a") as other:
            other.write("more")
        return found(file, *rest)

    found = cache.survey_text
    monkeypatch.setattr(cache, "survey_text", scan_and_write)
    with pytest.raises(JaxrnnError, match="changed while it was read; try again"):
        load_corpus(text)
    assert cached_files() == []


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a token": lambda path: flip(path, -5),
    "the header": lambda path: flip(path, 100),
    "the header's end": lambda path: flip(path, 4095),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"?"),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another text's": lambda path: path.write_bytes(
        load_corpus(path.with_name("other"), vocabulary="bytes").cache_file.read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_tokens_are_rebuilt_with_a_warning(text, big, damage):
    path = load_corpus(text).cache_file
    path.with_name("other").write_text("another text")
    damage(path)
    with pytest.warns(UserWarning, match="is damaged.*it is rebuilt"):
        again = load_corpus(text)
    assert again.vocabulary.decode(again.tokens) == TEXT
    assert load_corpus(text).cache_file == path


def test_tokens_of_which_nothing_is_recorded_yet_are_written_again_and_those_in_use_stay(text, big):
    first = load_corpus(text)
    for record in cache.directory().glob("*.json"):  # as while another process, which wrote them, is about to do it
        record.unlink()
    again = load_corpus(text)  # without a warning
    assert again.cache_file == first.cache_file
    assert [loaded.vocabulary.decode(loaded.tokens) for loaded in (first, again)] == [TEXT, TEXT]


def test_silent_damage_is_found_by_verify(text, big):
    loaded = load_corpus(text)
    written = hashlib.sha256(loaded.cache_file.read_bytes()).hexdigest()
    flip(loaded.cache_file, -5)
    cache.write_record(str(loaded.cache_file), [loaded.cache_file.stat()], written)  # as if only the disk had changed
    load_corpus(text)  # without a warning
    with pytest.warns(UserWarning, match="it has changed"):
        again = load_corpus(text, verify=True)
    assert again.vocabulary.decode(again.tokens) == TEXT


class FullDisk(io.FileIO):
    room = 0

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 1000, 4096, 5000, 6000])
def test_a_full_disk_is_an_error_and_leaves_nothing(text, big, monkeypatch, room):
    monkeypatch.setattr(FullDisk, "room", room)
    opened = type(text).open

    def open_(path, mode="r", *rest, **named):
        full = "x" in mode and cache.directory() in path.parents
        return FullDisk(path, "w") if full else opened(path, mode, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(type(text), "open", open_)
        with pytest.raises(StorageError, match=r"can't write .*No space left on device.*make room"):
            load_corpus(text)
    assert cached_files() == []
    assert load_corpus(text).vocabulary.decode(load_corpus(text).tokens) == TEXT


def test_a_cache_that_cannot_be_made_is_an_error(text, big, monkeypatch):
    (text.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(text.parent / "file"))
    with pytest.raises(StorageError, match=r"can't make .*XDG_CACHE_HOME"):
        load_corpus(text)


def test_the_files_of_killed_processes_are_removed(text, big):
    cache.directory().mkdir(parents=True)
    old, new = cache.directory() / ".x.tokens.1.tmp", cache.directory() / ".y.tokens.2.tmp"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * cache.ABANDONED,) * 2)
    load_corpus(text)
    assert (old.exists(), new.exists()) == (False, True)


def test_tokens_that_nobody_used_for_a_month_are_removed_when_others_are_made(text, big):
    then = (time.time() - 2 * cache.UNUSED,) * 2
    used, unused = [load_corpus(text, vocabulary=kind).cache_file for kind in ("characters", "bytes")]
    for kept, kind in ((used, "characters"), (unused, "bytes")):
        os.utime(kept, then)
        load_corpus(text, vocabulary=kind)  # which verifies what seems to have changed
    for record in cache.directory().glob("*.json"):
        os.utime(record, then)
    load_corpus(text)
    assert (used.exists(), unused.exists()) == (True, True)
    load_corpus(text, min_count=2)
    assert (used.exists(), unused.exists()) == (True, False)
    assert load_corpus(text, vocabulary="bytes").cache_file == unused


def load_in_process(path, barrier, results):
    corpus.MAX_IN_MEMORY = 0
    barrier.wait(60)
    got = load_corpus(path)
    results.put((str(got.cache_file), got.vocabulary.decode(got.tokens) == TEXT))


@pytest.mark.slow
def test_processes_that_encode_a_text_at_once_all_get_it(text):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=load_in_process, args=(text, barrier, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert len(found) == 1
    assert found.pop()[1]
    assert not [name for name in cached_files() if name.endswith(".tmp")]


def test_batches_and_slices_of_a_big_text_are_those_of_a_small_one_and_copy_nothing(text, monkeypatch):
    small = load_corpus(text)
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 0)
    mapped_one = load_corpus(text)
    config = TrainConfig(sequence_length=5, batch_size=3, split=(0.8, 0.2), reset_on="\n\n")
    for name, part in slices_of(mapped_one, config).items():
        assert isinstance(part.tokens, np.memmap)
        assert np.shares_memory(part.tokens, mapped_one.tokens)
        same = slices_of(small, config)[name]
        pairs = zip(*(batches(p.tokens, 3, 40, config, starts=p.starts) for p in (part, same)), strict=True)
        for got, expected in pairs:
            assert type(got) is np.ndarray
            np.testing.assert_array_equal(got, expected)


def test_document_starts_computed_where_they_are_read_are_those_of_the_whole_text():
    rng = np.random.default_rng(0)
    for length in (1, 2, 3):
        tokens, separator = rng.integers(0, 2, 50), rng.integers(0, 2, length)
        whole, lazy = document_starts(tokens, separator), DocumentStarts(tokens, separator)
        places = rng.integers(0, 50, (4, 6))
        np.testing.assert_array_equal(lazy[places], whole[places])
        part = lazy[20:45][3:]
        assert len(part) == 22
        np.testing.assert_array_equal(part[np.arange(22)], whole[23:45])


def test_counts_stream(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK", 7)
    tokens = np.random.default_rng(0).integers(0, 9, 100).astype(np.uint8)
    assert count_tokens(tokens, 12).tolist() == np.bincount(tokens, minlength=12).tolist()
    train, other = tokens[tokens % 3 != 1], tokens[:50]
    unseen, count = never_seen(train, other, 9)
    assert unseen.tolist() == sorted({int(token) for token in other if token % 3 == 1})
    assert count == int((other % 3 == 1).sum())


@pytest.mark.slow
def test_a_big_text_trains_and_evaluates_as_a_small_one(text, monkeypatch):
    config = TrainConfig(
        steps=6, log_every=2, sample_every=0, sample_length=5, sequence_length=5, split=(0.8, 0.2), reset_on="\n\n",
        validate_every=3, model=ModelConfig(hidden_size=4),
    )  # fmt: skip
    small = load_corpus(text)
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 0)
    big_one = load_corpus(text)
    seen = [[(r.step, r.loss, r.validation_loss, r.sample) for r in fit(config, c)] for c in (small, big_one)]
    assert seen[0] == seen[1]
    model = ModelConfig(hidden_size=4, vocab_size=len(small.vocabulary))
    params = jax.jit(init_params, static_argnames="config")(jax.random.key(0), model)
    scores = [evaluate(params, c.tokens, c.vocabulary, model, lanes=3) for c in (small, big_one)]
    assert scores[0] == scores[1]
    assert scores[0].utf8_bytes == len(TEXT[1:].encode())
    part = slices_of(big_one, config)["validation"]
    assert validate(params, part, model) == validate(params, slices_of(small, config)["validation"], model)


def test_prepare_prints_the_text_and_its_cache_file(text, big, capsys):
    for word in ("MB/s", "already cached"):
        assert main(["prepare", str(text)]) == 0
        out = capsys.readouterr().out
        assert f"{len(TEXT):,} characters, vocabulary of {len(set(TEXT))}" in out
        assert word in out
        assert f"cached: {cache.directory()}" in out
    assert main(["prepare", str(text), "--verify"]) == 0
    assert "; verified" in capsys.readouterr().out
    assert main(["prepare", str(text), "--min-count", "0"]) == 2


def test_prepare_keeps_nothing_of_a_small_text(text, capsys):
    assert main(["prepare", str(text), "--vocabulary", "bytes"]) == 0
    assert "nothing is cached" in capsys.readouterr().out
    assert cached_files() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_hostile_text_never_ends_in_a_traceback(name, tmp_path):
    run_case(name, tmp_path, full=False)


@pytest.mark.slow
def test_a_text_in_small_pieces_is_read_as_a_whole_one_or_refused(tmp_path):
    assert fuzz(tmp_path, 600) == 600


@pytest.mark.slow
def test_a_text_beyond_the_threshold_trains_and_evaluates_in_bounded_memory():
    command = [sys.executable, stress_corpus.__file__, "--only", "big", "--size", str(corpus.MAX_IN_MEMORY + 10**6)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"train_rss_MB"' in done.stdout

"""Texts and tokens that are already in memory."""

import codecs
import dataclasses

import numpy as np
import pytest

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs import fit, load_checkpoint
from jaxrnn.text import Corpus, Vocabulary, load_corpus

TEXT = "to be, or not to be: naïve 日本 👩‍🚀\n" * 20
LF = {"normalize": ("newlines",)}
CONFIG = TrainConfig(
    steps=6, log_every=2, sample_every=0, sample_length=5, sequence_length=5, model=ModelConfig(hidden_size=4)
)  # fmt: skip


def load_or_refuse(load):
    """Return the corpus, or the message with which it is refused."""
    try:
        return load()
    except JaxrnnError as error:
        return str(error)


def assert_same(corpus, other):
    assert (corpus.vocabulary, corpus.sha256) == (other.vocabulary, other.sha256)
    assert (corpus.normalize, corpus.min_count) == (other.normalize, other.min_count)
    assert corpus.tokens.dtype == other.tokens.dtype
    np.testing.assert_array_equal(corpus.tokens, other.tokens)


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.encode(), b"\xff\0\r\n", "\ufeffa\r\nb"], ids=["text", "bytes", "noise", "marks"]
)
@pytest.mark.parametrize(
    "options", [{}, LF, {"min_count": 30}, {**LF, "min_count": 2}], ids=["as it is", "LF", "frequent", "both"]
)
def test_a_text_in_memory_is_the_corpus_that_its_file_is(tmp_path, text, options):
    (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
    kind = "bytes" if isinstance(text, bytes) else "characters"
    corpus = load_or_refuse(lambda: Corpus.from_text(text, **options))
    of_file = load_or_refuse(lambda: load_corpus(tmp_path / "file", vocabulary=kind, **options))
    if isinstance(of_file, Corpus):
        assert_same(corpus, of_file)
        assert (corpus.source, corpus.name, corpus.cache_file) == ("text-in-memory", "text-in-memory", None)
    else:
        assert corpus == of_file.replace(str(tmp_path / "file"), "text-in-memory")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("aaa", "single distinct symbol"),
        ("ab\ud800", r"has half a character, '\\ud800' at offset 2; leave it out"),
        (codecs.BOM_UTF8.decode() + "ab", "begins with a byte-order mark"),
    ],
)
def test_a_text_that_nothing_can_be_learned_from_is_refused(text, message):
    with pytest.raises(JaxrnnError, match=message):
        Corpus.from_text(text)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.dtype(">i8")])
def test_tokens_in_memory_are_a_corpus_whatever_their_type(dtype):
    vocabulary = Vocabulary.of(TEXT)
    corpus = Corpus.from_tokens(vocabulary.encode(TEXT).astype(dtype), vocabulary)
    assert_same(corpus, Corpus.from_tokens(vocabulary.encode(TEXT), vocabulary))
    assert corpus.tokens.dtype == np.uint8
    assert vocabulary.decode(corpus.tokens) == TEXT
    assert (corpus.source, corpus.vocabulary) == ("tokens-in-memory", vocabulary)


def test_tokens_with_another_vocabulary_or_other_tokens_have_another_hash():
    tokens = np.array([0, 1, 1])
    hashes = {
        Corpus.from_tokens(values, vocabulary).sha256
        for values in (tokens, tokens[::-1], tokens[:2])
        for vocabulary in (
            Vocabulary("ab"),
            Vocabulary("ac"),
            Vocabulary("ab", "bytes"),
            Vocabulary("ab\ufffd"),
        )
    }
    assert len(hashes) == 12


def test_tokens_on_the_disk_stay_there(tmp_path):
    vocabulary = Vocabulary("abc")
    tokens = np.memmap(tmp_path / "tokens", np.uint8, "w+", shape=(50,))
    tokens[:] = np.arange(50) % 3
    assert np.shares_memory(Corpus.from_tokens(tokens, vocabulary).tokens, tokens)


@pytest.mark.parametrize(
    ("tokens", "vocabulary", "message"),
    [
        (np.array([0, 2]), Vocabulary("ab"), "must be 0 to 1, got 0 to 2"),
        (np.array([-1, 1]), Vocabulary("ab"), "must be 0 to 1, got -1 to 1"),
        (np.array([0.0, 1.0]), Vocabulary("ab"), r"integer array \[N\], got float64\[2\]"),
        (np.array([[0, 1]]), Vocabulary("ab"), r"got int64\[1, 2\]"),
        (np.array([], int), Vocabulary("ab"), r"got int64\[0\]"),
        ("abba", Vocabulary("ab"), "must be an integer array"),
        (np.array([0]), Vocabulary("a"), "at least 2 symbols"),
        (np.array([0]), "ab", "must be a jaxrnn.Vocabulary"),
    ],
)
def test_tokens_that_do_not_fit_the_vocabulary_are_refused(tokens, vocabulary, message):
    with pytest.raises(JaxrnnError, match=message):
        Corpus.from_tokens(tokens, vocabulary)


def test_a_text_in_memory_that_has_no_bytes_in_the_encoding_is_refused():
    config = dataclasses.replace(CONFIG, vocabulary="bytes", encoding="cp1252")
    with pytest.raises(JaxrnnError, match=r"CYRILLIC .* has no bytes in CP1252; leave it out"):
        fit(config, "Привет, мир, и ещё раз привет")


@pytest.mark.slow
def test_a_run_on_a_text_in_memory_resumes_with_that_text_in_memory_or_in_a_file(tmp_path, capsys):
    vocabulary = Vocabulary.of(TEXT)
    *_, whole = fit(CONFIG, Corpus.from_tokens(vocabulary.encode(TEXT), vocabulary), run_dir="whole")
    list(fit(dataclasses.replace(CONFIG, steps=4), Corpus.from_text(TEXT), run_dir="run"))
    *_, resumed = fit(CONFIG, Corpus.from_text(TEXT), run_dir="run", resume=True)
    assert (resumed.step, resumed.loss, resumed.sample) == (6, whole.loss, whole.sample)
    for run, source in (("whole", "tokens-in-memory"), ("run", "text-in-memory")):
        config = load_checkpoint(run).config
        assert config.corpus == source
        with pytest.raises(JaxrnnError, match="text was in memory and in no file; hand it over in Python"):
            fit(config, run_dir=run, resume=True)
    resume = ["--resume", "--run-dir", "run", "--steps", "8", "--quiet"]
    assert main(["train", *resume]) == 2
    assert "hand it over in Python" in capsys.readouterr().err
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(["train", str(tmp_path / "text.txt"), *resume]) == 0


@pytest.mark.parametrize("text", [TEXT, "to be or not to be", "x" * 300, "~to be", "a/b/to be\n"], ids=range(5))
def test_a_text_that_is_taken_for_a_file_says_so(text):
    with pytest.raises(JaxrnnError, match=r"no such file: [^\n]{,150}; .*or a text itself by jaxrnn.Corpus.from_text"):
        load_corpus(text)

import contextlib
import itertools

import jax
import numpy as np
import pytest

from jaxrnn.config import ModelConfig
from jaxrnn.errors import StorageError
from jaxrnn.evaluation.score import score, surprisals
from jaxrnn.evaluation.stream import Tally, score_stream
from jaxrnn.network.model import init_params
from jaxrnn.text import Vocabulary, document_starts, encode_separator

TEXT = "to be, or\n\nnot to be:\n\n\nthat is the question\n" * 30
KNOWN = Vocabulary.of(TEXT)
FOLDED = Vocabulary.of(TEXT, min_count=60)  # ',' and ':' and some others are unknown


def network(vocabulary):
    model = ModelConfig(vocab_size=len(vocabulary), hidden_size=5, init_scale=0.5)
    return jax.jit(init_params, static_argnames="config")(jax.random.key(0), model), model


def pieces(text, size):
    return [text[begin : begin + size] for begin in range(0, len(text), size)]


def scored(vocabulary, text, size=50, **options):
    params, model = network(vocabulary)
    tally = Tally()
    parts = list(score_stream(params, pieces(text, size), vocabulary, model, tally, **options))
    indices, symbols, tokens, nats, _ = zip(*parts, strict=True)
    return np.concatenate(indices), "".join(symbols), np.concatenate(tokens), np.concatenate(nats), tally


@pytest.mark.parametrize("size", [1, 50, 10**6])
@pytest.mark.parametrize(("reset_on", "lanes"), [("", 1), ("\n\n", 1), ("\n\n", 3)])
def test_a_text_in_pieces_is_scored_as_the_whole(size, reset_on, lanes):
    params, model = network(KNOWN)
    tokens = KNOWN.encode(TEXT)
    starts = document_starts(tokens, encode_separator(KNOWN, reset_on)) if reset_on else None
    indices, symbols, got, nats, tally = scored(KNOWN, TEXT, size, reset_on=reset_on, lanes=lanes)
    np.testing.assert_array_equal(nats, surprisals(params, tokens, model, lanes=lanes, starts=starts))
    assert (indices.tolist(), symbols) == (list(range(1, len(TEXT))), TEXT[1:])
    np.testing.assert_array_equal(got, tokens[1:])
    assert (tally.read, tally.unknown, tally.left_out.total()) == (len(TEXT), 0, 0)


@pytest.mark.parametrize("lanes", [1, 2])
def test_symbols_that_the_vocabulary_lacks_are_left_out_and_counted(lanes):
    text = "日to 猫be猫"
    params, model = network(KNOWN)
    indices, symbols, _, nats, tally = scored(KNOWN, text, 3, lanes=lanes)
    assert (indices.tolist(), symbols) == ([2, 3, 5, 6], "o be")
    np.testing.assert_array_equal(nats, surprisals(params, KNOWN.encode("to be"), model, lanes=lanes))
    assert (tally.read, dict(tally.left_out)) == (8, {"日": 1, "猫": 2})


def test_texts_of_any_length_share_one_program():
    score.clear_cache()
    for length in (2, 50, len(TEXT)):
        scored(KNOWN, TEXT[:length])
    assert score._cache_size() == 1


def test_with_an_unknown_symbol_nothing_is_left_out_and_the_text_keeps_its_own_symbols():
    _, symbols, tokens, _, tally = scored(FOLDED, "to be, 猫")
    assert symbols == "o be, 猫"
    assert FOLDED.decode(tokens) == "o be\ufffd \ufffd"
    assert (tally.unknown, tally.left_out.total()) == (2, 0)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("text", ["", "t", "猫t猫"])
def test_a_text_with_nothing_to_score_yields_nothing_and_is_counted(text, lanes):
    params, model = network(KNOWN)
    tally = Tally()
    assert list(score_stream(params, [text], KNOWN, model, tally, lanes=lanes)) == []
    assert (tally.read, tally.left_out.total()) == (len(text), text.count("猫"))


def test_a_full_disk_is_an_error_that_names_the_directory(monkeypatch):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda: contextlib.nullcontext(Full()))
    params, model = network(KNOWN)
    with pytest.raises(StorageError, match=r"can't write to .* \(No space left on device\).*TMPDIR"):
        list(score_stream(params, [TEXT], KNOWN, model, Tally(), lanes=2))


def test_one_lane_scores_a_text_that_never_ends_as_it_arrives():
    params, model = network(KNOWN)
    endless = itertools.cycle([TEXT])
    scored = score_stream(params, endless, KNOWN, model, Tally())
    parts = list(itertools.islice(scored, 3))
    indices = np.concatenate([part.indices for part in parts])
    np.testing.assert_array_equal(np.diff(indices), 1)
    assert indices[0] == 1

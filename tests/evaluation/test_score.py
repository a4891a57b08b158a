import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.score import Score, evaluate, score, surprisals
from jaxrnn.network.model import forward, init_params, initial_carry
from jaxrnn.text import Vocabulary, document_starts

V, N = 5, 700
CONFIG = ModelConfig(vocab_size=V, hidden_size=6, num_layers=2, cell="gru", init_scale=0.8)
PARAMS = jax.jit(init_params, static_argnames="config")(jax.random.key(0), CONFIG)
TOKENS = np.random.default_rng(0).integers(0, V, N).astype(np.uint8)
STARTS = document_starts(TOKENS, np.array([0, 1]))
forward = jax.jit(forward, static_argnames="config")


def whole(tokens, starts=None):
    """Compute all surprisals by one call of the network, without windows, lanes or padding."""
    starts = None if starts is None else starts[:-1, None]
    logits, _ = forward(PARAMS, initial_carry(1, CONFIG), jnp.asarray(tokens[:-1, None]), CONFIG, starts=starts)
    log_p = jax.nn.log_softmax(logits[:, 0])
    return -np.asarray(log_p)[np.arange(len(tokens) - 1), tokens[1:]]


with_and_without_documents = pytest.mark.parametrize("starts", [None, STARTS], ids=["one text", "documents"])


@with_and_without_documents
@pytest.mark.parametrize("length", [1, 7, 1024])
@pytest.mark.slow
def test_one_lane_is_the_exact_stream_whatever_the_window(monkeypatch, starts, length):
    monkeypatch.setattr(sys.modules["jaxrnn.evaluation.score"], "window_length", lambda *_: length)
    tokens = TOKENS[:40]
    starts = None if starts is None else starts[:40]
    got = surprisals(PARAMS, tokens, CONFIG, starts=starts)
    np.testing.assert_allclose(got, whole(tokens, starts), rtol=1e-5, atol=1e-5)


@with_and_without_documents
@pytest.mark.parametrize("lanes", [2, 3, 64])
@pytest.mark.slow
def test_every_target_is_scored_once_at_its_index_in_any_number_of_lanes(starts, lanes):
    got = surprisals(PARAMS, TOKENS, CONFIG, lanes=lanes, starts=starts)
    np.testing.assert_allclose(got, whole(TOKENS, starts), rtol=1e-3, atol=1e-3)  # the warm-up is long enough


@pytest.mark.parametrize("lanes", [2, 5, 9])
def test_lanes_of_a_text_shorter_than_the_warm_up_are_exact(lanes):
    tokens = TOKENS[:10]
    np.testing.assert_allclose(surprisals(PARAMS, tokens, CONFIG, lanes=lanes), whole(tokens), rtol=1e-5, atol=1e-5)


def test_documents_are_scored_as_if_each_were_alone():
    edges = [0, *np.flatnonzero(STARTS), N - 1]
    alone = [whole(TOKENS[a : b + 1]) for a, b in itertools.pairwise(edges[:4])]
    got = surprisals(PARAMS, TOKENS, CONFIG, starts=STARTS)
    np.testing.assert_allclose(got[: edges[3]], np.concatenate(alone), rtol=1e-5, atol=1e-5)


def test_texts_of_any_length_share_one_program():
    score.clear_cache()
    for length in (2, 50, 700):
        surprisals(PARAMS, TOKENS[:length], CONFIG)
    assert score._cache_size() == 1


def test_the_units_are_what_their_names_say():
    vocabulary = Vocabulary("aß日\ufffd👩")  # 1, 2, 3, 3, 4 bytes
    got = evaluate(PARAMS, TOKENS[:30], vocabulary, CONFIG)
    assert got.symbols == 29
    assert got.utf8_bytes == len(vocabulary.decode(TOKENS[1:30]).encode())
    assert got.nats == pytest.approx(whole(TOKENS[:30]).sum(), rel=1e-5)
    coin = Score(nats=10 * math.log(2), symbols=10, utf8_bytes=20)
    assert (coin.bits_per_character, coin.bits_per_byte) == (1, 0.5)
    assert Score(1e6, 2, 2).perplexity == math.inf
    assert math.isnan(Score(math.nan, 2, 2).perplexity)
    assert (coin.nats_per_character, coin.perplexity) == (pytest.approx(math.log(2)), pytest.approx(2))


@pytest.mark.parametrize(
    ("length", "lanes", "message"),
    [
        (0, 1, "has 0 symbols; 2 are needed"),
        (1, 1, "has 1 symbol; 2 are needed"),
        (10, 10, "lanes must be at most 9, the symbols to score, got 10"),
        (10, 0, "lanes must be at least 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(length, lanes, message):
    with pytest.raises(JaxrnnError, match=message):
        surprisals(PARAMS, TOKENS[:length], CONFIG, lanes=lanes)

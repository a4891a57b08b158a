import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import init_params

from jaxrnn.config import ModelConfig, SampleConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.network.model import forward, initial_carry
from jaxrnn.sampling.generate import PIECE, Writer, write, write_many
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Vocabulary, document_starts

V = 6
MODEL = ModelConfig(vocab_size=V, hidden_size=8, init_scale=1.0)
PARAMS = init_params(jax.random.key(0), MODEL)
PLAIN = Vocabulary("\n abcd")
NO_NEW_LINE = Vocabulary(" abcde")
NAIVE = Vocabulary.of("naïve".encode())  # five characters, six bytes
VOCABULARIES = {
    "characters": PLAIN,
    "no new line": NO_NEW_LINE,
    "beyond ASCII": Vocabulary.of("\né猫😀\U0010fffe\ud800"),
}


def text(vocabulary=PLAIN, params=PARAMS, **values):
    return "".join(write(params, vocabulary, MODEL, SampleConfig(**values)))


def always(*tokens):
    """A network that almost surely writes these tokens in a cycle, whatever it has read."""
    transitions = jnp.zeros((V, V)).at[jnp.array(tokens), jnp.array([*tokens[1:], tokens[0]])].set(50.0)
    width = MODEL.hidden_size
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    layer = zero.layers[0]._replace(Wxh=jnp.eye(V, width) * 20)  # h_t is the one-hot of x_t
    return zero._replace(layers=(layer,), Why=jnp.pad(transitions, ((0, width - V), (0, 0))))


@pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES)
@pytest.mark.parametrize("length", [1, 2, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 250])
@pytest.mark.parametrize("symbols", [0, 1, 5])
def test_a_text_has_as_many_characters_as_were_asked_for_without_the_prompt(vocabulary, length, symbols):
    prompt = (vocabulary.symbols[::-1] * 2)[:symbols]
    assert len(text(vocabulary, prompt=prompt, length=length)) == length


@pytest.mark.parametrize("values", [{}, {"prompt": "cab"}, {"temperature": 0.3}, {"greedy": True}], ids=str)
def test_a_longer_text_of_a_seed_begins_with_the_shorter_one(values):
    texts = [text(length=length, seed=3, **values) for length in (1, 99, 100, 101, 250, 350)]
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(texts))


def test_a_seed_writes_one_text_and_another_seed_another():
    texts = {seed: text(length=60, seed=seed) for seed in range(5)}
    assert len(set(texts.values())) == 5
    assert {seed: text(length=60, seed=seed) for seed in range(5)} == texts


def test_pieces_of_a_text_differ():
    pieces = list(write(PARAMS, PLAIN, MODEL, SampleConfig(length=5 * PIECE)))
    assert len(set(pieces)) == len(pieces)


@pytest.mark.parametrize("prompt", ["", "d", "a cab"])
def test_greedy_text_does_not_depend_on_the_seed_and_is_the_networks_own(prompt):
    texts = {text(prompt=prompt, length=150, greedy=True, seed=seed, temperature=seed + 1.0) for seed in range(3)}
    prime = jnp.asarray(PLAIN.encode(prompt or "\n")[:, None], jnp.int32)
    carry = initial_carry(1, MODEL)
    tokens, _ = sample(jax.random.key(9), PARAMS, carry, prime, MODEL, length=150, greedy=True)
    assert texts == {PLAIN.decode(tokens[:, 0])}


@pytest.mark.parametrize("prompt", ["", "cab"])
@pytest.mark.parametrize("reset_on", ["", "d"])
def test_a_greedy_text_in_turns_is_the_text_in_one(prompt, reset_on):
    writer = Writer(PARAMS, PLAIN, MODEL, reset_on)
    position, turns = writer.begin().extend(PLAIN.encode(prompt)), ""
    for length in (30, PIECE, 1, PIECE + 19):
        pieces = list(writer.write(position, SampleConfig(length=length, greedy=True)))
        turns += "".join(PLAIN.decode(tokens) for (tokens,), _ in pieces)
        position = pieces[-1][1]
    config = SampleConfig(prompt=prompt, length=len(turns), greedy=True)
    assert turns == "".join(write(PARAMS, PLAIN, MODEL, config, reset_on=reset_on))


@pytest.mark.parametrize(("vocabulary", "start"), [(PLAIN, "\n"), (NO_NEW_LINE, " ")], ids=["new line", "no new line"])
def test_without_a_prompt_it_continues_from_a_new_line_or_the_first_symbol(vocabulary, start):
    for values in ({"length": 130}, {"length": 130, "greedy": True}):
        assert text(vocabulary, **values) == text(vocabulary, prompt=start, **values)


@pytest.mark.parametrize(
    ("vocabulary", "prompt", "named"),
    [(PLAIN, "abXc", "X"), (PLAIN, "猫", "猫"), (NO_NEW_LINE, "a\n", r"'\\n'"), (NAIVE, "naive!", "b'!'")],
    ids=ascii,
)
def test_a_prompt_with_unknown_characters_is_refused_at_the_call_and_names_them(vocabulary, prompt, named):
    with pytest.raises(JaxrnnError, match=f"never seen {named}") as caught:
        write(PARAMS, vocabulary, MODEL, SampleConfig(prompt=prompt))
    assert caught.value.exit_code == 2


def test_characters_of_several_bytes_are_never_split_between_pieces():
    tokens = NAIVE.encode("naïve").tolist()
    pieces = list(write(always(*tokens), NAIVE, MODEL, SampleConfig(prompt="naïv", length=6 * PIECE + 1)))
    assert "naïv" + "".join(pieces) == "naïve" * (PIECE + 1)
    assert pieces[0].endswith("na")  # the first half of the next character waits for the second


@pytest.mark.parametrize(("length", "end"), [(2, "na"), (3, "na\ufffd"), (4, "naï")])
def test_a_text_of_bytes_that_ends_within_a_character_ends_with_the_replacement_character(length, end):
    tokens = NAIVE.encode("naïve").tolist()
    assert text(NAIVE, always(*tokens), prompt="e", length=length) == end


@pytest.mark.parametrize("prompt", ["", "b", "bad", "abc" * 40])
@pytest.mark.parametrize("stop", ["a", "cab", "da", "\n", "abcd" * 30, "abcabd"])
def test_the_text_ends_right_after_the_first_stop_string_that_was_written(prompt, stop):
    values = {"prompt": prompt, "length": 1000, "temperature": 2.0, "seed": 5}
    written = text(**values)  # the prompt may contain the stop string, and may begin one
    end = written.find(stop)
    assert text(**values, stop=stop) == (written if end < 0 else written[: end + len(stop)])


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE])
def test_a_stop_string_across_pieces_is_found_and_no_piece_beyond_it_is_drawn(length):
    """The network writes abcd in a cycle; the stop string is so long that it spans pieces."""
    values = {"prompt": "a", "length": length}
    circle = ("bcda" * (5 * PIECE))[:length]
    for size in (1, 2, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 50):
        stop = circle[:size]
        pieces = list(write(always(2, 3, 4, 5), PLAIN, MODEL, SampleConfig(**values, stop=stop)))
        assert "".join(pieces) == stop
        assert len(pieces) == -(-len(stop) // PIECE) + 1  # the last one completes a character of several bytes


def test_a_stop_string_of_bytes_ends_within_no_character():
    tokens = NAIVE.encode("naïve").tolist()
    assert text(NAIVE, always(*tokens), prompt="na", length=500, stop="ï") == "ï"
    assert text(NAIVE, always(*tokens), prompt="naï", length=500, stop="\udcc3") == "vena\ufffd"  # its first half


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stop": "abXc"}, "the stop string 'abXc' can't occur: the model has never seen X"),
        ({"stop": "猫"}, "'猫' can't occur: the model has never seen 猫 .U.732B [A-Z0-9 -]*.; .jaxrnn info RUN"),
        ({"stop": "abcd", "length": 3}, "'abcd' can't occur: it is 4 characters long, and length is 3"),
        ({"top_k": V + 1}, "top_k must be a whole number from 1 to 6, .* got 7"),
    ],
    ids=str,
)
@pytest.mark.parametrize("function", [write, write_many])
def test_options_that_the_vocabulary_rules_out_are_refused_at_the_call(function, values, message):
    with pytest.raises(JaxrnnError, match=message):
        function(PARAMS, PLAIN, MODEL, SampleConfig(**values))


@pytest.mark.usefixtures("compiled_fully")
@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"length": 250}, marks=pytest.mark.slow),
        {"length": 130, "prompt": "a cab", "temperature": 0.5, "top_k": 3, "top_p": 0.9},
        pytest.param({"length": 300, "stop": "a"}, marks=pytest.mark.slow),
        {"length": 120, "stop": "abcd", "prompt": "cab"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_each_of_many_samples_is_what_its_own_seed_writes_however_many_there_are(values):
    alone = [text(**values, seed=seed) for seed in range(7, 12)]
    assert len(set(alone)) == 5
    for number in (1, 2, 5):
        config = SampleConfig(**values, seed=7, num_samples=number)
        assert write_many(PARAMS, PLAIN, MODEL, config) == alone[:number]


def test_the_largest_seeds_work():
    config = SampleConfig(length=20, seed=2**32 - 2, num_samples=2)
    assert write_many(PARAMS, PLAIN, MODEL, config)[1] == text(length=20, seed=2**32 - 1)


def test_top_k_and_top_p_take_effect():
    greedy = text(length=150, greedy=True)
    assert text(length=150, top_k=1) == text(length=150, top_p=1e-6) == greedy
    assert len({greedy, text(length=150, top_k=2), text(length=150, top_p=0.6), text(length=150)}) == 4


def test_text_arrives_piece_by_piece_as_it_is_drawn():
    pieces = write(PARAMS, PLAIN, MODEL, SampleConfig(prompt="cab", length=10**12))
    assert len(next(pieces)) == len(next(pieces)) == PIECE


@pytest.mark.parametrize("reset_on", ["d", "\n\n", "ab"])
@pytest.mark.parametrize("prompt", ["", "\nab a"])
@pytest.mark.slow
def test_with_documents_every_character_is_written_as_training_would_have_read_it(reset_on, prompt):
    config = SampleConfig(length=2 * PIECE + 50, greedy=True, prompt=prompt)
    for seed in range(50):  # find a network that writes the separator sometimes, and no short cycle
        params = jax.tree.map(lambda leaf: 4 * leaf, init_params(jax.random.key(seed), MODEL))
        written = "".join(write(params, PLAIN, MODEL, config, reset_on=reset_on))
        read = PLAIN.encode(reset_on + prompt + written)
        starts = document_starts(read, PLAIN.encode(reset_on))
        if 2 < starts.sum() < 100:
            break
    else:
        pytest.fail("no such network")
    begin = len(reset_on) - 1  # a document begins: the separator's last symbol, then the prompt
    assert starts[begin]
    logits, _ = forward(
        params, initial_carry(1, MODEL), read[begin:-1, None].astype(int), MODEL, starts=starts[begin:-1, None]
    )
    best = logits[:, 0].argmax(axis=-1)[len(prompt) :]
    assert PLAIN.decode(best) == written


@pytest.mark.parametrize("prompt", ["", "ab", "a b.c"])
def test_many_samples_of_documents_are_those_of_single_calls(prompt):
    vocabulary = Vocabulary("\n .abc")
    params = init_params(jax.random.key(3), MODEL)
    options = SampleConfig(prompt=prompt, length=2 * PIECE + 7, num_samples=3, seed=5)
    many = write_many(params, vocabulary, MODEL, options, reset_on=". ")
    for index, text in enumerate(many):
        one = "".join(write(params, vocabulary, MODEL, dataclasses.replace(options, seed=5 + index), reset_on=". "))
        assert one == text


def continued(drawn):
    """Three pieces of a text of which so many characters were drawn before."""
    writer = Writer(PARAMS, PLAIN, MODEL)
    pieces = writer.write(writer.begin()._replace(drawn=drawn), SampleConfig(length=3 * PIECE))
    return ["".join(map(str, tokens)) for (tokens,), _ in pieces]


def test_a_text_goes_on_beyond_the_numbers_of_32_bits():
    pieces = [piece for drawn in (0, 2**31 - PIECE, 2**32 - PIECE, 2**40) for piece in continued(drawn)]
    assert len(set(pieces)) == len(pieces) == 12


def in_numpy(tokens, begin, reset_on):
    """The logits after each of some tokens, [N, V], one step after the other, from where `begin` is read."""
    separator, layer = PLAIN.encode(reset_on), jax.tree.map(np.float64, PARAMS.layers[0])
    h, logits = np.zeros(MODEL.hidden_size), []
    for index in range(begin, len(tokens)):
        if len(separator) and tuple(tokens[max(0, index + 1 - len(separator)) : index + 1]) == tuple(separator):
            h = np.zeros_like(h)
        h = np.tanh(layer.Wxh[tokens[index]] + h @ layer.Whh + layer.bh)
        logits.append(h @ np.float64(PARAMS.Why) + np.float64(PARAMS.by))
    return np.array(logits)


def share(logits, token, temperature, top_k, top_p):
    """The probability that a token is drawn."""
    weights = np.exp(logits / temperature - (logits / temperature).max())
    order, kept, total = sorted(range(V), key=lambda token: -logits[token]), [], 0.0
    for candidate in order[:top_k]:
        if top_p and total >= top_p * weights.sum():
            break
        kept.append(candidate)
        total += weights[candidate]
    return weights[token] / total


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"prompt": "cab", "temperature": 0.5, "length": 250},
        {"top_k": 3, "num_samples": 3, "stop": "a"},
        {"top_p": 0.6, "temperature": 2.0, "num_samples": 2, "prompt": "dd"},
        {"top_k": 4, "top_p": 0.9, "seed": 7},
        {"greedy": True, "prompt": "b"},
        {"temperature": 0.0},
        {"temperature": 1e-25},
    ],
    ids=str,
)
@pytest.mark.parametrize("reset_on", ["", "ad"])
def test_log_probabilities_are_those_of_numpy(values, reset_on):
    options = SampleConfig(**{"length": 40, **values})
    writer = Writer(PARAMS, PLAIN, MODEL, reset_on)
    texts = writer.write_many(options)
    prompt = PLAIN.encode(reset_on + options.prompt or "\n").tolist()
    begin = max(0, len(reset_on) - 1)
    greedy = options.greedy or options.temperature < 1e-30
    for text, *got in zip(texts, *writer.log_probabilities(texts, options), strict=True):
        logits = in_numpy([*prompt, *text], begin, reset_on)[len(prompt) - begin - 1 :]
        pairs = list(zip(logits, text, strict=False))
        under_network = sum(np.log(share(row, token, 1, None, None)) for row, token in pairs)
        rule = options.temperature, options.top_k, options.top_p
        drawn = 0 if greedy else sum(np.log(share(row, token, *rule)) for row, token in pairs)
        assert got == pytest.approx([under_network, drawn], rel=1e-4, abs=1e-4)

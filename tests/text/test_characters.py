"""Characters that a vocabulary lacks: what they are mapped to, and how messages name them."""

import dataclasses
import shlex

import jax
import numpy as np
import pytest
from arrays import init_params

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, SampleConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation import evaluate
from jaxrnn.sampling import write, write_many
from jaxrnn.text import Corpus, Vocabulary, batches, split

KNOWN = Vocabulary.of('don\'t "say" cafe\u00e9 I-n\u0303\n')


@pytest.mark.parametrize(
    ("text", "mapped", "kept"),
    [
        ("don\u2019t", "don't", "dont"),
        ("\u201csay\u201e", '"say"', "say"),
        ("cafe\u0301", "caf\u00e9", "cafe"),
        ("CAF\u00c9", "caf\u00e9", ""),
        ("\u00f1", "n\u0303", ""),
        ("i", "I", ""),
        ("a\u2014n\u2212d", "a-n-d", "and"),
        ("\u00e2\u0301", "a", ""),
        ("\uff53\u00a0\ufb01", "s fI", ""),
        ("\u732b say \u732b", "\u732b say \u732b", " say "),
        ("say", "say", "say"),
        ("", "", ""),
    ],
    ids=ascii,
)
def test_a_prompt_is_mapped_to_what_is_known_or_loses_the_rest(text, mapped, kept):
    assert KNOWN.adapt(text, "drop") == kept
    assert KNOWN.adapt(text, "error") == text
    got = KNOWN.adapt(text, "map")
    assert got == (mapped if text != "\uff53\u00a0\ufb01" else got)
    if "\u732b" not in text and text != "\uff53\u00a0\ufb01":
        assert KNOWN.knows(got)


def test_straight_quotes_become_curly_ones_where_only_these_are_known():
    assert Vocabulary.of("don\u2019t").adapt("don't", "map") == "don\u2019t"
    assert Vocabulary.of("'no'").adapt("\u201cno\u201d", "map") == "'no'"  # there is one kind of quotes
    assert Vocabulary.of('"no"').adapt("\u2018no'", "map") == '"no"'


def test_a_network_of_bytes_knows_a_character_if_it_knows_its_bytes():
    vocabulary = Vocabulary.of("caf\u00e9".encode("latin-1"))
    latin = dataclasses.replace(vocabulary, encoding="latin-1")
    assert latin.encode("f\u00e9").tolist() == [2, 3]
    assert latin.decode([2, 3]) == "f\u00e9"
    assert latin.adapt("caf\u00e9\u732b", "drop") == "caf\u00e9"
    assert latin.to_bytes([2, 3]) == vocabulary.to_bytes([2, 3]) == b"f\xe9"
    with pytest.raises(JaxrnnError, match=r"\u732b .U.732B .* has no bytes in LATIN-1"):
        latin.encode("\u732b")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "idna", "punycode"])
def test_encodings_that_begin_with_a_mark_or_need_a_whole_text_are_not_for_bytes(encoding):
    with pytest.raises(JaxrnnError, match=f"{encoding} needs a byte-order mark or a whole text"):
        Vocabulary("ab", "bytes", encoding=encoding)
    assert Vocabulary("\0b", "bytes", encoding="utf-16-le").decode([1, 0, 1]) == "b\ufffd"


def test_with_an_unknown_symbol_a_prompt_can_avoid_it():
    vocabulary = Vocabulary.of("aabb'' cd", min_count=2)
    assert vocabulary.unknown
    assert vocabulary.adapt("A\u2019x", "error") == "A\u2019x"
    assert vocabulary.adapt("A\u2019x", "map") == "a'x"
    assert vocabulary.adapt("A\u2019x", "drop") == ""


def test_a_refusal_says_what_is_known_instead():
    with pytest.raises(JaxrnnError) as caught:
        KNOWN.encode("Say \u2018no\u2019 \u0301")
    message = str(caught.value)
    assert "\u2018 (U+2018 LEFT SINGLE QUOTATION MARK)" in message
    assert "\u25cc\u0301 (U+0301 COMBINING ACUTE ACCENT)" in message
    assert "such as 's' for S" in message
    assert '"\'" for \u2018' in message
    assert f"it knows {len(KNOWN)} characters (listed by jaxrnn info RUN --vocabulary)" in message
    with pytest.raises(JaxrnnError, match=r"such as ' ' for '\\xa0'"):
        Vocabulary.of("to be").encode("to\xa0be")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"symbols": "abca"}, "distinct and sorted, got 'abca'; give 'abc', or a text to Vocabulary.of"),
        ({"symbols": "ba"}, "distinct and sorted, got 'ba'; give 'ab'"),
        ({"symbols": ""}, "must have a symbol; give those of a text by Vocabulary.of"),
        ({"symbols": b"ab"}, "symbols must be a string, got b'ab'"),
        ({"symbols": ["a", "b"]}, "symbols must be a string, got a list"),
        ({"symbols": "ab", "kind": "words"}, "kind must be 'characters' or 'bytes'"),
        ({"symbols": "a\u0100", "kind": "bytes"}, "up to U.00FF"),
        ({"symbols": "ab", "unknown": True}, "must have U.FFFD among its symbols"),
        ({"symbols": "ab", "encoding": "rot13"}, "encoding must be"),
    ],
    ids=str,
)
def test_symbols_that_are_no_vocabulary_are_refused_in_a_sentence(values, message):
    with pytest.raises(JaxrnnError, match=message) as caught:
        Vocabulary(**values)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, 1], "must be an integer array .N., got a list"),
        (np.zeros((2, 2), int), r"got int64.2, 2."),
        (np.array([0, 2]), "must be 0 to 1, got 0 to 2"),
        (np.array([0.5]), "got float64"),
        (np.array([], int), r"got int64.0."),
    ],
    ids=["list", "matrix", "range", "floats", "nothing"],
)
def test_a_corpus_made_by_hand_checks_its_tokens(tokens, message):
    with pytest.raises(JaxrnnError, match=message):
        Corpus("x", Vocabulary("ab"), tokens, "0" * 64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate(PARAMS, "text", KNOWN, MODEL), "must be an array, got 'text'; Vocabulary.encode makes one"),
        (lambda: evaluate(PARAMS, np.zeros((2, 2), int), KNOWN, MODEL), r"got int64.2, 2."),
        (lambda: evaluate(PARAMS, np.array([0, 99]), KNOWN, MODEL), "must be 0 to .*, got 0 to 99"),
        (lambda: batches([0] * 100, 0, 1, TrainConfig()), "tokens must be an array, got a list"),
        (lambda: split("text", (1.0,)), "tokens must be an array, got 'text'"),
        (lambda: KNOWN.encode(3), "a vocabulary is of str or bytes, got 3"),
        (lambda: Vocabulary.of(["a"]), "text must be a string or bytes, got a list"),
        (lambda: KNOWN.decode([99]), "must be integers from 0 to .*, got a list"),
        (lambda: write(params=None, vocabulary=KNOWN, config=MODEL, options=SampleConfig()), "params must be a Params"),
    ],
    ids=["text", "matrix", "range", "list", "split", "encode", "of", "decode", "write"],
)
def test_a_wrong_kind_of_text_or_tokens_is_refused_in_a_sentence(call, message):
    with pytest.raises(JaxrnnError, match=message) as caught:
        call()
    assert len(str(caught.value)) < 250


MODEL = ModelConfig(hidden_size=4, vocab_size=len(KNOWN))
PARAMS = init_params(jax.random.key(0), MODEL)


def test_write_adapts_the_prompt():
    options = SampleConfig(prompt="DON\u2019T", length=20, unknown="map")
    plain = "".join(write(PARAMS, KNOWN, MODEL, SampleConfig(prompt="don't", length=20)))
    assert "".join(write(PARAMS, KNOWN, MODEL, options)) == plain
    assert write_many(PARAMS, KNOWN, MODEL, options) == [plain]
    with pytest.raises(JaxrnnError, match="never seen D"):
        write(PARAMS, KNOWN, MODEL, dataclasses.replace(options, unknown="error"))


TRAIN = "train text.txt --steps 4 --hidden-size 4 --sequence-length 5 --sample-length 5 --quiet"


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Run a command line in a folder with texts; return what it prints, in bytes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_bytes("le caf\u00e9 d'\u00e9t\u00e9\r\n".encode("cp1252") * 9)

    def run(line):
        capfd.readouterr()
        code = main(shlex.split(line))
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_a_run_of_characters_lists_its_vocabulary_and_reads_prompts_as_its_text(command, tmp_path):
    assert command(f"{TRAIN} --run-dir run --encoding cp1252 --normalize newlines,nfc,quotes")[0] == 0
    code, out, _ = command("info run --vocabulary")
    assert code == 0
    assert out.splitlines()[:3] == ["'\\n' (U+000A)", "' ' (U+0020 SPACE)", "' (U+0027 APOSTROPHE)"]
    (tmp_path / "prompt").write_bytes("d\u2019\u00e9t\u00e9\r\n".encode("cp1252"))
    straight = command('sample run --length 9 --prompt "d\'\u00e9t\u00e9\n"')
    assert straight[0] == 0
    assert command("sample run --length 9 --prompt-file prompt") == straight
    assert command("sample run --length 9 --prompt 'd\u2019e\u0301te\u0301\n'") == straight
    (tmp_path / "utf8").write_text("d'\u00e9t\u00e9\n", "utf-8")
    assert command("sample run --length 9 --prompt-file utf8 --encoding utf-8") == straight
    mapped = command("sample run --length 9 --prompt 'D\u2019\u00c9T\u00c9\n' --unknown map")
    assert mapped[1] == straight[1]
    assert 'the prompt is read as "d\'\u00e9t\u00e9\\n"' in mapped[2]
    assert command("evaluate run text.txt")[0] == 0


def test_a_refused_prompt_names_what_would_adapt_it(command):
    assert command(f"{TRAIN} --run-dir run --encoding cp1252 --normalize newlines")[0] == 0
    drop = "unknown=drop"
    for prompt, advice in {"\u00c9": "unknown=map or drop", "\u732b": drop, "\u732b --unknown map": drop}.items():
        code, _, err = command(f"sample run --prompt {prompt}")
        assert (code, f"; {advice} adapts a prompt (--unknown)" in err) == (2, True), err


def test_a_run_of_bytes_writes_bytes_to_a_pipe_and_text_as_json(tmp_path, capfdbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_bytes("le caf\u00e9 d'\u00e9t\u00e9\n".encode("cp1252") * 9)
    assert main(shlex.split(f"{TRAIN} --run-dir run --vocabulary bytes --encoding cp1252")) == 0
    capfdbinary.readouterr()
    for many in ("", " --num-samples 2"):
        assert main(shlex.split(f"sample run --length 300 --temperature 3 --prompt '\u00e9t\u00e9'{many}")) == 0
        data = capfdbinary.readouterr().out
        assert b"\xe9t\xe9" in data
        assert b"\xc3" not in data
        assert data.count(b"\xe9") > 10
    assert main(shlex.split("sample run --length 300 --temperature 3 --prompt '\u00e9t\u00e9' --json")) == 0
    out = capfdbinary.readouterr().out.decode()
    assert "\\u00e9t\\u00e9" in out
    assert "\\ufffd" not in out
    assert main(["info", "run", "--vocabulary"]) == 0
    assert b"0xe9 b'\\xe9'" in capfdbinary.readouterr().out

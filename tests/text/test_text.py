import codecs
import hashlib
import os
import re
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from jaxrnn.config import TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs import run
from jaxrnn.text import (
    Vocabulary,
    batches,
    cache,
    corpus,
    document_starts,
    encode_separator,
    files,
    load_corpus,
    split,
)
from jaxrnn.text.batch import position
from jaxrnn.text.documents import never_seen
from jaxrnn.text.stream import Rules, read_pieces

SCRIPTS = {
    "latin": (0x20, 0x17F),
    "cyrillic": (0x400, 0x4FF),
    "arabic": (0x600, 0x6FF),
    "devanagari": (0x900, 0x97F),
    "hangul": (0xAC00, 0xD7A3),
    "private": (0xE000, 0xF8FF),
    "emoji": (0x1F300, 0x1FAFF),
    "astral": (0x10000, 0x10FFFF),
    "control": (0x00, 0x1F),
}


def random_text(script, length, seed=0):
    low, high = SCRIPTS[script]
    return "".join(map(chr, np.random.default_rng(seed).integers(low, high + 1, length)))


TEXTS = {
    **{script: random_text(script, 300) for script in SCRIPTS},
    "all scripts": "".join(random_text(script, 200, seed=1) for script in SCRIPTS),
    "NUL": "\0a\0b",
    "line ends": "\r\n\n\r\x85\u2028",
    "combining": "e\u0301é👩‍🚀🇩🇪",
    "lone surrogates": "\ud800\udc80\udfffa",
    "one symbol": "aaaa",
    "last code point": "\U0010ffff\0",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_decode_gives_back_what_was_encoded(text):
    vocabulary = Vocabulary.of(text)
    assert list(vocabulary.symbols) == sorted(set(text))
    assert len(vocabulary) == len(set(text))
    tokens = vocabulary.encode(text)
    assert tokens.tolist() == [vocabulary.symbols.index(symbol) for symbol in text]
    assert vocabulary.decode(tokens) == vocabulary.decode(tokens.tolist()) == text
    decoder = vocabulary.decoder()
    assert "".join(decoder.decode([token]) for token in tokens) == text


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, "uint8"), (255, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")],
)
def test_tokens_have_the_smallest_unsigned_type_that_holds_the_vocabulary(size, dtype):
    vocabulary = Vocabulary("".join(map(chr, range(0x10000, 0x10000 + size))))
    tokens = vocabulary.encode(vocabulary.symbols)
    assert tokens.dtype == dtype
    assert tokens.tolist() == list(range(size))


@pytest.mark.parametrize("tokens", [[2], [-1], [1.5], ["a"], [[0], [1, 0]], "ab"], ids=str)
def test_what_is_no_token_is_not_decoded(tokens):
    with pytest.raises(JaxrnnError, match=r"integers from 0 to 1, got"):
        Vocabulary("ab").decode(tokens)


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_no_text_is_no_tokens(kind):
    vocabulary = Vocabulary("ab", kind)
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize(
    ("vocabulary", "text", "named"),
    [
        (Vocabulary("bd"), "abcde", "a (U+0061 LATIN SMALL LETTER A), c (U+0063 "),
        (
            Vocabulary("bd"),
            "b😀d😀",
            "😀 (U+1F600 GRINNING FACE); it knows 2 characters (listed by ",
        ),
        (Vocabulary("bd"), "\0\n\udc80", r"'\x00' (U+0000), '\n' (U+000A), the byte 0x80, which is not UTF-8"),
        (Vocabulary("a"), "abcdefghijkl", "e (U+0065 LATIN SMALL LETTER E) and 7 more; it knows 1 character "),
        (Vocabulary("ab", "bytes"), "aé", r"b'\xa9', b'\xc3'; it knows 2 bytes"),
        (Vocabulary("ab", "bytes"), b"a\xff\0", r"b'\x00', b'\xff'"),
        (Vocabulary("ab", "bytes"), "\udcff", r"b'\xff'"),
        (Vocabulary("ab"), b"ab", "encodes str, got bytes"),
        (
            Vocabulary("ab", "bytes"),
            "\ud800",
            r"half a character (U+D800) has no bytes in UTF-8",
        ),  # no byte that a command line could have meant
    ],
    ids=lambda value: ascii(value) if isinstance(value, str | bytes) else value.kind,
)
def test_unknown_symbols_are_named(vocabulary, text, named):
    with pytest.raises(JaxrnnError) as caught:
        vocabulary.encode(text)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)), np.random.default_rng(0).bytes(5000), TEXTS["all scripts"].encode(), b"\xff\xfe\0\r\n"],
    ids=["256 values", "random", "UTF-8", "not UTF-8"],
)
def test_a_vocabulary_of_bytes_reads_any_data(data):
    vocabulary = Vocabulary.of(data)
    assert vocabulary.kind == "bytes"
    assert vocabulary.symbols.encode("latin-1") == bytes(sorted(set(data)))
    tokens = vocabulary.encode(data)
    assert tokens.dtype == np.uint8
    assert bytes(ord(vocabulary.symbols[token]) for token in tokens) == data
    assert vocabulary.encode(data.decode("utf-8", "surrogateescape")).tolist() == tokens.tolist()  # as argv has it
    assert vocabulary.decode(tokens) == data.decode("utf-8", "replace")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", ["naïve", "👩‍🚀 Привет", TEXTS["all scripts"]], ids=["latin", "emoji", "all scripts"])
def test_characters_of_several_bytes_stream_unbroken(text, seed):
    vocabulary = Vocabulary.of(text.encode())
    tokens = vocabulary.encode(text)
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(tokens), len(tokens) // 2))
    for pieces in (np.split(tokens, cuts), np.split(tokens, len(tokens))):
        decoder = vocabulary.decoder()
        shown = [decoder.decode(piece) for piece in pieces]
        assert "�" not in "".join(shown)
        assert "".join(shown) + decoder.decode([], final=True) == text


def test_a_character_cut_off_at_the_end_is_shown_as_a_replacement():
    vocabulary = Vocabulary.of("aé".encode())
    decoder = vocabulary.decoder()
    assert decoder.decode(vocabulary.encode(b"a\xc3")) == "a"
    assert decoder.decode([], final=True) == "�"
    assert vocabulary.decode(vocabulary.encode(b"\xa9a\xc3")) == "�a�"


def swept(tokens, T, B):
    """Yield (inputs [T][B], targets [T][B], reset) without end, by min-char-rnn's rule."""
    n = len(tokens) // B
    lanes = [list(tokens[lane * n : (lane + 1) * n]) for lane in range(B)]
    p, reset = 0, True
    while True:
        if p + T + 1 >= n:
            p, reset = 0, True
        inputs = [[lane[p + t] for lane in lanes] for t in range(T)]
        targets = [[lane[p + t + 1] for lane in lanes] for t in range(T)]
        yield inputs, targets, reset
        p, reset = p + T, False


SIZES = [
    *((n, T, 1) for T in (1, 2, 5) for n in range(T + 2, 4 * T + 4)),  # every way a sweep can end
    *((B * (T + 2) + rest, T, B) for T, B in ((1, 2), (3, 4), (4, 3)) for rest in range(B * (T + 1))),
    (27, 25, 1),
    (1000, 25, 1),
    (1000, 25, 7),
]


@pytest.mark.parametrize(("N", "T", "B"), SIZES)
def test_batches_are_those_of_a_plain_loop(N, T, B):
    tokens = np.random.default_rng(N).permutation(N)  # all different: a wrong place can't look right
    K = 2 * (N // B // T + 2)
    inputs, targets, reset = zip(*islice(swept(tokens.tolist(), T, B), K), strict=True)
    got = batches(tokens, 0, K, TrainConfig(sequence_length=T, batch_size=B))
    assert (got.inputs.shape, got.targets.shape, got.reset.shape) == ((K, T, B), (K, T, B), (K,))
    assert (got.inputs.dtype, got.targets.dtype, got.reset.dtype) == (np.int32, np.int32, bool)
    assert got.inputs.tolist() == list(inputs)
    assert got.targets.tolist() == list(targets)
    assert got.reset.tolist() == list(reset)


@pytest.mark.parametrize(("N", "T", "B"), [(7, 5, 1), (53, 5, 1), (200, 4, 3)])
def test_every_chunking_gives_the_same_batches(N, T, B):
    tokens = np.random.default_rng(0).integers(0, 256, N).astype(np.uint8)
    config = TrainConfig(sequence_length=T, batch_size=B)
    whole = batches(tokens, 0, 40, config)
    for step in range(40):
        for num_steps in range(1, 41 - step):
            for part, all_steps in zip(batches(tokens, step, num_steps, config)[:3], whole[:3], strict=True):
                np.testing.assert_array_equal(part, all_steps[step : step + num_steps])


@pytest.mark.parametrize(("N", "T", "B"), [(7, 5, 1), (53, 5, 1), (200, 4, 3)])
def test_starts_belong_to_their_inputs_and_are_none_without_documents(N, T, B):
    tokens, config = np.arange(N), TrainConfig(sequence_length=T, batch_size=B)
    assert batches(tokens, 0, 20, config).starts is None
    batch = batches(tokens, 0, 20, config, starts=tokens % 3 == 0)
    np.testing.assert_array_equal(batch.starts, batch.inputs % 3 == 0)
    for step in range(20):
        assert position(N, step, config) == batch.inputs[step, 0, 0]


def test_documents_start_where_the_text_so_far_ends_in_the_separator():
    rng = np.random.default_rng(0)
    for length in (1, 2, 3):
        text = "".join(rng.choice(list("ab"), 60))
        separator = "ab"[: length - 1] + "a"
        tokens, wanted = np.array([ord(c) for c in text]), np.array([ord(c) for c in separator])
        expected = [text[: end + 1].endswith(separator) for end in range(len(text))]
        assert document_starts(tokens, wanted).tolist() == expected


@pytest.mark.parametrize("N", [10, 11, 99, 1_115_394])
@pytest.mark.parametrize(
    ("fractions", "names"),
    [((1.0,), ["train"]), ((0.9, 0.1), ["train", "validation"]), ((0.8, 0.1, 0.1), ["train", "validation", "test"])],
)
def test_slices_follow_each_other_and_end_where_nanogpts_do(N, fractions, names):
    tokens = np.arange(N)
    slices = split(tokens, fractions)
    assert list(slices) == names
    np.testing.assert_array_equal(np.concatenate([part.tokens for part in slices.values()]), tokens)
    for part in slices.values():
        np.testing.assert_array_equal(part.tokens, tokens[part.begin : part.end])
    if len(fractions) == 2:
        assert slices["train"].end == int(N * 0.9)
        assert N < 10**6 or str(slices["validation"]) == "validation, characters 1,003,854-1,115,394"


@pytest.mark.parametrize("fractions", [(), (0.9,), (0.4, 0.3, 0.2, 0.1), (1.1, -0.1), (0.9, 0.2)], ids=str)
def test_fractions_that_do_not_split_a_text_are_refused(fractions):
    with pytest.raises(JaxrnnError, match="split must be one to three fractions that add up to 1"):
        split(np.arange(100), fractions)


def test_symbols_that_training_never_saw_are_counted():
    unseen, count = never_seen(np.array([0, 1, 4]), np.array([2, 1, 3, 2, 4, 2]), 5)
    assert (unseen.tolist(), count) == ([2, 3], 4)


RARE = "aaa bbb c\ufffd\ufffd\ufffd d"  # three U+FFFD; c and d once


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_rare_symbols_become_one_unknown_symbol_that_is_written_as_the_replacement_character(kind):
    text = RARE if kind == "characters" else b"aaa bbb c d"
    vocabulary = Vocabulary.of(text, min_count=2)
    assert vocabulary.unknown
    assert vocabulary.symbols == " ab\ufffd"
    tokens = vocabulary.encode(text)
    folded = "aaa bbb \ufffd\ufffd\ufffd\ufffd \ufffd" if kind == "characters" else "aaa bbb \ufffd \ufffd"
    assert vocabulary.decode(tokens) == folded
    never = "日本" if kind == "characters" else b"\x00\xff"
    assert vocabulary.encode(never).tolist() == [3, 3]
    assert vocabulary.find(never)[1].all()


def test_a_text_without_rare_symbols_has_no_unknown_symbol_even_if_it_has_replacement_characters():
    vocabulary = Vocabulary.of("aab\ufffdb\ufffd", min_count=2)
    assert (vocabulary.symbols, vocabulary.unknown) == ("ab\ufffd", False)
    with pytest.raises(JaxrnnError, match="never seen c"):
        vocabulary.encode("abc")


@pytest.mark.parametrize("symbol", ["a", "ß", "日", "\ufffd", "👩"])
def test_utf8_lengths_are_those_of_the_encoding(symbol):
    assert Vocabulary(symbol).utf8_lengths().tolist() == [len(symbol.encode())]
    assert Vocabulary.of("aab\ufffd", min_count=2).utf8_lengths().tolist() == [1, 1]  # the least
    assert Vocabulary.of(symbol.encode()).utf8_lengths().tolist() == [1] * len(set(symbol.encode()))


@pytest.mark.parametrize(
    ("reset_on", "message"), [("|", "not in the vocabulary"), ("c", "not in the vocabulary"), ("\ufffd", "not in the")]
)
def test_a_separator_that_is_not_in_the_vocabulary_is_refused(reset_on, message):
    with pytest.raises(JaxrnnError, match=message):
        encode_separator(Vocabulary.of(RARE, min_count=2), reset_on)


def test_a_min_count_that_leaves_nothing_is_refused(tmp_path):
    (tmp_path / "text.txt").write_text("abcabc")
    with pytest.raises(JaxrnnError, match=r"no symbol of .* occurs 3 times; make min_count smaller"):
        load_corpus(tmp_path / "text.txt", min_count=3)
    assert load_corpus(tmp_path / "text.txt", min_count=2).min_count == 2


def test_targets_are_the_inputs_shifted_by_one():
    tokens = np.arange(1000)
    batch = batches(tokens, 0, 50, TrainConfig(sequence_length=9, batch_size=2))
    np.testing.assert_array_equal(batch.targets, batch.inputs + 1)
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


@pytest.mark.parametrize(
    ("N", "T", "B", "reads"),
    [
        (101, 50, 1, 99),
        (7, 3, 1, 6),
        (13, 2, 1, 12),
        (49, 7, 2, 23),
        (303, 50, 3, 99),
        (151, 50, 1, 148),
        (350, 50, 1, 344),
        (402, 50, 1, None),
    ],
)
def test_lanes_that_are_not_read_to_the_end_are_told_with_a_length_that_reads_more(N, T, B, reads):
    config = TrainConfig(sequence_length=T, batch_size=B)
    batch = batches(np.arange(N), 0, 50, config)
    symbols = {*batch.inputs.ravel().tolist(), *batch.targets.ravel().tolist()}
    message = run.unread(N, config)
    assert (message is not None) == (reads is not None) == (len(symbols) < 0.9 * N)
    if message:
        shorter = int(re.search(r"too short; (\d+) reads", message)[1])
        batch = batches(np.arange(N), 0, 50, TrainConfig(sequence_length=shorter, batch_size=B))
        symbols = {*batch.inputs.ravel().tolist(), *batch.targets.ravel().tolist()}
        assert len(symbols) == B * reads
        assert message.endswith(f"reads {reads}")


def test_a_step_far_away_costs_nothing():
    step = 2**31 - 2
    got = batches(np.arange(100), step, 1, TrainConfig(sequence_length=9))
    assert got.inputs[0, 0, 0] == 9 * (step % 10)


def test_batches_leave_the_tokens_as_they_are():
    tokens = np.arange(100, dtype=np.int32)
    batches(tokens, 0, 3, TrainConfig(sequence_length=9)).inputs[:] = -1
    assert tokens.tolist() == list(range(100))


@pytest.mark.parametrize(
    ("N", "T", "B", "needed"),
    [(26, 25, 1, 27), (1, 1, 1, 3), (0, 1, 1, 3), (4 * 27 - 1, 25, 4, 108), (10, 1, 100, 300)],
)
def test_a_text_too_short_for_one_batch_is_refused(N, T, B, needed):
    with pytest.raises(JaxrnnError, match=f"has {N} symbols?,.*need at least .* = {needed};"):
        batches(np.zeros(N, np.uint8), 0, 1, TrainConfig(sequence_length=T, batch_size=B))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", {}, "is empty"),
        (codecs.BOM_UTF8, {"normalize": ["newlines"]}, "is empty"),
        (b"", {"vocabulary": "bytes"}, "is empty"),
        (b"aaaa", {}, "single distinct symbol, 'a'"),
        ("é".encode(), {}, "single distinct symbol, 'é'"),
        (b"\r\n\r", {"normalize": ["newlines"]}, r"single distinct symbol, '\n'"),
        (b"\0\0", {"vocabulary": "bytes"}, r"single distinct symbol, b'\x00'"),
        (
            b"ab\xffcd",
            {},
            "not UTF-8 (byte 0xff) at offset 2; it may be ",
        ),
        (("é" * 10_000).encode() + b"\xc3", {}, "not UTF-8 (byte 0xc3) at offset 20000; "),
        ("abcd日e".encode()[:6] + b"e", {}, "not UTF-8 (byte 0xe6) at offset 4; "),
        (b"a\xed\xa0\x80", {}, "not UTF-8 (byte 0xed) at offset 1; "),  # a surrogate
        (b"a\r\nb\r\n\xff", {"normalize": ["newlines"]}, "not UTF-8 (byte 0xff) at offset 6; "),  # in the file, that is
        (codecs.BOM_UTF8 + b"a\xff", {"normalize": ["newlines"]}, "not UTF-8 (byte 0xff) at offset 4; "),
        ("text".encode("utf-16"), {}, "is UTF-16 by its byte-order mark; name its encoding (--encoding utf-16)"),
        (codecs.BOM_UTF16_BE + "text".encode("utf-16-be"), {}, "is UTF-16 by its byte-order mark; "),
        ("text".encode("utf-32"), {}, "is UTF-32 by its byte-order mark; name its encoding (--encoding utf-32)"),
        (codecs.BOM_UTF8 + b"text", {}, "begins with a byte-order mark; drop it by normalize (--normalize newlines)"),
        (
            b"a\nb\r\nc",
            {},
            "has CRLF line ends (the first in line 2); convert them by normalize (--normalize newlines)",
        ),
        (b"a\rb\rc\n", {}, "has CR line ends (2, and 1 LF); convert them by normalize (--normalize"),
        # The first of two mistakes is named.
        (b"abc\r\ndef\r\n\xff", {}, "has CRLF line ends (the first in line 1); "),
        (b"ab\xffd\r\n", {}, "not UTF-8 (byte 0xff) at offset 2; "),
        (b"ab\xe6\r\n", {}, "not UTF-8 (byte 0xe6) at offset 2; "),
    ],
    ids=lambda value: ascii(value)[:30],
)
@pytest.mark.parametrize("size", [None, 4, 5, 6], ids=lambda size: f"pieces of {size}" if size else "in memory")
def test_a_text_that_cannot_be_trained_on_is_refused(tmp_path, monkeypatch, data, options, message, size):
    path = tmp_path / "text"
    path.write_bytes(data)
    if size:
        monkeypatch.setattr(files, "PIECE", size)
        monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 0)
    with pytest.raises(JaxrnnError) as caught:
        load_corpus(path, **options)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert not cache.directory().exists()
    if "empty" not in message and "single" not in message:
        with pytest.raises(JaxrnnError, match=re.escape(message.partition(";")[0])):
            list(read_pieces(str(path), Rules(normalize=options.get("normalize", ()))))
        assert b"".join(read_pieces(str(path), Rules("bytes"))) == data


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("text", None, "no such file"),
        ("no/such/folder", None, "no such file"),
        ("folder", Path.mkdir, "has no files"),
        ("folder*.txt", None, "matches no files"),
        ("pipe", os.mkfifo, "is not a regular file"),
        ("/dev/zero", None, "no"),  # not a regular file; no such file where there is none
        ("loop", loop, "can't read"),
        ("x" * 1000, None, "no such file"),
        ("nu\0l", None, "can't read"),
        ("~no-such-user/text", None, "no-such-user"),
        ("", None, "is empty"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_file_is_refused_without_reading_it(tmp_path, monkeypatch, name, make, message):
    monkeypatch.chdir(tmp_path)
    if make:
        make(Path(name))
    with pytest.raises(JaxrnnError, match=message):
        load_corpus(name)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (codecs.BOM_UTF8 + b"ab", "ab"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"a\rb\r", "a\nb\n"),
        (b"a\r\r\n\n\rb", "a\n\n\n\nb"),
        (codecs.BOM_UTF8 + "é\r\n😀".encode(), "é\n😀"),
        (codecs.BOM_UTF8 * 2 + b"a", "\ufeffa"),  # only one is a mark
        (b"a\nb", "a\nb"),
    ],
)
def test_normalize_drops_the_byte_order_mark_and_makes_line_ends_lf(tmp_path, data, text):
    path = tmp_path / "text"
    path.write_bytes(data)
    corpus = load_corpus(path, normalize=["newlines"])
    assert corpus.vocabulary.decode(corpus.tokens) == text
    assert corpus.vocabulary == Vocabulary.of(text)
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()  # of the file, so that `sha256sum` confirms it
    data_of_bytes = load_corpus(path, vocabulary="bytes", normalize=["newlines"])
    assert data_of_bytes.vocabulary.decode(data_of_bytes.tokens) == text


def test_a_text_is_read_character_for_character(tmp_path):
    text = TEXTS["all scripts"].replace("\r", "\n") + "a lone \r, \ufeff\t\0\n\n"
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    corpus = load_corpus(path)
    assert corpus.vocabulary.decode(corpus.tokens) == text
    assert len(corpus) == len(text)
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\0\r\n", codecs.BOM_UTF8 + b"a", bytes(range(256)) * 9, "text".encode("utf-16")], ids=range(4)
)
def test_a_vocabulary_of_bytes_trains_on_any_file(tmp_path, data):
    path = tmp_path / "data"
    path.write_bytes(data)
    corpus = load_corpus(path, vocabulary="bytes")
    assert bytes(ord(corpus.vocabulary.symbols[token]) for token in corpus.tokens) == data
    assert corpus.vocabulary == Vocabulary.of(data)


def test_python_docs_are_the_help_texts_of_this_python():
    text = ""
    for name in sorted(topics):
        text += ("\n" if text else "") + topics[name]
    corpus = load_corpus("python-docs")
    assert (corpus.source, corpus.name) == ("python-docs", "python-docs")
    assert corpus.vocabulary.decode(corpus.tokens) == text
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_name_of_a_corpus_takes_precedence_over_a_file():
    Path("python-docs").write_text("a file of that name")
    with pytest.warns(UserWarning, match=r"taken as the corpus of that name, not as the file here; ./python-docs is"):
        assert len(load_corpus("python-docs")) > 100_000
    assert len(load_corpus(Path("python-docs").absolute())) == 19


@pytest.mark.parametrize("name", ["~/text", "text", "./text", "folder/../text", Path("text"), Path("~/text")], ids=repr)
def test_the_source_is_an_absolute_path_that_is_found_from_anywhere(tmp_path, monkeypatch, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("some text")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    corpus = load_corpus(name)
    assert Path(corpus.source).is_absolute()
    assert Path(corpus.source).samefile(tmp_path / "text")
    assert corpus.name == "text"
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/")
    again = load_corpus(corpus.source)
    assert (again.source, again.sha256) == (corpus.source, corpus.sha256)


def test_the_repr_of_a_corpus_summarizes_it(tmp_path):
    (tmp_path / "novel.txt").write_text("abcab" * 1000)
    shown = repr(load_corpus(tmp_path / "novel.txt"))
    assert shown.startswith("Corpus(novel: 5,000 characters, vocabulary of 3, sha256 ")


def test_tinyshakespeare_has_65_characters(tinyshakespeare):
    corpus = load_corpus(tinyshakespeare)
    assert (len(corpus), len(corpus.vocabulary), corpus.tokens.dtype) == (1_115_394, 65, np.uint8)


@pytest.mark.parametrize("size", [3, 4, 7, 10**6])
@pytest.mark.parametrize("kind", ["characters", "bytes"])
@pytest.mark.parametrize(
    ("text", "normalize"),
    [
        ("naïve 日本 👩‍🚀\r\n\r\nend\r", True),
        ("\ufeffbegins\n with a mark \ufeff\r", True),
        ("\ufeff", True),
        ("\n\r\n\n\r\r\n", True),
        ("naïve 日本 👩‍🚀\n\rend\n", False),
        ("", False),
    ],
    ids=ascii,
)
def test_a_text_in_pieces_is_the_one_that_load_corpus_reads(tmp_path, monkeypatch, size, kind, text, normalize):
    monkeypatch.setattr(files, "PIECE", size)
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    nothing = "" if kind == "characters" else b""
    got = nothing.join(read_pieces(str(path), Rules(kind, normalize=("newlines",) if normalize else ())))
    data = text.encode()
    if normalize:
        data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert got == (data.decode() if kind == "characters" else data)


@pytest.mark.parametrize("name", ["nowhere", ".", "\0"])
def test_read_pieces_refuses_what_is_not_a_file(tmp_path, name):
    with pytest.raises(JaxrnnError, match=r"no such file|can't read|has no files"):
        list(read_pieces(str(tmp_path / name), Rules()))


@pytest.mark.parametrize("encoding", ["cp1251", "latin-1", "gbk", "utf-8"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_unknown_symbol_of_bytes_is_shown_as_such_in_every_encoding(encoding, size):
    text = {"cp1251": "привет мир", "latin-1": "élan où"}.get(encoding, "你好 世界")
    known = Vocabulary.of(text.encode(encoding))
    vocabulary = Vocabulary("".join(sorted({*known.symbols, "\ufffd"})), "bytes", unknown=True, encoding=encoding)
    tokens = vocabulary.encode(b"Z" + text.encode(encoding) + b"ZZ" + text.encode(encoding))
    decoder = vocabulary.decoder()
    pieces = [decoder.decode(tokens[start : start + size]) for start in range(0, len(tokens), size)]
    assert "".join([*pieces, decoder.decode([], final=True)]) == f"\ufffd{text}\ufffd\ufffd{text}"


def test_a_mark_without_a_letter_is_no_substitute():
    assert Vocabulary.of("abc").adapt("a\u0338b", "map") == "a\u0338b"


def test_an_empty_separator_separates_nothing():
    tokens = np.arange(9) % 3
    assert document_starts(tokens, encode_separator(Vocabulary("abc"), "")).tolist() == [False] * 9

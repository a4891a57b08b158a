"""The files of a text: several of them, folders, patterns, stdin, compression and encodings."""

import bz2
import codecs
import dataclasses
import errno
import gzip
import hashlib
import io
import lzma
import os
import sys
import types
import unicodedata
from pathlib import Path

import pytest

from jaxrnn.config import ModelConfig, TrainConfig, corpus_name, from_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.runs import fit, load_checkpoint, reload_corpus
from jaxrnn.text import Corpus, cache, corpus, files, load_corpus, stream
from jaxrnn.text.encodings import likely_encodings, wide_encoding
from jaxrnn.text.stream import Rules, read_pieces

TEXT = "the cat sat on the mat,\nand the dog: naïve.\n" * 10


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of three texts in two levels, and a hidden one."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"b.txt": "bb", "sub/a.txt": "ab", "c.md": "cb", ".hidden": "hh", "sub/.git/x.txt": "xy"}.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(text)
    return tmp_path / "folder"


def text_of(source, **options):
    loaded = load_corpus(source, **options)
    assert load_corpus(loaded.source, **options).sha256 == loaded.sha256
    return loaded.vocabulary.decode(loaded.tokens)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (["folder/c.md", "folder/b.txt"], "cb\nbb"),
        ("folder/c.md\nfolder/b.txt", "cb\nbb"),
        ("folder", "bb\ncb\nab"),
        (Path("folder"), "bb\ncb\nab"),
        ("folder/*", "bb\ncb"),
        ("folder/**/*.txt", "bb\nab"),
        ("folder/sub/.git/*.txt", "xy"),
        (["folder/sub", "folder/?.md"], "ab\ncb"),
    ],
    ids=["list", "lines", "folder", "path", "pattern", "deep pattern", "hidden by name", "mixture"],
)
def test_several_files_are_one_text_in_a_fixed_order(folder, source, text):
    assert text_of(source) == text


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("**", ["b.txt", "c.md", "sub/a.txt"]), ("**.txt", ["b.txt"]), ("s**/a.***", ["sub/a.txt"])],
)
def test_a_pattern_means_the_same_in_every_python(folder, pattern, names):
    assert [str(file.relative_to(folder)) for file in files.find_files(f"folder/{pattern}")] == names


def test_a_file_that_is_missing_beside_a_big_one_is_told_as_any_other(folder, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 1)
    for missing in ("folder/d.txt", "folder/b.txt/x"):
        with pytest.raises(JaxrnnError, match=r"no such file|can't read"):
            load_corpus(["folder/b.txt", missing])


def test_many_comments_at_the_beginning_are_read_at_once(tmp_path):
    (tmp_path / "text.md").write_text("<!-- a -->\n" * 60 + TEXT)
    assert text_of(tmp_path / "text.md").endswith(TEXT)
    (tmp_path / "text.txt").write_text("<!-- a -->\n" * 9 + "<html>" + TEXT)
    with pytest.raises(JaxrnnError, match="save it as plain text"):
        load_corpus(tmp_path / "text.txt")


def test_the_runs_and_sweeps_in_a_folder_are_no_texts(folder):
    texts = files.find_files("folder")
    for name in ("a-1/config.json", "a-1/checkpoints/x", "s-1/sweep.json", "s-1/seed=0/config.json"):
        (folder / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "runs" / name).touch()
    assert files.find_files("folder") == texts
    (folder / "config.json").write_text("a file of that name alone")
    assert folder / "config.json" in files.find_files("folder")
    assert folder / "runs/a-1/config.json" in files.find_files("folder/runs/a-1")


def test_a_file_that_is_given_twice_is_read_twice_with_a_warning(folder):
    with pytest.warns(UserWarning, match=r"more than once: .*/folder/c\.md; give each one once"):
        assert text_of(["folder/c.md", "./folder/*.md"]) == "cb\ncb"


def test_files_are_joined_by_a_string_and_hashed_each_and_together(folder):
    joined = load_corpus("folder", join="--")
    assert joined.vocabulary.decode(joined.tokens) == "bb--cb--ab"
    assert joined.sha256 == hashlib.sha256(b"bb--cb--ab").hexdigest()
    assert [(Path(name).name, sha256) for name, sha256 in joined.files] == [
        (name, hashlib.sha256(text).hexdigest()) for name, text in [("b.txt", b"bb"), ("c.md", b"cb"), ("a.txt", b"ab")]
    ]
    assert text_of("folder", join="") == "bbcbab"
    assert text_of("folder", join="\n", vocabulary="bytes") == "bb\ncb\nab"
    assert load_corpus("folder", join=os.fsdecode(b"\xe9"), vocabulary="bytes").vocabulary.symbols == "abc\xe9"
    with pytest.raises(JaxrnnError, match=r"\u2603 .* has no bytes in LATIN-1"):
        load_corpus("folder", join="\u2603", vocabulary="bytes", encoding="latin-1")
    with pytest.raises(JaxrnnError, match=r"half a character .* has no bytes in UTF-8"):
        load_corpus("folder", join="\ud800")
    with pytest.raises(JaxrnnError, match=r"the join string is not UTF-8 \(byte 0xe9\)"):
        load_corpus("folder", join=os.fsdecode(b"\xe9"))


def test_the_string_between_files_is_read_and_normalized_as_they_are(folder):
    with pytest.raises(JaxrnnError, match=r"the join string has CRLF line ends .*--normalize newlines"):
        load_corpus("folder", join="\r\n")
    assert text_of("folder", join="\r\n", normalize=("newlines",)) == "bb\ncb\nab"
    assert text_of("folder", join="\r\n", normalize=("newlines",), vocabulary="bytes") == "bb\ncb\nab"
    assert text_of("folder", join="\u201de\u0301", normalize=("nfc", "quotes")) == 'bb"\u00e9cb"\u00e9ab'
    assert text_of("folder", join="\u00e9", encoding="latin-1") == "bb\u00e9cb\u00e9ab"


def test_big_files_are_one_text_in_the_cache(folder, monkeypatch):
    small = load_corpus("folder")
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", 3)
    monkeypatch.setattr(cache, "CLOCK_NS", 0)
    for _ in range(2):
        big = load_corpus("folder")
        assert big.cache_file
        assert (big.sha256, big.files, big.tokens.tolist()) == (small.sha256, small.files, small.tokens.tolist())
    (folder / "b.txt").write_text("bbc")
    assert load_corpus("folder").sha256 == hashlib.sha256(b"bbc\ncb\nab").hexdigest()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "empty has no files; give a text file"),
        ("*.nothing", "matches no files; give a text file, or a folder"),
        ("Is it? It is.", r"matches no files; give a text file, or a text itself by jaxrnn.Corpus.from_text"),
        ("fold*", r"fold\* matches only folders, whose files are .*/fold\*/\*; give a text file"),
        (["folder/b.txt", "nowhere.txt"], "no such file: .*/nowhere.txt"),
        (["folder/b.txt", "-"], "- is a corpus by itself"),
        (["python-docs", "folder/b.txt"], "python-docs is a corpus by itself"),
        ([], "is empty"),
        (["folder/b.txt", "latin.txt"], "/latin.txt is not UTF-8"),
    ],
)
def test_sources_without_a_text_are_refused(folder, source, message):
    Path("empty").mkdir()
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(JaxrnnError, match=message):
        load_corpus(source)


def test_no_text_of_a_folder_is_left_out_because_it_cannot_be_read(folder, monkeypatch):
    (folder / "c.txt").symlink_to("nowhere")
    with pytest.raises(JaxrnnError, match=r"no such file: .*/c\.txt is a link to nowhere; correct the link"):
        load_corpus("folder")
    (folder / "c.txt").unlink()
    for name in ("closed", ".closed"):
        (folder / name).mkdir()
    scan = os.scandir

    def refusing(path):
        if Path(path).name in ("closed", ".closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(JaxrnnError, match=r"can't read .*/closed .Permission denied.; allow that"):
        load_corpus("folder")


@pytest.mark.parametrize(("suffix", "compress"), {".gz": gzip, ".bz2": bz2, ".xz": lzma}.items())
@pytest.mark.parametrize("limit", [corpus.MAX_IN_MEMORY, 100], ids=["small", "big"])
def test_a_compressed_file_is_the_text_in_it(tmp_path, monkeypatch, suffix, compress, limit):
    monkeypatch.setattr(corpus, "MAX_IN_MEMORY", limit)
    (tmp_path / f"novel.txt{suffix}").write_bytes(compress.compress(TEXT.encode()))
    loaded = load_corpus(tmp_path / f"novel.txt{suffix}")
    assert loaded.vocabulary.decode(loaded.tokens) == TEXT
    assert loaded.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (loaded.name, loaded.cache_file is None) == ("novel", limit > 100)
    (tmp_path / f"cut{suffix}").write_bytes(compress.compress(TEXT.encode())[:-9])
    (tmp_path / f"plain{suffix}").write_text(TEXT)
    for name in ("cut", "plain"):
        with pytest.raises(JaxrnnError, match=f"can't read '.*{name}"):
            load_corpus(tmp_path / f"{name}{suffix}")


def test_zstandard_is_read_by_whichever_package_is_there(tmp_path, monkeypatch):
    (tmp_path / "novel.zst").write_bytes(gzip.compress(TEXT.encode()))
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(JaxrnnError, match=r"novel.zst needs the package zstandard to be read; pip install zstandard"):
        load_corpus(tmp_path / "novel.zst")
    monkeypatch.setitem(sys.modules, "zstandard", types.SimpleNamespace(open=gzip.open))  # it opens as gzip does
    assert text_of(tmp_path / "novel.zst") == TEXT


@pytest.mark.parametrize("name", ["utf-8-sig", "cp1252", "utf-16", "utf-16-be", "utf-32", "mac-roman", "gb18030"])
@pytest.mark.parametrize("size", [4, 5, 2**18])
def test_a_text_is_read_in_its_encoding(tmp_path, monkeypatch, name, size):
    monkeypatch.setattr(files, "PIECE", size)
    (tmp_path / "text").write_bytes(TEXT.encode(name))
    loaded = load_corpus(tmp_path / "text", encoding=name)
    assert loaded.vocabulary.decode(loaded.tokens) == TEXT
    assert loaded.encoding == name
    assert "".join(read_pieces(str(tmp_path / "text"), Rules(encoding=name))) == TEXT


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("é".encode(), {"encoding": "ascii"}, "is not ASCII .byte 0xc3. at offset 0"),
        (b"ab\x81", {"encoding": "cp1252"}, "is not CP1252 .byte 0x81. at offset 2"),
        ("ab\r\n".encode("utf-16"), {"encoding": "utf-16"}, "has CRLF line ends"),
        ("\ufeffab".encode("utf-16-le"), {"encoding": "utf-16-le"}, "begins with a byte-order mark"),
        (b"\xd8\x00\x00a", {"encoding": "utf-16-be"}, "is not UTF-16-BE .byte 0xd8. at offset 0"),
        (b"ab", {"encoding": "utf-88"}, "encoding must be .*, got 'utf-88'; did you mean utf-8"),
        (b"ab", {"encoding": "rot13"}, "encoding must be"),
        (b"ab", {"vocabulary": "bytes", "normalize": ["nfc"]}, "the vocabulary is of bytes"),
        (b"ab", {"normalize": ["nfd"]}, "normalize must be a list of 'newlines' or 'nfc' or 'quotes'"),
        (b"ab", {"normalize": "nfc"}, "normalize must be a list of 'newlines' or 'nfc' or 'quotes'"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(tmp_path, data, options, message):
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(JaxrnnError, match=message):
        load_corpus(tmp_path / "text", **options)


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", [TEXT, "Все счастливые семьи похожи, каждая несчастлива.\n" * 9], ids=["Latin", "Cyrillic"]
)
def test_wide_characters_without_a_mark_are_refused_by_their_name(tmp_path, name, text):
    (tmp_path / "text").write_bytes(text.encode(name))
    with pytest.raises(JaxrnnError, match=f"is {name.upper()} by its NUL bytes.*--encoding {name}"):
        load_corpus(tmp_path / "text")
    assert text_of(tmp_path / "text", encoding=name) == text


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_wide_characters_without_a_mark_are_refused_where_the_encoding_needs_one(tmp_path, name):
    (tmp_path / "text").write_bytes(TEXT.encode(f"{name}-le"))
    with pytest.raises(JaxrnnError, match=f"is {name.upper()}-LE by its NUL bytes.*--encoding {name}-le"):
        load_corpus(tmp_path / "text", encoding=name)
    (tmp_path / "text").write_bytes(b"ab")
    with pytest.raises(JaxrnnError, match=f"is not {name.upper()} .byte 0x61. at offset 0"):
        load_corpus(tmp_path / "text", encoding=name)


@pytest.mark.parametrize(
    "data",
    [b"a\0bc\0def\0" * 20, b"\0" * 64, TEXT.encode(), b"\0" * 7 + b"ab", b"hello\0there\n" * 50],
    ids=range(5),
)
def test_a_few_nuls_are_symbols_like_others(data):
    assert wide_encoding(data) is None


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (TEXT.encode("utf-16-be"), "utf-16-le", None),  # without a mark the given order is believed
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16-le", "is UTF-16 by its byte-order mark"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16-be", "is UTF-16 by its byte-order mark"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-16-le", "is UTF-32 by its byte-order mark"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16-le", None),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "utf-32-be", None),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16", None),
        (codecs.BOM_UTF8 + b"all of it is ASCII", "cp1252", "is UTF-8 by its byte-order mark"),
        (codecs.BOM_UTF8 + b"all of it is ASCII", "gbk", "is UTF-8 by its byte-order mark"),
        (codecs.BOM_UTF8 + b"all of it is ASCII", "utf-8-sig", None),
    ],
)
def test_a_byte_order_mark_wins_over_another_encoding(tmp_path, data, encoding, message):
    (tmp_path / "text").write_bytes(data)
    if message:
        with pytest.raises(JaxrnnError, match=message):
            load_corpus(tmp_path / "text", encoding=encoding, normalize=("newlines",))
    else:
        load_corpus(tmp_path / "text", encoding=encoding, normalize=("newlines",))


def test_japanese_in_escape_sequences_is_refused_as_ascii(tmp_path):
    text = "むかしむかし、あるところに。\n" * 9
    (tmp_path / "text").write_bytes(text.encode("iso2022_jp"))
    with pytest.raises(JaxrnnError, match=r"is ISO2022_JP by its escape sequences.*--encoding iso2022_jp"):
        load_corpus(tmp_path / "text")
    assert text_of(tmp_path / "text", encoding="iso2022_jp") == text


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("cp1252", "is UTF-8 and would be read as naÃ¯ve"),
        ("gb18030", "is UTF-8 and would be read as"),
        ("utf-16-le", "is UTF-8 or ASCII, without the NUL bytes"),
        ("latin-1", "is UTF-16-LE by its NUL bytes"),
        ("utf-16", "is UTF-8 or ASCII, without the NUL bytes"),
        ("utf-16 of koi8-r", "is not UTF-16 .*at offset"),
        ("utf-8-sig", "is not UTF-8-SIG .byte 0xff. at offset 6"),
        ("idna", "is not IDNA"),
        ("undefined", "must be the name of a text encoding"),
        ("base64", "utf-8, cp1252, gbk, shift-jis and koi8-r are some"),
    ],
)
def test_a_text_that_is_in_another_encoding_than_given_is_refused(tmp_path, encoding, message):
    text = "only ASCII" * 9 if encoding == "utf-16-le" else TEXT
    data = text.encode("utf-16-le" if encoding == "latin-1" else "utf-8")
    if encoding == "utf-16 of koi8-r":
        data = ("Здесь чудеса: там леший бродит, русалка на ветвях сидит.\n" * 5).encode("koi8-r")
    if encoding == "utf-8-sig":
        data = codecs.BOM_UTF8 + b"abc\xff" + data
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(JaxrnnError, match=message):
        load_corpus(tmp_path / "text", encoding=encoding.partition(" ")[0])


def test_newlines_of_bytes_that_are_wide_characters_are_not_normalized():
    with pytest.raises(JaxrnnError, match="normalize newlines changes single bytes, of which utf-16-le has several"):
        Corpus.from_text("മലയാളം\r\n".encode("utf-16-le") * 9, encoding="utf-16-le", normalize=("newlines",))


ENCODED = {
    "cp1252": "Un café crème était déjà prêt à l\u2019âge où l\u2019été s\u2019achève.",
    "mac-roman": "Un café crème était déjà prêt, élève naïf à l'âge.",
    "cp850": "Die Straße über den Fluß, schöne Mädchen, größer.",
    "cp1250": "Zażółć gęślą jaźń, książka się źle czyta, miłość i świętość.",
    "cp1251": "Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему.",
    "koi8-r": "Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему.",
    "cp866": "Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему.",
    "cp1253": "Η καλή μέρα από το πρωί φαίνεται, λέει ο λαός.",
    "cp1254": "Bütün insanlar özgür, onur ve haklar bakımından eşit doğarlar.",
    "cp1255": "בראשית ברא אלהים את השמים ואת הארץ",
    "cp1256": "في البدء خلق الله السماوات والأرض",
    "gb18030": "话说天下大势，分久必合，合久必分。周末七国分争。他们说这是我们的国家。",
    "big5": "話說天下大勢，分久必合，合久必分。周末七國分爭。他們說這是我們的國家。",
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "cp949": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}


@pytest.mark.parametrize(("name", "text"), ENCODED.items(), ids=ENCODED)
def test_a_refusal_names_the_likeliest_encoding_with_a_word(tmp_path, name, text):
    (tmp_path / "text").write_bytes(text.encode(name))
    (likeliest, word), *_ = likely_encodings(text.encode(name))
    assert likeliest == name
    assert word in text
    with pytest.raises(JaxrnnError, match=f"is not UTF-8 .*it may be {name} .*--encoding {name}"):
        load_corpus(tmp_path / "text")


def test_a_wide_space_may_be_all_that_is_not_ascii(tmp_path):
    (tmp_path / "text").write_bytes("chapter\u3000one\n".encode("shift_jis"))
    with pytest.raises(JaxrnnError, match=r"is not UTF-8 .*it may be .*shift_jis .'chapter\\u3000one'"):
        load_corpus(tmp_path / "text")


@pytest.mark.parametrize("size", [4, 7, 2**18])
@pytest.mark.parametrize(
    "text", ["e\u0301le\u0300ve \u1100\u1161\u11a8", "日\u0301本" * 9, "a\u0323\u0307\u0301b"], ids=ascii
)
def test_nfc_composes_characters_wherever_pieces_end(tmp_path, monkeypatch, size, text):
    monkeypatch.setattr(files, "PIECE", size)
    (tmp_path / "text").write_text(text)
    assert text_of(tmp_path / "text", normalize=["nfc"]) == unicodedata.normalize("NFC", text)


def test_nfc_of_a_text_without_any_ascii_keeps_little_of_it(tmp_path, monkeypatch):
    (tmp_path / "text").write_text("\u304b\u3099日本" * 9000)
    sizes = []

    def normalize(form, text):
        sizes.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(files, "PIECE", 3000)
    monkeypatch.setattr(stream, "unicodedata", types.SimpleNamespace(normalize=normalize))
    pieces = read_pieces(str(tmp_path / "text"), Rules(normalize=("nfc",)))
    assert "".join(pieces) == "\u304c日本" * 9000
    assert max(sizes) < 1100


def test_normalizations_go_together_and_quotes_become_straight():
    text = "\ufeff\u201ccafe\u0301\u201d,\r\n\u2018so\u2019 \u201edo\u201f\u201b\u201a\r"
    loaded = Corpus.from_text(text, normalize=("newlines", "nfc", "quotes"))
    assert loaded.vocabulary.decode(loaded.tokens) == "\"café\",\n'so' \"do\"''\n"


def test_normalize_of_version_0_1_is_newlines():
    assert from_json(TrainConfig, '{"normalize": true}').normalize == ("newlines",)
    assert from_json(TrainConfig, '{"normalize": false}').normalize == ()


def stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_stdin_is_a_text_that_must_be_piped_again(monkeypatch):
    stdin(monkeypatch, TEXT.encode())
    loaded = load_corpus("-")
    assert (loaded.vocabulary.decode(loaded.tokens), loaded.source, loaded.name) == (TEXT, "-", "stdin")
    with pytest.raises(JaxrnnError, match=r"nothing is piped into it; pipe the text, again to resume or evaluate"):
        load_corpus("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(JaxrnnError, match="stdin, which is closed"):
        load_corpus("-")


CONFIG = TrainConfig(steps=4, sample_every=0, sample_length=3, sequence_length=3, model=ModelConfig(hidden_size=4))


def test_a_run_reads_its_text_again_as_it_read_it_first(folder):
    (folder / "b.txt").write_bytes("bbé\r\n".encode("cp1252") * 9)
    options = {"encoding": "cp1252", "normalize": ("newlines", "nfc"), "join": "|"}
    config = dataclasses.replace(CONFIG, corpus="folder/*.txt\nfolder/c.md", **options)
    list(fit(config, run_dir="run"))
    checkpoint = load_checkpoint("run")
    again = reload_corpus(checkpoint)
    assert again.vocabulary.decode(again.tokens) == "bbé\n" * 9 + "|cb"
    assert again.vocabulary == checkpoint.vocabulary
    config = dataclasses.replace(checkpoint.config, steps=6)
    *_, report = fit(config, run_dir="run", resume=True)
    assert report.step == 6
    with pytest.raises(JaxrnnError, match="SHA-256"):
        fit(dataclasses.replace(config, join=";"), run_dir="run", resume=True)
    with pytest.raises(JaxrnnError, match="was trained with encoding 'cp1252', not 'latin-1'"):
        fit(dataclasses.replace(config, encoding="latin-1"), run_dir="run", resume=True)
    (folder / "c.md").write_text("cc")
    with pytest.raises(JaxrnnError, match=r"no longer the text of the run .\S*/c.md differs.: its SHA-256 is"):
        reload_corpus(checkpoint)


@pytest.mark.parametrize(
    ("source", "name"),
    [("/a/b.c.txt", "b.c"), ("/b.txt.gz", "b"), ("/b.txt\n/c\n/d", "b+2"), ("/a/*/*.txt", "a"), ("-", "stdin")],
)
def test_a_corpus_has_a_short_name(source, name):
    assert corpus_name(source) == name


@pytest.mark.parametrize(("suffix", "compress"), {".gz": gzip, ".bz2": bz2, ".xz": lzma}.items())
def test_a_compressed_file_of_another_name_is_refused_with_the_name_that_it_needs(tmp_path, suffix, compress):
    path = tmp_path / "novel.txt"
    path.write_bytes(compress.compress(TEXT.encode()))
    with pytest.raises(JaxrnnError, match=f"is compressed; decompress it, or .* that ends in {suffix}"):
        load_corpus(path)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.5\n",
        b"%!PS-Adobe-3.0\n",
        b"\xef\xbb\xbf\r\n<html>",
        b'<?xml version="1.0"?>\n<!-- by: me -->\n<!DOCTYPE HTML PUBLIC>',
        "\ufeff<HTML>".encode("utf-16"),
        gzip.compress(b"text"),
    ],
    ids=["PDF", "PostScript", "HTML after a mark", "XHTML", "HTML in UTF-16", "gzip"],
)
def test_documents_and_compressed_texts_are_refused_from_stdin_too(tmp_path, monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(JaxrnnError, match=r"- is (a document or a web page; save it|compressed; decompress it)"):
        load_corpus("-", normalize=("newlines",))
    assert Corpus.from_text("%PDF-1.5 is where a file begins").name == "text-in-memory"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, bytes(range(256)) * 4], ids=["PNG", "bytes"])
def test_no_encoding_is_likely_for_what_is_no_text(data):
    assert not {name for name, _ in likely_encodings(data)} - {"utf-16-le", "utf-16-be"}

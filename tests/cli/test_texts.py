"""Texts at the command line: several files, stdin, encodings, and configurations of a Windows editor."""

import codecs
import gzip
import io
import json
import re
import sys

import pytest
from command_line import in_a_line

TRAIN = "--steps 4 --hidden-size 4 --sequence-length 5 --sample-length 5 --quiet"
TEXT = "the cat sat on the mat.\n" * 9


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"a dog ran.\n" * 9))
    return tmp_path


def test_several_files_are_trained_on_described_resumed_and_scored(folder, jaxrnn):
    code, out, err = jaxrnn(f"train a.txt b.txt.gz --join '' {TRAIN}")
    assert (code, err) == (0, "")
    assert "run: runs/a+1-1\n" in out
    code, out, _ = jaxrnn("info runs/a+1-1")
    assert code == 0
    assert f"corpus: {folder}/a.txt, {folder}/b.txt.gz, {len(TEXT) + 99} characters" in out
    assert out.count("\ntext: ") == 2
    assert "join: '', the string between the texts" in out
    assert jaxrnn("train --run-dir runs/a+1-1 --resume --steps 6 --quiet")[0] == 0
    scored = [
        json.loads(jaxrnn(f"evaluate runs/a+1-1 {text} --json")[1])["scored"] for text in ("", "*.gz", "a.txt b.txt.gz")
    ]
    assert scored == [len(TEXT) + 98, 98, len(TEXT) + 98]
    assert "a+1" in jaxrnn("runs")[1]


def test_a_text_from_stdin_is_piped_again_to_resume(folder, jaxrnn, monkeypatch):
    def pipe(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    pipe(TEXT)
    assert "run: runs/stdin-1\n" in jaxrnn(f"train - {TRAIN}")[1]
    resume = "train --run-dir runs/stdin-1 --resume --steps 6 --quiet"
    pipe("")
    code, _, err = jaxrnn(resume)
    assert code == 2
    assert "nothing is piped into it; pipe the text, again to resume" in err
    pipe(TEXT)
    assert jaxrnn(resume)[0] == 0
    assert jaxrnn("train a.txt --run-dir runs/stdin-1 --resume --steps 8 --quiet")[0] == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_configuration_is_read_in_the_encodings_of_windows(folder, jaxrnn, encoding):
    text = jaxrnn("train a.txt --hidden-size 7 --dry-run")[1]
    (folder / "config.json").write_bytes(codecs.encode(text.replace("\n", "\r\n"), encoding))
    assert json.loads(jaxrnn("train --config config.json --dry-run")[1])["model"]["hidden_size"] == 7


def test_the_encoding_of_bytes_decodes_their_samples_and_encodes_prompts(folder, jaxrnn):
    (folder / "latin").write_bytes("\u00e9\u00e8 caf\u00e9\n".encode("latin-1") * 9)
    assert jaxrnn(f"train latin --vocabulary bytes --run-dir run {TRAIN}")[0] == 0
    (folder / "prompt").write_bytes(b"\xe9")
    for prompt in ("--prompt '\u00e9'", "--prompt-file prompt"):
        values = json.loads(jaxrnn(f"sample run --encoding latin-1 --length 99 --json {prompt}")[1])
        assert values["prompt"] == "\u00e9"
        assert set(values["samples"][0]) == set("\u00e9\u00e8 caf\n")
    assert "\ufffd" in json.loads(jaxrnn("sample run --length 99 --json")[1])["samples"][0]


@pytest.mark.slow
def test_the_encoding_of_bytes_travels_with_exported_weights(folder, jaxrnn):
    (folder / "gbk").write_bytes("\u4f60\u597d\u4e16\u754c\n".encode("gbk") * 9)
    assert jaxrnn(f"train gbk --vocabulary bytes --encoding gbk --run-dir run {TRAIN}")[0] == 0
    assert jaxrnn("export run --out w.safetensors")[0] == 0
    for flags, encoding in {"": "gbk", " --encoding big5": "big5"}.items():
        assert jaxrnn(f"import w.safetensors --corpus gbk --run-dir in-{encoding}{flags}")[0] == 0
        assert json.loads((folder / f"in-{encoding}" / "config.json").read_text())["encoding"] == encoding
    prompt = "--length 60 --prompt \u4f60 --json"
    ours, theirs = (json.loads(jaxrnn(f"sample {run} {prompt}")[1])["samples"] for run in ("run", "in-gbk"))
    assert ours == theirs


@pytest.mark.slow
def test_a_text_that_has_moved_or_changed_is_told_with_what_to_do(folder, jaxrnn):
    assert jaxrnn(f"train a.txt --run-dir run {TRAIN}")[0] == 0
    (folder / "a.txt").rename(folder / "moved.txt")
    gone = r"no such file: .*a.txt"
    for command in ("train --run-dir run --resume --steps 6", "train --from-run run", "train --config run/config.json"):
        code, _, err = jaxrnn(command)
        assert (code, bool(re.search(gone + ".*takes the text as it was.*new path as CORPUS", err))) == (2, True), err
    for command in ("evaluate run", "sample run --report-copies", "evaluate run moved.txt --dynamic"):
        code, _, err = jaxrnn(command)
        assert (code, bool(re.search(rf"can't be read as it was \({gone}.*restore it", err))) == (2, True), err
    (folder / "a.txt").write_bytes((folder / "moved.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert "CRLF line ends" in (err := jaxrnn("evaluate run")[2])
    assert "restore it" in err
    assert jaxrnn("train moved.txt --run-dir run --resume --steps 6 --quiet")[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        "sample run --encoding latin-1",
        "sample run --join x",
        "evaluate run --normalize quotes --encoding x",
        "evaluate run --text a --join x",
    ],
)
def test_a_flag_by_which_nothing_is_read_is_refused(folder, jaxrnn, command):
    assert jaxrnn(f"train a.txt --run-dir run {TRAIN}")[0] == 0
    code, _, err = jaxrnn(command)
    assert code == 2
    assert re.search(r"--(\w+) says how (FILE|--prompt-file) is read; give that too, or leave --\1 out", err)


@pytest.mark.filterwarnings("default")
def test_a_new_line_that_the_shell_has_not_made_is_told(folder, jaxrnn):
    code, _, err = jaxrnn(f"train a.txt a.txt --join '\\n' --run-dir run {TRAIN}")
    assert code == 0
    assert r"--join has a backslash and a letter, as they were typed; a new line is $'\n' in a shell" in err


def test_symbols_for_bytes_are_given_by_their_bytes(folder, jaxrnn):
    command = f"train a.txt --vocabulary bytes --run-dir run {TRAIN}"
    for more in (" --symbols \u00e9", " --resume --steps 6 --symbols \u00e9"):
        assert jaxrnn(command + more)[0] == 0
    assert {"c3", "a9"} <= {*jaxrnn("info run --vocabulary")[1].replace("0x", " ").split()}
    assert jaxrnn("sample run --json --prompt \u00e9")[0] == 0
    assert " vocabulary of 15" in jaxrnn("prepare a.txt --vocabulary bytes --symbols \u0436\udcff")[1]


@pytest.mark.filterwarnings("default")
def test_a_file_that_is_read_twice_is_told(folder, jaxrnn):
    for files in ("a.txt './*.gz' b.txt.gz", f"b.txt.gz ../{folder.name}/*.gz"):
        code, _, err = jaxrnn(f"train {files} {TRAIN}")
        warning = f"jaxrnn: warning: the text has files more than once: {folder}/b.txt.gz; give each one once\n"
        assert (code, err) == (0, warning)


def test_a_compressed_text_without_a_name_is_to_be_decompressed(folder, jaxrnn, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "b.txt.gz").read_bytes())))
    assert jaxrnn(f"train - {TRAIN}")[2] == "jaxrnn: - is compressed; decompress it\n"


def test_one_of_something_is_named_in_the_singular(folder, jaxrnn):
    (folder / "one.txt").write_text("a")
    assert jaxrnn(f"train a.txt --run-dir run {TRAIN} --steps 1")[1].count("1 of 1 step,") == 1
    assert "one.txt has 1 character, 0 of them unknown" in jaxrnn("evaluate run one.txt")[2]
    assert "1 character scored (1 byte)" in jaxrnn("evaluate run --text at")[1]


def test_symbols_that_are_half_a_character_can_be_sampled(folder, jaxrnn):
    command = f"train a.txt --symbols '\ud800' --run-dir run {TRAIN}".replace("sample-length 5", "sample-length 99")
    assert jaxrnn(command)[0] == 0
    assert r"\ud800" in (folder / "run/samples.txt").read_text()


def test_a_dash_is_an_empty_list_as_the_help_shows_it(folder, jaxrnn):
    assert "quotes: straight. (default: -)" in in_a_line(jaxrnn("train --help")[1])
    (folder / "c.json").write_text('{"normalize": ["newlines"]}')
    for flags, normalize in {"": ["newlines"], " --normalize -": []}.items():
        assert json.loads(jaxrnn(f"train a.txt --config c.json --dry-run{flags}")[1])["normalize"] == normalize


def test_normalizations_are_a_list(folder, jaxrnn):
    config = json.loads(jaxrnn("train a.txt --normalize newlines,nfc,quotes --encoding cp1252 --dry-run --json")[1])
    assert (config["normalize"], config["encoding"]) == (["newlines", "nfc", "quotes"], "cp1252")
    assert jaxrnn("train a.txt --normalize nfd --dry-run")[0] == 2


@pytest.mark.filterwarnings("default")
def test_lanes_that_are_not_read_to_the_end_are_told(folder, jaxrnn):
    code, _, err = jaxrnn(f"train a.txt {TRAIN.replace('length 5', f'length {len(TEXT) // 2}', 1)}")
    assert code == 0
    assert "symbols per lane: for a step of sequence_length" in err

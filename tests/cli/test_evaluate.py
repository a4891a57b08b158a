import io
import json
import math
import os
import re
import shlex
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from command_line import PROSE, TINY, assert_refused

from jaxrnn.cli import main
from jaxrnn.config import to_json
from jaxrnn.evaluation.dynamic import dynamic_surprisals, pulled
from jaxrnn.evaluation.score import surprisals
from jaxrnn.runs import reload_corpus, slices_of
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.text import load_corpus

TRAIN = "train text.txt --config tiny.json --split 0.6,0.4 --validate-every 5 --quiet"
N = len(PROSE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory with runs that have a validation slice, documents, an unknown symbol, or none of these."""
    path = tmp_path_factory.mktemp("prepared")
    files = {
        "text.txt": PROSE,
        "tiny.json": to_json(TINY),
        "empty.txt": "",
        "single.txt": "t",
        "odd.txt": "the猫 \\ of\tand\n猫",
        "crlf.txt": "the\r\nof\r\n",
        "late.txt": 30 * "the cat " + "zoo " * 10,
    }
    (path / "empty").mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data.encode())
    (path / "latin1.txt").write_bytes("café".encode("latin-1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sys, "stdout", io.StringIO())
        for command in (
            f"{TRAIN} --run-dir run",
            f"{TRAIN} --run-dir folded --min-count 8",
            f"{TRAIN} --run-dir documents --reset-on ' '",
            "train text.txt --config tiny.json --quiet --run-dir plain",
            f"{TRAIN} --run-dir bytes --vocabulary bytes",
        ):
            assert main(shlex.split(command)) == 0
    return path


@pytest.fixture
def place(prepared, monkeypatch):
    monkeypatch.chdir(prepared)
    return prepared


def as_json(jaxrnn, command):
    code, out, err = jaxrnn(f"{command} --json")
    assert (code, err, len(out.splitlines())) == (0, "", 1)
    return json.loads(out)


@pytest.mark.parametrize(
    ("options", "name", "begin", "end"),
    [
        ("", "validation", int(0.6 * N), N),
        ("--split-name train", "train", 0, int(0.6 * N)),
        ("--lanes 3", "validation", int(0.6 * N), N),
    ],
)
def test_the_score_of_a_slice_is_given_with_its_name_in_all_units(place, jaxrnn, options, name, begin, end):
    got = as_json(jaxrnn, f"evaluate run {options}")
    checkpoint, corpus = load_checkpoint(place / "run"), load_corpus(place / "text.txt")
    nats = surprisals(checkpoint.state.params, corpus.tokens[begin:end], checkpoint.config.model)
    assert got["slice"] == {"name": name, "begin": begin, "end": end}
    assert (got["scored"], got["utf8_bytes"]) == (end - begin - 1, len(PROSE[begin + 1 : end].encode()))
    assert got["nats"] == pytest.approx(nats.sum(), rel=1e-4)
    mean = got["nats"] / got["scored"]
    assert got["nats_per_character"] == pytest.approx(mean)
    assert got["bits_per_character"] == pytest.approx(mean / math.log(2))
    assert got["bits_per_byte"] == pytest.approx(got["nats"] / math.log(2) / got["utf8_bytes"])
    assert got["perplexity"] == pytest.approx(math.exp(mean))
    code, out, _ = jaxrnn(f"evaluate run {options}")
    assert code == 0
    assert f"{name}, characters {begin:,}-{end:,}" in out
    assert f"{mean:.4f} nats/character" in out


def test_a_run_without_a_split_is_scored_whole_like_its_file(place, jaxrnn):
    whole, file = as_json(jaxrnn, "evaluate plain"), as_json(jaxrnn, "evaluate plain text.txt")
    assert whole["slice"] == {"name": "train", "begin": 0, "end": N}
    assert file["slice"] is None
    assert file["nats"] == pytest.approx(whole["nats"], rel=1e-6)
    assert file["nats"] == pytest.approx(as_json(jaxrnn, "evaluate plain text.txt --lanes 4")["nats"], rel=1e-4)


def test_documents_are_scored_as_they_were_trained(place, jaxrnn):
    whole, file = as_json(jaxrnn, "evaluate documents --split-name train"), as_json(jaxrnn, "evaluate documents")
    assert whole["nats"] != file["nats"]
    with_documents, without = (as_json(jaxrnn, f"evaluate {run} text.txt")["nats"] for run in ("documents", "run"))
    assert with_documents != without


@pytest.mark.parametrize(
    ("source", "begin"), [("text.txt", 0), ("text.txt --lanes 3", 0), ("", int(0.6 * N)), ("--lanes 3", int(0.6 * N))]
)
def test_per_character_writes_a_line_for_every_scored_character(place, tmp_path, jaxrnn, source, begin):
    path = tmp_path / "bits.tsv"
    got = as_json(jaxrnn, f"evaluate run {source} --per-character {path}")
    lines = [line.split("\t") for line in path.read_text().removesuffix("\n").split("\n")]
    assert [int(place) for place, _, _ in lines] == list(range(begin + 1, N))
    characters = [character if character.isprintable() else None for character in PROSE[begin + 1 :]]
    assert [character for _, character, _ in lines] == [c or "\\n" for c in characters]
    bits = sum(float(bits) for _, _, bits in lines)
    assert bits == pytest.approx(got["nats"] / math.log(2), rel=1e-5)
    assert list(tmp_path.iterdir()) == [path]


def test_characters_are_escaped_so_that_a_line_has_three_fields(place, tmp_path, jaxrnn):
    code, out, _ = jaxrnn(f"evaluate folded odd.txt --per-character {tmp_path}/bits.tsv")
    assert code == 0
    assert re.search(r"\ncharacters read as the unknown symbol: \d+", out)
    fields = [line.split("\t") for line in (tmp_path / "bits.tsv").read_text().removesuffix("\n").split("\n")]
    assert [character for _, character, _ in fields] == [
        *("h", "e", "猫", " ", "\\\\", " ", "o", "f", "\\t", "a", "n", "d", "\\n", "猫")
    ]


def test_bytes_are_scored_as_bytes(place, tmp_path, jaxrnn):
    got = as_json(jaxrnn, f"evaluate bytes --per-character {tmp_path}/bits.tsv")
    assert got["unit"] == "bytes"
    assert got["bits_per_byte"] == got["bits_per_character"]
    assert jaxrnn("evaluate bytes")[1].count("bits/byte") == 1
    symbols = [line.split("\t")[1] for line in (tmp_path / "bits.tsv").read_text().removesuffix("\n").split("\n")]
    begin = got["slice"]["begin"] + 1
    decoded = bytes(ord(symbol.encode("latin-1").decode("unicode_escape")) for symbol in symbols)
    assert decoded == PROSE.encode()[begin:]


def test_characters_that_the_network_does_not_know_are_left_out_and_reported(place, jaxrnn):
    code, out, _ = jaxrnn("evaluate run odd.txt")
    assert code == 0
    assert "characters left out, as the network does not know them: 4 ('猫', '\\\\', '\\t')" in out
    got = as_json(jaxrnn, "evaluate run odd.txt")
    assert (got["left_out"], got["scored"]) == (4, 10)
    assert "not know them: 1 ('\u25cc\u0301')" in jaxrnn("evaluate run --text 'the e\u0301nd'")[1]


def test_train_and_evaluate_report_symbols_that_training_never_saw(place, tmp_path, jaxrnn):
    line = "characters that never occur in train: 30 (2 distinct: 'o', 'z')"
    code, out, err = jaxrnn(f"train late.txt --config tiny.json --split 0.8,0.2 --run-dir {tmp_path}/run")
    assert code == 0
    assert line in out
    assert line in err
    assert line in jaxrnn(f"evaluate {tmp_path}/run")[1]


def test_json_counts_unseen_and_unknown_symbols(place, tmp_path, jaxrnn):
    assert jaxrnn(f"train late.txt --config tiny.json --split 0.8,0.2 --quiet --run-dir {tmp_path}/run")[0] == 0
    assert as_json(jaxrnn, f"evaluate {tmp_path}/run")["unseen"] == 30
    assert as_json(jaxrnn, f"evaluate {tmp_path}/run --split-name train")["unseen"] == 0
    assert as_json(jaxrnn, f"evaluate {tmp_path}/run late.txt")["unseen"] is None  # a file has no slices
    folded = load_corpus("text.txt", min_count=8)
    unknown = folded.vocabulary.decode(folded.tokens[int(0.6 * N) :]).count("\ufffd")
    assert as_json(jaxrnn, "evaluate folded")["unknown"] == unknown > 0
    assert f"characters read as the unknown symbol: {unknown}" in jaxrnn("evaluate folded")[1]


@pytest.mark.parametrize("lanes", ["", "--lanes 3"], ids=["one lane", "three lanes"])
def test_bits_per_byte_are_of_the_bytes_in_the_text_whatever_is_unknown(place, tmp_path, jaxrnn, lanes):
    (tmp_path / "carets").write_text("^" * 1000)
    (tmp_path / "cats").write_text("猫" * 1000)
    for name, size in (("carets", 1), ("cats", 3)):
        got = as_json(jaxrnn, f"evaluate folded {tmp_path}/{name} {lanes}")
        assert (got["unknown"], got["utf8_bytes"]) == (1000, 999 * size)
        assert got["bits_per_byte"] == pytest.approx(got["bits_per_character"] / size)
    got = as_json(jaxrnn, f"evaluate folded {lanes} --per-character {tmp_path}/bits.tsv")
    text = PROSE[int(0.6 * N) + 1 :]
    rows = [line.split("\t") for line in (tmp_path / "bits.tsv").read_text("utf-8").splitlines()]
    assert "".join(symbol for _, symbol, _ in rows) == text.replace("\n", "\\n")
    assert got["utf8_bytes"] == len(text.encode())
    bits = sum(float(bits) for *_, bits in rows)
    assert got["bits_per_byte"] == pytest.approx(bits / len(text.encode()), rel=1e-4)
    assert as_json(jaxrnn, f"evaluate folded {lanes}")["bits_per_byte"] == pytest.approx(got["bits_per_byte"])


def test_per_character_replaces_a_file_only_with_overwrite(place, tmp_path, jaxrnn):
    path = tmp_path / "text.txt"
    path.write_text(PROSE)
    assert_refused(tmp_path, jaxrnn, f"evaluate run {path} --per-character {path}", 2, "exists already; .*--overwrite")
    assert jaxrnn(f"evaluate run text.txt --per-character {path} --overwrite")[0] == 0
    assert len(path.read_text().splitlines()) == N - 1


def test_train_names_the_slices_in_its_result(place, tmp_path, jaxrnn):
    code, out, _ = jaxrnn(f"{TRAIN} --run-dir {tmp_path}/run --patience 1 --steps 500 --learning-rate 1 --batch-size 4")
    assert code == 0
    assert f"bits per character (train, characters 0-{int(0.6 * N):,})" in out
    assert f"validation, characters {int(0.6 * N):,}-{N:,}: " in out
    assert "stopped early: no better validation loss in 1 validation\n" in out


def test_checkpoints_are_chosen_by_name_or_step(place, jaxrnn):
    best = load_checkpoint(place / "run" / "checkpoints" / "best.safetensors")
    assert as_json(jaxrnn, "evaluate run --from best")["step"] == best.counters["step"]
    loss = as_json(jaxrnn, "evaluate run --from best")["nats_per_character"]
    assert loss == pytest.approx(best.counters["best_loss"], rel=1e-4)
    assert as_json(jaxrnn, "evaluate run --from 10")["step"] == 10
    assert as_json(jaxrnn, "evaluate run --from last")["step"] == 20
    assert jaxrnn("sample run --from 10 --length 50")[1] != jaxrnn("sample run --length 50")[1]
    code, out, _ = jaxrnn("info run")
    assert code == 0
    bits = f"{loss / math.log(2):.3f} bits per character"
    assert f"best.safetensors, step {best.counters['step']}, validation loss {bits}" in out


@pytest.fixture
def rising(place, tmp_path, monkeypatch):
    """The directory of two runs, "rising", whose loss has risen since step 10, and "plain", without a validation."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "run", "rising")
    shutil.copytree(place / "plain", "plain")
    shutil.copy("rising/checkpoints/step-0000000010.safetensors", "rising/checkpoints/best.safetensors")


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize(
    "command",
    [
        "sample {} --length 5",
        "evaluate {}",
        "page {}",
        "export {} --out weights.safetensors --overwrite",
        pytest.param("plot {} --kind units --text the --out units.svg", marks=pytest.mark.slow),
    ],
)
def test_commands_take_the_best_checkpoint_where_there_was_a_validation_and_say_so(jaxrnn, command):
    for run, line, name in [
        ("rising", "the best checkpoint of rising, after step 10: ", "best"),
        ("plain", "the newest checkpoint of plain, after step 20\n", "step-0000000020"),
        ("rising --from last", "", "step-0000000020"),
        ("rising --from best", "", "best"),
        ("rising/checkpoints/step-0000000010.safetensors", "", "step-0000000010"),
    ]:
        code, _, err = jaxrnn(command.format(run))
        assert code == 0
        assert err.startswith(line)
        assert err.count("\n") == bool(line)
        assert as_json(jaxrnn, command.format(run))["checkpoint"].endswith(f"{name}.safetensors")


@pytest.mark.usefixtures("rising")
@pytest.mark.filterwarnings("default")
def test_where_the_best_checkpoint_is_damaged_the_newest_is_taken_with_a_warning(jaxrnn):
    Path("rising/checkpoints/best.safetensors").write_bytes(b"damaged")
    code, out, err = jaxrnn("evaluate rising")
    assert code == 0
    assert "by the network after step 20" in out
    assert re.search(r"warning: .*best\.safetensors is damaged .*; using step-0000000020\.safetensors instead", err)
    assert "the newest checkpoint of rising, after step 20" in err


@pytest.mark.parametrize(
    ("run", "facts"),
    [
        ("run", [f"slice: train, characters 0-{int(0.6 * N)}", f"slice: validation, characters {int(0.6 * N)}-{N}"]),
        ("run", [f"bits per character (validation, characters {int(0.6 * N)}-{N})"]),
        ("plain", ["float32, products full, init normal 0.01, dropout 0.0"]),
        ("documents", ["reset on: ' '"]),
        ("folded", ["min count: 8; symbols that occur fewer times become the unknown symbol"]),
    ],
)
def test_info_describes_how_the_corpus_was_read(place, jaxrnn, run, facts):
    code, out, _ = jaxrnn(f"info {run}")
    assert code == 0
    assert all(fact in out for fact in facts), out
    assert ("reset on" in out) == (run == "documents")
    assert ("slice: " in out) == (run != "plain")


BAD = [
    ("evaluate plain --from best", "plain has no checkpoint 'best'; there is 10, 20$"),
    ("sample plain --from best", "plain has no checkpoint 'best'; there is 10, 20$"),
    ("evaluate run --from 7", "run has no checkpoint '7'; there is 10, 20, best$"),
    ("evaluate run --from newest", "a checkpoint is best, last, average or a step, got 'newest'"),
    ("evaluate run/checkpoints/best.safetensors --from best", "is not a run directory"),
    ("evaluate nowhere", "no such run: nowhere"),
    ("evaluate run nowhere.txt", "no such file: .*nowhere.txt; give a text file"),
    ("evaluate run empty", "empty has no files"),
    ("evaluate run empty.txt", "empty.txt has 0 characters.* 2 known ones are needed"),
    ("evaluate run single.txt", "single.txt has 1 character,.* 2 known ones are needed"),
    ("evaluate run empty.txt --lanes 2", "2 known ones are needed"),
    ("evaluate run empty.txt --per-character bits.tsv", "2 known ones are needed"),
    ("evaluate run latin1.txt --per-character bits.tsv", "latin1.txt is not UTF-8 .byte 0xe9. at offset 3"),
    ("evaluate run crlf.txt", "CRLF.*in line 1.*--normalize"),
    ("evaluate run text.txt --split-name train", "FILE and --split-name both say what to score; give one of them"),
    ("evaluate run text.txt --text x", "FILE and --text both say what to score; give one of them"),
    ("evaluate run --text x", "--text has 1 character,.* 2 known ones are needed"),
    ("evaluate run --reset-on x --per-document", "reset_on 'x'"),
    ("evaluate run --dynamic-rate 0.1", "--dynamic-... need --dynamic"),
    ("evaluate run --dynamic --lanes 2", "--dynamic reads in one lane"),
    ("evaluate run --dynamic --dynamic-length 0", "--dynamic-length must be from 1 to 2147483647, got 0"),
    ("evaluate run --dynamic --dynamic-rate -1", r"--dynamic-rate must be from 0 to 3.4e\+38, got -1.0"),
    ("evaluate run --dynamic --dynamic-rate 1e39", r"--dynamic-rate must be from 0 to 3.4e\+38, got 1e\+39"),
    ("evaluate run --dynamic --split-name train", "must not choose on the text that it scores; give --dynamic-rate"),
    ("sample run --dynamic", "--dynamic learns from the prompt; give a long one"),
    ("evaluate run --split-name test", "the run has no slice 'test'; it has train, validation"),
    ("evaluate run --lanes 0", "lanes must be"),
    ("evaluate run --lanes 10000", "lanes must be at most"),
    ("evaluate run --lanes x", "lanes"),
    ("evaluate", "RUN"),
    (f"{TRAIN} --split 0.9,0.2", "split must be one to three fractions that add up to 1, got 0.9,0.2"),
    (f"{TRAIN} --split 0.9;0.1", "split"),
    (
        f"{TRAIN} --split 0.5,0.25,0.125,0.125",
        "split must be one to three fractions that add up to 1, got 0.5,0.25,0.125,0.125; try",
    ),
    (f"{TRAIN} --split 1.5,-0.5", "split must be"),
    (f"{TRAIN} --split 0.98,0.02", "the slice validation.*sequence_length 5"),
    (f"{TRAIN} --split 1", "validate_every needs a validation slice"),
    ("train text.txt --config tiny.json --patience 3", "patience counts validations"),
    (f"{TRAIN} --reset-on '||'", "reset_on"),
    (f"{TRAIN} --batch-size 1000", rf"the slice train, characters 0-{int(0.6 * N)} has {int(0.6 * N)} symbols, but .*"),
    (f"{TRAIN} --min-count 100000", "make min_count smaller"),
]


@pytest.mark.parametrize(("command", "message"), BAD, ids=lambda value: ascii(value)[1:50])
def test_a_mistake_is_reported_in_at_most_two_lines_and_nothing_is_written(place, jaxrnn, command, message):
    assert_refused(place, jaxrnn, command, 2, message)


def test_a_corpus_that_has_changed_since_training_is_refused(place, tmp_path, monkeypatch, jaxrnn):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(PROSE)
    (tmp_path / "tiny.json").write_text(to_json(TINY))
    assert jaxrnn(f"{TRAIN} --run-dir run")[0] == 0
    (tmp_path / "text.txt").write_text(PROSE + "more")
    assert_refused(tmp_path, jaxrnn, "evaluate run", 2, "is no longer the text of the run: its SHA-256 is")
    assert jaxrnn("evaluate run text.txt --json")[0] == 0


def test_normalize_reads_a_file_with_crlf_line_ends(place, jaxrnn):
    got = as_json(jaxrnn, "evaluate run crlf.txt --normalize newlines")
    assert (got["scored"], got["left_out"]) == (6, 0)


TYPED = "the cat is\nin a\n\nof that is"


def nats_of(run, text):
    """The surprisals of a text that a run knows, read alone."""
    checkpoint = load_checkpoint(run)
    return surprisals(checkpoint.state.params, checkpoint.vocabulary.encode(text), checkpoint.config.model)


def test_what_is_typed_or_piped_is_scored_like_a_file(place, tmp_path, jaxrnn, monkeypatch):
    (tmp_path / "typed.txt").write_text(TYPED)
    expected = as_json(jaxrnn, f"evaluate run {tmp_path}/typed.txt")
    assert expected["nats"] == pytest.approx(nats_of("run", TYPED).sum(), rel=1e-5)
    got = as_json(jaxrnn, f"evaluate run --text {shlex.quote(TYPED)}")
    assert (got.pop("text"), got) == ("--text", {name: expected[name] for name in got if name != "text"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TYPED.encode())))
    assert as_json(jaxrnn, "evaluate run -")["nats"] == expected["nats"]
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_text, args=[TYPED])
    writer.start()
    assert as_json(jaxrnn, f"evaluate run {tmp_path}/fifo")["nats"] == expected["nats"]
    writer.join()


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_document_has_a_line_with_its_loss_alone(place, jaxrnn, lanes):
    command = f"evaluate run --text {shlex.quote(TYPED)} --reset-on '\n' --per-document --lanes {lanes}"
    got = as_json(jaxrnn, command)
    # A document is predicted from the separator alone; the first begins with a symbol that nothing predicts.
    lines = ["the cat is\n", "\nin a\n", "\n\n", "\nof that is"]
    assert [document["begin"] for document in got["documents"]] == [0, 11, 16, 17]
    for document, line in zip(got["documents"], lines, strict=True):
        assert document["symbols"] == len(line) - 1
        assert document["nats"] == pytest.approx(nats_of("run", line).sum(), rel=1e-4)
    assert got["nats"] == pytest.approx(sum(document["nats"] for document in got["documents"]))
    code, out, _ = jaxrnn(command)
    bits = got["documents"][1]["bits_per_character"]
    assert code == 0
    assert out.splitlines()[1] == f"document at 11: {bits:.4f} bits/character, 5 characters scored"


def test_a_typed_text_is_scored_as_bytes_in_the_encoding_of_the_run(place, jaxrnn):
    for encoding, size in (("utf-8", 5), ("latin-1", 4)):
        got = as_json(jaxrnn, f"evaluate bytes --encoding {encoding} --text 'caf\u00e9'")
        assert 1 + got["scored"] + got["left_out"] == size
    code, _, err = jaxrnn("evaluate bytes --encoding latin-1 --text '\u732b the'")
    assert (code, err.splitlines()[-1].endswith("has no bytes in LATIN-1; leave it out")) == (2, True)


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_documents_of_a_slice_are_those_of_the_run(place, jaxrnn, lanes):
    documents = as_json(jaxrnn, f"evaluate documents --per-document --lanes {lanes}")["documents"]
    words = PROSE[int(0.6 * N) + 1 :].split(" ")
    assert [document["symbols"] for document in documents] == [len(word) + 1 for word in words[:-1]] + [len(words[-1])]
    assert len(as_json(jaxrnn, "evaluate run --per-document")["documents"]) == 1  # it has no separator


RUNS = ["run", *(pytest.param(run, marks=pytest.mark.slow) for run in ("bytes", "documents", "folded"))]


@pytest.mark.parametrize("run", RUNS)
def test_dynamic_evaluation_learns_from_what_it_has_scored(place, tmp_path, jaxrnn, run):
    flags = "--from last --dynamic --dynamic-rule sgd --dynamic-rate 0.01 --dynamic-decay 0.001 --dynamic-length 5"
    got = as_json(jaxrnn, f"evaluate {run} {flags} --per-character {tmp_path}/bits.tsv")
    assert got["dynamic"] == {"rule": "sgd", "rate": 0.01, "decay": 0.001, "length": 5}
    checkpoint = load_checkpoint(place / run)
    corpus, config = reload_corpus(checkpoint), checkpoint.config
    part = slices_of(corpus, config)["validation"]
    starts = None if part.starts is None else part.starts[np.arange(len(part.tokens))]
    rule = pulled(0.01, 0.001)
    expected = dynamic_surprisals(checkpoint.state.params, part.tokens, config.model, rule, length=5, starts=starts)
    assert got["nats"] == pytest.approx(expected.sum(), rel=1e-4)
    lines = [line.split("\t") for line in (tmp_path / "bits.tsv").read_text().removesuffix("\n").split("\n")]
    assert [int(offset) for offset, _, _ in lines] == list(range(part.begin + 1, part.end))
    assert sum(float(bits) for _, _, bits in lines) == pytest.approx(got["nats"] / math.log(2), rel=1e-5)
    assert as_json(jaxrnn, f"evaluate {run} {flags}")["nats"] < as_json(jaxrnn, f"evaluate {run} --from last")["nats"]


def test_what_is_not_given_is_chosen_on_training_text_and_printed(place, tmp_path, jaxrnn):
    got = as_json(jaxrnn, "evaluate run --dynamic")
    assert (got["dynamic"]["rule"], got["dynamic"]["length"]) == ("rms", 16)
    (tmp_path / "other.txt").write_text("of the of the of the " * 10)
    other = as_json(jaxrnn, f"evaluate run {tmp_path}/other.txt --dynamic")
    assert other["dynamic"] == got["dynamic"]  # whatever is scored
    line = "dynamic: learned after every 16 symbols, rms, rate {rate:.4g}, decay {decay:.4g}; ".format(**got["dynamic"])
    assert f"{line}rate and decay chosen on training text\n" in jaxrnn("evaluate run --dynamic")[1]


def test_a_training_text_is_scored_with_given_numbers_and_sgd_needs_no_other_text(place, tmp_path, jaxrnn, monkeypatch):
    given = "--dynamic --dynamic-rate 0.001 --dynamic-decay 0"
    assert as_json(jaxrnn, f"evaluate run {given} --split-name train")["dynamic"]["rate"] == 0.001
    (tmp_path / "other.txt").write_text("of the of the of the " * 10)
    monkeypatch.setattr("jaxrnn.cli.dynamic.training_slice", None)
    assert as_json(jaxrnn, f"evaluate run {tmp_path}/other.txt {given} --dynamic-rule sgd")["dynamic"]["rule"] == "sgd"


@pytest.mark.parametrize("command", ["evaluate run", "sample run --prompt 'the of and to the of and to'"])
def test_a_network_that_diverges_while_it_learns_is_an_error_in_a_line(place, jaxrnn, command):
    flags = "--dynamic --dynamic-rule sgd --dynamic-rate 1e38 --dynamic-decay 0 --dynamic-length 3"
    code, out, err = jaxrnn(f"{command} {flags}")
    assert (code, out) == (4, "")
    assert err.endswith("try a smaller rate\n")


def test_a_network_adapts_to_a_prompt_before_it_writes(place, tmp_path, jaxrnn):
    (tmp_path / "prompt.txt").write_text("of of of " * 40 + "of")
    command = f"sample run --prompt-file {tmp_path}/prompt.txt --length 60 --temperature 0.5"
    flags = "--dynamic --dynamic-rule sgd --dynamic-rate 0.03 --dynamic-decay 0"
    plain, adapted = as_json(jaxrnn, command), as_json(jaxrnn, f"{command} {flags}")
    assert (plain["dynamic"], adapted["dynamic"]["rate"]) == (None, 0.03)
    assert adapted["samples"][0].count("of ") > 10 > plain["samples"][0].count("of ")

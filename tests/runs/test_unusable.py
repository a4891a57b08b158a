"""Checkpoints that can't be used: three words for three things. Only damaged ones are moved, and nothing is lost."""

import contextlib
import errno
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from small_runs import contents, run, tiny
from unusable_files import IMPOSSIBLE, OTHER, changed, text, unusable_files

from jaxrnn import cli
from jaxrnn.cli import main
from jaxrnn.errors import DamagedError, JaxrnnError, UnreadableError, UnusableError
from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path

pytestmark = pytest.mark.filterwarnings("default")


IN_TENSORS = {  # what `runs` does not see: it reads the headers
    *("another step than the state's", "an unknown symbol that is none", "an unsorted vocabulary"),
    *("a vocabulary twice the same", "a symbol beyond Unicode", "a vocabulary too small", "no symbols"),
    "symbols twice",
    *("a key of another implementation", "a key of another size", "a leaf renamed by optax", "a leaf less"),
    *("a leaf more", "half precision", "another cell", "more layers", "a bit flipped"),
}


def refuse(code):
    return lambda: OSError(code, os.strerror(code))


FAULTS = {
    "no permission": refuse(errno.EACCES),
    "a bad disk": refuse(errno.EIO),
    "too many open files": refuse(errno.EMFILE),
    "too many open files in the system": refuse(errno.ENFILE),
    "a server that restarted": refuse(errno.ESTALE),
    "no memory": MemoryError,
}


def jaxrnn(*command):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(list(command))
    return code, out.getvalue(), err.getvalue()


def test_a_folder_that_may_be_listed_but_not_entered_is_not_readable_now(home, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "checkpoints" and access(path, mode))
    message = "run/checkpoints can't be read now (Permission denied)"
    assert f"unreadable: run: {message}" in jaxrnn("runs", "run")[1]
    for command in (["sample", "run"], ["info", "run"], ["info", "run", "--repair"], ["sample", "run", "--from", "24"]):
        assert jaxrnn(*command)[::2] == (3, f"jaxrnn: {message}\n")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The text, and a run that ended after 24 steps."""
    place = tmp_path_factory.mktemp("good")
    with contextlib.chdir(place):
        Path("text.txt").write_text("the cat sat on the mat.\n" * 9)
        run(tiny(place / "text.txt", keep=1, prompt="the"), place / "run")
    return place


@pytest.fixture
def home(good, tmp_path, monkeypatch):
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_of_fifty_kinds_of_files_only_the_damaged_ones_are_moved(home, monkeypatch):
    folder = home / "run" / "checkpoints"
    data = checkpoint_path(folder, 24).read_bytes()
    state = load_checkpoint(checkpoint_path(folder, 24))
    other_key = state.state._replace(key=jax.random.key(3, impl="rbg"))
    facts = state.config, state.vocabulary
    kinds = {
        **unusable_files(data),
        "a key of rbg": ("good", lambda path: save_checkpoint(path, other_key, *facts, corpus=state.corpus)),
        "a link to a good one": ("good", lambda path: path.symlink_to("step-0000000024.safetensors")),
        "best without a validation": ("good", lambda path: path.write_bytes(data)),
        **dict.fromkeys(FAULTS, ("unreadable", lambda path: path.write_bytes(data))),
    }
    paths = {kind: checkpoint_path(folder, 1000 + number) for number, kind in enumerate(kinds)}
    paths["best without a validation"] = checkpoint_path(folder, "best")
    for kind, (_, put) in kinds.items():
        put(paths[kind])
    faults, opened = {str(paths[kind]): error for kind, error in FAULTS.items()}, io.open

    def fail(path, *arguments, **options):
        if str(home / path) in faults if isinstance(path, str | os.PathLike) else False:
            raise faults[str(home / path)]()
        return opened(path, *arguments, **options)

    before = {path.name: os.lstat(path) for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", fail)
        code, out, err = jaxrnn("info", "run", "--json")
        assert code == 0, err
        states = {Path(file["path"]).name: file["state"] for file in json.loads(out)["files"]}
        words = {kind: states[path.name] for kind, path in paths.items()}
        assert code == 0
        assert words == {kind: word for kind, (word, _) in kinds.items()}
        problem = json.loads(jaxrnn("runs", "run", "--json")[1])[0]["problem"]
        listed = {kind for kind, path in paths.items() if path.name in problem}
        assert listed == {kind for kind, word in words.items() if word != "good"} - IN_TENSORS
        code, _, err = jaxrnn("info", "run", "--repair")
    assert code == 0
    moved = {kind for kind, path in paths.items() if not os.path.lexists(path)}
    assert moved == {kind for kind, word in words.items() if word == "damaged"}
    for line in err.splitlines():
        if undo := re.search(r"undo: mv (\S+) (\S+)$", line):
            Path(undo[1]).rename(undo[2])
    after = {path.name: os.lstat(path) for path in folder.iterdir() if path.name != "damaged"}
    assert after.keys() == before.keys()
    assert all(
        (after[name].st_ino, after[name].st_size) == (before[name].st_ino, before[name].st_size) for name in before
    )


COMMANDS = (
    *("info run", "info run --json", "sample run --length 5", "evaluate run", "page run --out p.html"),
    *("export run --out e.safetensors", "train --resume --run-dir run --steps 26 --quiet"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "change"), [*IMPOSSIBLE.items(), *OTHER.items()], ids=[*IMPOSSIBLE.keys(), *OTHER.keys()]
)
def test_every_command_says_in_a_line_why_a_checkpoint_cannot_be_used(home, kind, change):
    path = checkpoint_path(home / "run" / "checkpoints", 24)
    path.write_bytes(changed(path.read_bytes(), change))
    word = "damaged" if kind in IMPOSSIBLE else "of another version|of another program|of the implementation"
    before = contents(home)
    for command in COMMANDS:
        code, _, err = jaxrnn(*command.split())
        assert (code, len(err.splitlines())) == (3, 1), (command, err)
        assert re.match(rf"jaxrnn: .*step-0000000024.* (is|has|can't) .*({word})|jaxrnn: .*{word}", err), (command, err)
    assert contents(home) == before
    for command in ("runs run", "runs run --json", "compare run run", "plot run --out p.svg"):  # of the metrics
        code, _, err = jaxrnn(*command.split())
        assert (code, err) == (0, ""), (command, err)


HOSTILE = ["1e400", "-1", "NaN", "1" + "0" * 400, "9" * 5000, "1.5", '"x"', "null", "true", "[]", "{}", "[" * 9999]


def hostile(value, path=()):
    """Yield every field in a JSON value with a hostile value in its place, as JSON."""
    for text_ in HOSTILE:
        yield f"{'.'.join(path)} = {text_[:9]}", text_
    if isinstance(value, dict):
        for name, inner in value.items():
            rest = {key: item for key, item in value.items() if key != name}
            yield f"no {'.'.join((*path, name))}", json.dumps(rest)
            for what, text_ in hostile(inner, (*path, name)):
                yield what, json.dumps({**rest, name: "HERE"}).replace('"HERE"', text_)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config", "vocabulary", "corpus", "counters", "computed_by"])
def test_no_metadata_whatever_end_a_command_in_a_traceback(home, name, monkeypatch):
    # Parsing them would take most of the time.
    parsed = {line: cli.parse(line.split()) for line in ("info run --json", "runs run --json", "sample run --length 5")}
    monkeypatch.setattr(cli, "parse", lambda words: parsed[" ".join(words)])
    path = checkpoint_path(home / "run" / "checkpoints", 24)
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    wrong = {}
    for what, value in hostile(json.loads(metadata[name])):
        path.write_bytes(changed(data, text(name, value)))
        for command in parsed:
            code, _, err = jaxrnn(*command.split())
            if code not in (0, 2, 3) or "bug" in err or len(err.splitlines()) > 2:
                wrong[what, command] = code, err
    assert not wrong


@pytest.mark.parametrize(
    ("error", "match"),
    [(DamagedError, "is damaged"), (UnusableError, "another version"), (UnreadableError, "can't be read now")],
    ids=["damaged", "unusable", "unreadable"],
)
def test_a_run_resumes_past_a_damaged_checkpoint_and_past_no_other(home, error, match):
    config = tiny(home / "text.txt", prompt="the", steps=36)
    run(config, home / "run", resume=True)
    newest = checkpoint_path(home / "run" / "checkpoints", 36)
    if error is UnreadableError:
        newest.unlink()
        newest.symlink_to(home / "nothing")
    else:
        data = newest.read_bytes()
        newest.write_bytes(data[:-1] if error is DamagedError else changed(data, OTHER["a newer format"]))
    before = contents(home)
    if error is DamagedError:
        with pytest.warns(UserWarning, match=match):
            assert run(config, home / "run", resume=True)[-1].step == 36
        return
    with pytest.raises(error, match=rf"{match}.*move it elsewhere to use an older one"):
        fit(config, run_dir=home / "run", resume=True)
    assert contents(home) == before
    with pytest.warns(UserWarning, match=match):  # who only reads takes the one before
        assert load_checkpoint(home / "run").counters["step"] == 24


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("default", ["threefry2x32", "rbg"])
def test_a_key_of_any_implementation_comes_back_under_any_default(home, impl, default):
    here = load_checkpoint(home / "run")
    state = here.state._replace(key=jax.random.key(7, impl=impl))
    save_checkpoint("x", state, here.config, here.vocabulary, corpus=here.corpus)
    with jax.default_prng_impl(default):
        key = load_checkpoint("x").state.key
    assert key.dtype == state.key.dtype
    assert jax.random.key_data(key).tolist() == jax.random.key_data(state.key).tolist()


def test_a_run_whose_key_is_of_another_implementation_resumes(home):
    here = load_checkpoint(home / "run")
    state = here.state._replace(key=jax.random.key(7, impl="rbg"))
    save_checkpoint(here.file, state, here.config, here.vocabulary, corpus=here.corpus, counters=here.counters)
    last = run(replace(here.config, steps=28), home / "run", resume=True)[-1]
    assert (last.step, last.state.key.dtype) == (28, state.key.dtype)


def test_every_link_among_the_checkpoints_may_lead_nowhere(home):
    for path in [checkpoint_path(home / "run" / "checkpoints", which) for which in (24, 30, "best")]:
        path.unlink(missing_ok=True)
        path.symlink_to(home / "nothing")
    for command in ("sample run", "sample run --from 30", "sample run --from best", "info run"):
        code, _, err = jaxrnn(*command.split())
        assert code == 3
        assert "can't be read now (No such file" in err
    with pytest.raises(JaxrnnError, match="can't be read now"):
        load_checkpoint(home / "run")

"""Many faults: `python tests/stress.py [--full] [--only NAME]` prints for each how often it was tried and held.

A run of a tiny model, whose final state is known, is cut, starved, damaged and lied to; each fault returns how often it
was tried and what did not hold. The short form is a test; the full one takes an hour on two cores.

The full form, with `python tests/stress_corpus.py --full`, two parts at a time on two cores of an AMD EPYC, Linux,
Python 3.11, jax 0.10.2, 27 November 2026. Real processes are killed and signaled; a fork server that has imported all
forks them.

    | fault                                                                              |   tries |    held | seconds |
    | ---------------------------------------------------------------------------------- | ------- | ------- | ------- |
    | SIGKILL at a random moment of training: resumed, state and logs are exact          |   1,000 |   1,000 |     771 |
    | SIGTERM or SIGINT at a random moment: saved, exit code 143 or 130; resumes exactly |     400 |     400 |     368 |
    | SIGHUP at a random moment: saved, exit code 129; resumes exactly                   |     200 |     200 |     231 |
    | Ctrl-C in the first second of a command: exit code 130, no traceback               |     400 |     400 |     291 |
    | the reader of stdout goes at a random moment: training ends as if nobody read      |     100 |     100 |      58 |
    | two processes on one run directory: exactly one trains                             |     100 |     100 |      66 |
    | two processes look at a run again and again: its training starts all the same      |   1,000 |   1,000 |     360 |
    | resume at every step of a 60-step run, 4 chunk lengths: equal hashes               |     240 |     240 |     132 |
    | failure at every open, write, fsync, rename, unlink of a saving run: it resumes    |      92 |      92 |      26 |
    | disk full at every write size of a save: clear error, checkpoint untouched         |   4,636 |   4,636 |      10 |
    | bit flips, truncations, zeroed ranges of the newest checkpoint: noticed            |  11,500 |  11,500 |      50 |
    | hostile checkpoint files: refused, memory bounded                                  |      20 |      20 |       0 |
    | a file of each unusable kind among healthy ones: `info --repair` moves the damaged |      56 |      56 |       1 |
    | NaN or infinity after each step of a run: exit code 4, no such checkpoint          |     118 |     118 |      49 |
    | random command lines: documented exit codes only, no traceback                     |  10,000 |  10,000 |     298 |
    | random COLUMNS, encodings and streams: documented codes, no traceback, no hang     |  10,000 |  10,000 |     753 |
    | random texts (bytes, broken UTF-8, NUL, BOM, CRLF): read as they are or refused    | 100,000 | 100,000 |     261 |
    | named texts (a 100 MB line, FIFO, device, all of Unicode, ...): memory bounded     |       8 |       8 |       3 |
    | a corpus of 10 GB under a memory limit: 16 MB above the baseline, 145 MB/s/core    |       1 |       1 |     132 |
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
import warnings
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import safetensors.numpy
from jax.experimental.compilation_cache import compilation_cache
from unusable_files import unusable_files

import jaxrnn.cli
from jaxrnn.__main__ import main as program
from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.errors import CheckpointError, JaxrnnError, NonFiniteError
from jaxrnn.runs import checkpoint as checkpoints
from jaxrnn.runs import fit
from jaxrnn.runs.checkpoint import load_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path, list_checkpoints

EXIT_CODES = {0, 1, 2, 3, 4}
WORDS = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it"]
INTERVALS = {"log_every": 7, "sample_every": 20, "sample_length": 5, "checkpoint_every": 5, "chunk_length": 1}


def config(text, **changes):
    values = {"corpus": str(text), "model": ModelConfig(hidden_size=4), "sequence_length": 3, "steps": 60, **INTERVALS}
    return TrainConfig(**{**values, **changes})


def state_hash(state):
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


def logs(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "seconds": 0} for line in lines], (run / "samples.txt").read_bytes()


class Whole:
    """The uninterrupted run, and the directory in which everything else happens too."""

    def __init__(self, place):
        self.place, self.text, self.stderr = place, place / "text.txt", place / "stderr"
        self.text.write_text(" ".join([*WORDS, *np.random.default_rng(0).choice(WORDS, 20)]) + "\n")
        (place / "config.json").write_text(to_json(config(self.text)))
        self.run, self.random = place / "whole", random.Random(0)
        self.hash = self.train(self.run)
        self.logs = logs(self.run)

    def train(self, run, *, resume=False, until=None, crash=False, **changes):
        reports = fit(config(self.text, **changes), run_dir=run, resume=resume, overwrite=not resume)
        for report in reports:
            if report.step == until:
                if crash:  # as a power cut: nothing is saved
                    with contextlib.suppress(SystemExit):
                        reports.throw(SystemExit)
                break
        reports.close()
        return state_hash(report.state)

    def fresh(self):
        """Return a directory that does not exist."""
        path = self.place / "run"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def copy(self):
        return shutil.copytree(self.run, self.fresh())

    def process(self, run, stdout=os.devnull):
        """Start `jaxrnn train` in another process, with its stderr in a file."""
        arguments = ["train", "--run-dir", str(run), "--config", str(self.place / "config.json")]
        running = PROCESSES.Process(target=_command, args=(arguments, str(stdout), str(self.stderr)))
        running.start()
        return running

    def finished_as_if_uninterrupted(self, run):
        return self.train(run, resume=(run / "config.json").exists()) == self.hash and logs(run) == self.logs


def _command(arguments, stdout, stderr):
    """Run a command, in a process that has imported all modules, which takes a second."""
    os.dup2(os.open(stdout, os.O_WRONLY), 1)
    # The stream before may have been seekable, as a pipe is not.
    sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.argv = ["jaxrnn", *arguments]
    sys.exit(program())


PROCESSES = multiprocessing.get_context("forkserver")
# None of them starts a thread.
PROCESSES.set_forkserver_preload(["__main__", "jaxrnn.cli", "jaxrnn.runs", "jaxrnn.sampling.generate"])


def _until_there(run, running):
    while not run.exists() and running.is_alive():
        time.sleep(0.001)
    return time.monotonic()


def _signals(whole, tries, numbers, codes):
    """Send a signal at a random moment between the making of the run directory and the end of the run."""
    failed, tried, seconds = [], 0, 1.0  # about how long a run takes: how busy the machine is changes
    while tried < tries:
        run, number = whole.fresh(), numbers[tried % len(numbers)]
        whole.stderr.write_bytes(b"")
        running = whole.process(run)
        began = _until_there(run, running)
        running.join(whole.random.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):  # it may end between these two lines
            if running.exitcode is None:
                os.kill(running.pid, number)
        running.join()
        if running.exitcode == 0:  # it was over before
            seconds = (seconds + time.monotonic() - began) / 2
            continue
        seconds *= 1.05
        tried += 1
        err = whole.stderr.read_text()
        fine = running.exitcode == codes[number] and "Traceback" not in err
        if number != signal.SIGKILL:  # saved, not only resumable
            fine = fine and bool(list_checkpoints(run / "checkpoints"))
        if not fine or not whole.finished_as_if_uninterrupted(run):
            failed.append((number.name, running.exitcode, err[-200:]))
        if tried % 100 == 0:
            print(f"{tried} tries, {tried - len(failed)} held", file=sys.stderr)
    return tries, failed


def kill(whole, full):
    """SIGKILL at a random moment, then resume: final state and logs are those of the uninterrupted run."""
    return _signals(whole, 1000 if full else 1, [signal.SIGKILL], {signal.SIGKILL: -9})


def stop(whole, full):
    """SIGTERM or SIGINT at a random moment: saved, exit code 143 or 130, resumes exactly."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    return _signals(whole, 400 if full else 2, numbers, {signal.SIGTERM: 143, signal.SIGINT: 130})


def hang_up(whole, full):
    """SIGHUP at a random moment: saved, exit code 129, resumes exactly."""
    return _signals(whole, 200 if full else 1, [signal.SIGHUP], {signal.SIGHUP: 129})


def pipe(whole, full):
    """The reader of stdout goes at a random moment: the training ends as if nobody had read."""
    tries, failed, pipe = 100 if full else 2, [], whole.place / "pipe"
    os.mkfifo(pipe)
    for _ in range(tries):
        run, reader = whole.fresh(), os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        whole.stderr.write_bytes(b"")
        running = whole.process(run, stdout=pipe)
        _until_there(run, running)
        running.join(whole.random.uniform(0, 0.6))
        os.close(reader)
        running.join()
        err = whole.stderr.read_text()
        fine = running.exitcode == 0 and "Traceback" not in err and err.count("stdout is closed") <= 1
        if not fine or state_hash(load_checkpoint(run).state) != whole.hash or logs(run) != whole.logs:
            failed.append((running.exitcode, err[-200:]))
    pipe.unlink()
    return tries, failed


def ctrl_c(whole, full):
    """Ctrl-C in the first second of a command: exit code 130, no traceback."""
    tries, failed, run = 400 if full else 3, [], str(whole.copy())
    commands = [
        ["train", str(whole.text), "--run-dir", str(whole.place / "new"), "--overwrite", "--steps", "2000000000"],
        ["sample", run, "--length", "999999999"],
        ["evaluate", run],
    ]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # else a child of a background job ignores it
    tried = 0
    while tried < tries:
        command = commands[tried % len(commands)]
        running = subprocess.Popen(
            [sys.executable, "-m", "jaxrnn", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(whole.random.uniform(0, 1))
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
        if running.returncode in (1, -signal.SIGINT) and f"{os.sep}jaxrnn{os.sep}" not in err:
            continue  # Python itself was starting, and had run no line of ours
        tried += 1
        if running.returncode not in ({0, 130} if command[0] == "evaluate" else {130}) or "Traceback" in err:
            failed.append((command[0], running.returncode, err[-300:]))
        if tried % 100 == 0:
            print(f"{tried} tries, {tried - len(failed)} held", file=sys.stderr)
    signal.signal(signal.SIGINT, before)
    return tries, failed


def two(whole, full):
    """Two processes start in one directory at once: exactly one trains, the other says why it does not."""
    tries, failed = 100 if full else 1, []
    for _ in range(tries):
        both = [whole.process(run) for run in [whole.fresh()] * 2]
        for running in both:
            running.join()
        codes = sorted(running.exitcode for running in both)
        if codes != [0, 2] or state_hash(load_checkpoint(whole.place / "run").state) != whole.hash:
            failed.append((codes, whole.stderr.read_text()[-300:]))
    return tries, failed


SELDOM = {"log_every": 1000, "sample_every": 0, "checkpoint_every": 0}  # so that a chunk is as long as it may be


def resume(whole, full):
    """Interrupt after every step, for four chunk lengths, alternately by leaving the loop and by a crash."""
    tries, failed = 0, []
    for length in (1, 2, 5, 100) if full else (1, 100):
        for step in range(60) if full else (3, 59):
            tries += 1
            run = whole.fresh()
            whole.train(run, until=step, crash=bool(step % 2), log_every=1)
            if whole.train(run, resume=True, chunk_length=length, **(SELDOM if step % 3 else {})) != whole.hash:
                failed.append((length, step))
    return tries, failed


SYSCALLS = ("open", "os.open", "write", "fsync", "replace", "unlink")


def injected(whole, full):
    """Fail before, during or after the n-th open, write, fsync, rename or unlink of a run, for every n."""
    tries, failed = 0, []
    for name in SYSCALLS:
        for after in (False, True):
            count = 0
            while True:
                run = whole.copy()
                for path in list_checkpoints(run / "checkpoints")[:1]:
                    path.unlink()
                hit = _with_failure(name, count, after, lambda run=run: whole.train(run, resume=True, keep=1))
                if not hit:
                    break
                tries += 1
                with warnings.catch_warnings(record=True):
                    try:
                        load_checkpoint(run)
                        fine = whole.finished_as_if_uninterrupted(run)
                    except JaxrnnError:
                        fine = False
                if not fine:
                    failed.append((name, after, count))
                count += 1 if full else 7
    return tries, failed


class _Writer:
    """A file one of whose writes fails, half-way or after it was done."""

    def __init__(self, file, due, fail, after):
        self._file, self._due, self._fail, self._after = file, due, fail, after

    def write(self, data):
        if not self._due():
            return self._file.write(data)
        self._file.write(data if self._after else data[: len(data) // 2])
        return self._fail()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _with_failure(name, count, after, work):
    """Do the work with its count-th call of `name` failing; return whether it came so far."""
    seen = [-1]

    def due():
        seen[0] += 1
        return seen[0] == count

    def fail():
        raise OSError(28, "No space left on device")

    def failing(original):
        def call(*args, **kwargs):
            if isinstance(args[0], (str, Path)) and "/run" not in str(args[0]):
                return original(*args, **kwargs)
            if name == "write":
                return _Writer(original(*args, **kwargs), due, fail, after)
            if not due():
                return original(*args, **kwargs)
            if after:
                original(*args, **kwargs)
            return fail()

        return call

    owners = {"write": (Path, "open"), "fsync": (os, "fsync"), "os.open": (os, "open")}
    owner, attribute = owners.get(name, (Path, name))
    original = getattr(owner, attribute)
    setattr(owner, attribute, failing(original))
    try:
        with warnings.catch_warnings(), contextlib.suppress(JaxrnnError):
            warnings.simplefilter("ignore")
            work()
    finally:
        setattr(owner, attribute, original)
    return seen[0] >= count


def full_disk(whole, full):
    """The disk is full at every size of a write: a clear error, the last checkpoint intact, the run resumable."""
    run = whole.copy()
    size = list_checkpoints(run / "checkpoints")[0].stat().st_size
    tries, failed = 0, []
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    state, path = load_checkpoint(whole.run), checkpoint_path(run / "checkpoints", 60)
    good = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    for room in range(0, size, 1 if full else size // 3):
        tries += 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            checkpoints.save_checkpoint(
                path, state.state, state.config, state.vocabulary, corpus=state.corpus, counters=state.counters
            )
            failed.append((room, "no error"))
        except JaxrnnError as error:
            if error.exit_code != 1:
                failed.append((room, str(error)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        if {file.name: file.read_bytes() for file in path.parent.iterdir()} != good:
            failed.append((room, "not intact"))
    signal.signal(signal.SIGXFSZ, before)
    if not whole.finished_as_if_uninterrupted(run):
        failed.append("not resumable")
    return tries, failed


def damage(whole, full):
    """Flip a bit, truncate, or zero a range of the newest checkpoint: noticed, and the one before is used."""
    run, draw, failed = whole.copy(), whole.random, []
    path, older = list_checkpoints(run / "checkpoints")[:2]
    good, before = path.read_bytes(), state_hash(load_checkpoint(older).state)
    counts = {"flip": 10_000, "cut": 1000, "zero": 500} if full else {"flip": 40, "cut": 10, "zero": 10}
    for kind, count in counts.items():
        for _ in range(count):
            data, place = bytearray(good), draw.randrange(len(good))
            if kind == "flip":
                data[place] ^= 1 << draw.randrange(8)
            elif kind == "cut":
                del data[place:]
            else:
                while not any(data[place : place + 64]):
                    place = draw.randrange(len(good))
                data[place : place + 64] = bytes(len(data[place : place + 64]))
            path.write_bytes(data)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                used = load_checkpoint(run)
            if len(caught) != 1 or path.name not in str(caught[0].message) or state_hash(used.state) != before:
                failed.append((kind, place, [str(warning.message) for warning in caught]))
    return sum(counts.values()), failed


def hostile(whole, full):
    """Hostile files are refused, with little memory."""
    path = whole.copy() / "checkpoints" / "step-0000000060.safetensors"
    good = path.read_bytes()
    length = struct.unpack("<Q", good[:8])[0]
    header, body = json.loads(good[8 : 8 + length]), good[8 + length :]
    name = "params.Why"

    def rebuilt(change):
        changed = json.loads(json.dumps(header))
        change(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + body

    def tensor(**values):
        return rebuilt(lambda changed: changed[name].update(values))

    def metadata(field, value):
        return rebuilt(lambda changed: changed["__metadata__"].update({field: value}))

    vocabulary = json.loads(header["__metadata__"]["vocabulary"])
    settings = json.loads(header["__metadata__"]["config"])
    deep = json.dumps({**settings, "model": {**settings["model"], "num_layers": 10**9}})
    kinds = {
        "huge header": struct.pack("<Q", 2**63) + good[8:],
        "header of 2 MB": struct.pack("<Q", 2**21) + b" " * 2**21,
        "header of nests": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "zip": b"PK\x03\x04" + bytes(1000),
        "object dtype": tensor(dtype="O"),
        "wrong shape": tensor(shape=[2, 2]),
        "shape of 2**60": tensor(shape=[2**60]),
        "negative shape": tensor(shape=[-1, -4]),
        "overlapping": tensor(data_offsets=[0, 16]),
        "beyond the end": tensor(data_offsets=[10**15, 10**15 + 16]),
        "a path as a name": rebuilt(lambda changed: changed.update({"../../x": changed.pop(name)})),
        "metadata no strings": metadata("counters", 1),
        "path in the counters": metadata("counters", '{"../x": "../../y", "step": 60}'),
        "path as corpus": metadata("corpus", '{"source": ["../../x"], "sha256": "", "length": 1}'),
        "counters infinite": metadata("counters", '{"step": 1e999}'),
        "vocabulary no string": metadata("vocabulary", json.dumps({**vocabulary, "symbols": [1, 2]})),
        "other vocabulary": metadata("vocabulary", json.dumps({**vocabulary, "symbols": "ab"})),
        "a billion layers": metadata("config", deep),
        "config of nests": metadata("config", "[" * 100_000),
    }
    failed, peak = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, data in kinds.items():
        if kind.startswith(("a path", "path", "counters", "vocab", "other", "a billion", "config")):
            data = _signed(data)  # its SHA-256 is right: it is the contents that are refused
        path.write_bytes(data)
        try:
            load_checkpoint(path)
            failed.append((kind, "accepted"))
        except CheckpointError:
            pass
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > 64 * 1024:
        failed.append("memory")
    return len(kinds), failed


def _signed(data):
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    tensors = safetensors.numpy.load(data)
    header["__metadata__"]["sha256"] = checkpoints._digest(tensors, header["__metadata__"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def repair(whole, full):
    """A file of each kind that can't be used, among healthy ones: `info --repair` moves it if it is damaged."""
    kinds = list(unusable_files(checkpoint_path(whole.run / "checkpoints", 60).read_bytes()).items())
    failed, tried = [], kinds if full else kinds[::10]
    for kind, (word, put) in tried:
        folder = whole.copy() / "checkpoints"
        path = checkpoint_path(folder, 1000)
        put(path)
        before = {file.name: file.lstat().st_ino for file in folder.iterdir()}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
            code = main(["info", str(folder.parent), "--repair"])
        if word == "damaged":
            del before[path.name]
        after = {file.name: file.lstat().st_ino for file in folder.iterdir() if file.name != "damaged"}
        if code != 0 or after != before:
            failed.append((kind, code, err.getvalue()[-300:]))
    return len(tried), failed


def readers(whole, full):
    """Processes that go on listing a run: they never keep a training from starting, and always get their list."""
    tries, failed, run = 1000 if full else 10, [], whole.copy()
    done, looks = PROCESSES.Event(), PROCESSES.Queue()
    others = [PROCESSES.Process(target=_look, args=(str(run), done, looks)) for _ in range(2)]
    for other in others:
        other.start()
    for number in range(tries):
        try:
            whole.train(run, resume=True, steps=61 + number)
        except JaxrnnError as error:
            failed.append(str(error))
    done.set()
    wrong = [looks.get() for _ in others]
    for other in others:
        other.join()
    return tries, [*failed, *itertools.chain(*wrong)]


def _look(run, done, looks):
    wrong, count = [], 0
    while not done.is_set() or not count:
        count += 1
        for command in (["runs", run, "--json"], ["compare", run, run]):
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                code = main(command)
            if code or err.getvalue() or (command[0] == "runs" and json.loads(out.getvalue())[0]["problem"]):
                wrong.append((command[0], code, out.getvalue()[:300], err.getvalue()[:300]))
    looks.put(wrong)


COMMANDS = ("train", "sample", "evaluate", "info", "plot", "page", "export", "import", "prepare")


def _random_commands(whole):
    """Yield random command lines, most of them wrong, on a run and a text of which they may write copies."""
    draw, run, text = whole.random, str(whole.copy()), shutil.copy(whole.text, whole.place / "copy.txt")
    words = [
        *COMMANDS,
        *("--help", "--version", "--json", "--repair", "--resume", "--debug", "--per-character", "--lanes", "--kind"),
        *("--overwrite", "--quiet", "--preset", "quick", "--steps", "--seed", "--length", "--keep", "--patience"),
        *("-1", "0", "1", "nan", "1e999", "9" * 50, "", "é", "\udcff", "\0", "-", "--", "/dev/null", ".", "..", run),
        *("--run-dir", "--config", "--prompt", "--from", "best", "--out", "--cell", "x.py:Y", str(text)),
    ]
    while True:
        first = draw.choice([[run], [str(text)], [], []])
        command = [draw.choice(COMMANDS), *first, *draw.choices(words, k=draw.randrange(5))]
        if command[0] == "train":
            command.append("--dry-run")  # what is trained is tried elsewhere
        if command[0] == "sample":
            command += ["--length", "9"]  # else a number of fifty digits may be taken at its word
        yield command


def command_line(whole, full):
    """Random command lines, in this process: only documented exit codes and no traceback."""
    tries, failed = 10_000 if full else 60, []
    for command in itertools.islice(_random_commands(whole), tries):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(whole.place):
            try:
                code = main(command)
            except BaseException as error:
                code = repr(error)
        said = err.getvalue()
        traceback = "Traceback" in said and "--debug" not in command
        if code not in EXIT_CODES or traceback or "this is a bug" in said:
            failed.append((command, code, said[-300:]))
    return tries, failed


GOOD_COMMANDS = (
    *("--help", "--version", "train --help", "sample --help", "presets", "completion bash", "runs .", "runs . --json"),
    *("info run", "info run --json", "info run --vocabulary", "compare run run", "train - --dry-run", "é"),
    *("train copy.txt --dry-run", "train é.txt", "evaluate run -", "evaluate run --text the", "sample run --length 9"),
    *("sample run --prompt-file - --length 9", "sample run --prompt é --length 9", "sample run --interactive"),
)
ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis", "utf-16", "utf-7", "utf-8-sig")
STREAMS = ("closed", "terminal", "pipe", "full", "file", "null")
DEADLINE = 60.0  # seconds


def streams(whole, full):
    """Commands under random COLUMNS, encodings and streams: documented exit codes, no traceback, no hang."""
    tries, draw, others = 10_000 if full else 40, whole.random, _random_commands(whole)
    errors, widths = ["", ":strict", ":replace", ":surrogateescape"], ["", "-5", "x", "9" * 20, "40", "80", "1000"]
    cases = []
    for number in range(tries):
        command = next(others) if number % 4 else draw.choice(GOOD_COMMANDS).split()
        encodings = [draw.choice(ENCODINGS) + draw.choice(errors) for _ in range(3)]
        kinds = [draw.choice(["closed", "file", "null"]), draw.choice(STREAMS), draw.choice(STREAMS)]
        columns = draw.choice([*widths, *map(str, range(12))])
        cases.append((command, (columns, draw.choice([encodings[0], ""]), draw.choice([1, 3, 80]), encodings, kinds)))
    (whole.place / "cases.json").write_text(json.dumps(cases))
    ours, its = os.openpty()  # a terminal, where all that is written is read
    threading.Thread(target=_drain, args=(ours,), daemon=True).start()
    running = PROCESSES.Process(target=_in_streams, args=(str(whole.place), os.ttyname(its)))
    running.start()
    running.join()
    os.close(its)
    return tries, json.loads((whole.place / "failed.json").read_text())


def _drain(terminal):
    with contextlib.suppress(OSError):  # when the other end is closed
        while os.read(terminal, 65536):
            pass


def _in_streams(place, terminal):
    """Run each of the commands in a fork of this process, where the command line is imported and has parsed before."""
    os.chdir(place)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["runs", "--wrong"])  # which makes the parsers of all commands
    cases, failed, report = json.loads(Path("cases.json").read_text()), [], Path("report")
    for number, (command, how) in enumerate(cases, start=1):
        report.write_text("")
        pid, end, code = os.fork(), time.monotonic() + DEADLINE, None
        if not pid:
            code = 99
            try:
                code = _set_up_and_run(command, terminal, *how)
            except BaseException:
                report.write_text(traceback.format_exc())
            os._exit(code)
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            time.sleep(0.002)
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(ended[1])
        if code not in EXIT_CODES or report.read_text():
            failed.append((command, how, code, report.read_text()[-500:]))
            print(f"{failed[-1]}", file=sys.stderr)
        if number % 500 == 0:
            print(f"{number} tries, {number - len(failed)} held", file=sys.stderr)
    Path("failed.json").write_text(json.dumps(failed))


def _set_up_and_run(arguments, terminal, columns, encoding, width, encodings, kinds):
    os.environ |= {"COLUMNS": columns, "PYTHONIOENCODING": encoding, "TERM": "xterm"}
    for name in ("COLUMNS", "PYTHONIOENCODING"):
        if not os.environ[name]:
            del os.environ[name]
    paths = {"terminal": terminal, "full": "/dev/full", "file": "copy.txt", "null": os.devnull}
    for number, (name, kind) in enumerate(zip(("stdin", "stdout", "stderr"), kinds, strict=True)):
        setattr(sys, name, None)
        if kind == "closed":
            os.close(number)
            continue
        if kind == "pipe":  # whose reader has gone
            reader, descriptor = os.pipe()
            os.close(reader)
        else:
            path = "written" if kind == "file" and number else paths[kind]
            descriptor = os.open(path, os.O_CREAT | os.O_NOCTTY | (os.O_WRONLY if number else os.O_RDONLY))
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
        if kind == "terminal":
            termios.tcsetwinsize(number, (24, width))
        codec, _, errors = (encoding or encodings[number]).partition(":")
        options = {"encoding": codec, "errors": errors or ("backslashreplace" if number == 2 else "strict")}
        setattr(sys, name, open(number, "w" if number else "r", **options))  # noqa: PTH123, SIM115
    with mock.patch("jaxrnn.cli._report", _reporting(jaxrnn.cli._report)):
        code = main(arguments)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()  # as Python does at its end, which it says with exit code 120
    return code


def _reporting(report):
    def note(error):
        code = report(error)
        if not isinstance(error, JaxrnnError | OSError | MemoryError):
            Path("report").write_text("".join(traceback.format_exception(error)))
        return code

    return note


def nonfinite(whole, full):
    """NaN or infinity in a parameter after each step of a run: exit code 4, and no such number in a checkpoint."""
    tries, failed = 0, []
    for step in range(1, 60) if full else (1, 30):
        for value in (np.nan, np.inf):
            tries += 1
            run, reports = whole.fresh(), None
            whole.train(run, until=step, log_every=1)
            file = load_checkpoint(run)
            good = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
            params = file.state.params._replace(by=file.state.params.by.at[0].set(value))
            checkpoints.save_checkpoint(
                list_checkpoints(run / "checkpoints")[0],
                file.state._replace(params=params),
                file.config,
                file.vocabulary,
                corpus=file.corpus,
                counters=file.counters,
            )
            try:
                reports = list(fit(config(whole.text), run_dir=run, resume=True))
                failed.append((step, value, len(reports)))
            except NonFiniteError as error:
                if error.exit_code != 4 or "learning_rate" not in str(error):
                    failed.append((step, value, str(error)))
            if {path.name for path in (run / "checkpoints").iterdir()} != set(good):
                failed.append((step, value, "saved"))
    return tries, failed


FAULTS = (
    *(kill, stop, hang_up, pipe, ctrl_c, two, resume, injected, full_disk, damage, hostile, repair, readers),
    *(command_line, streams, nonfinite),
)


def run_all(full=False, only=None):
    """Try the faults; print a line for each; return whether all held."""
    held = True
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        cache = Path(place) / "compiled"
        for setting, value in (
            ("jax_compilation_cache_dir", str(cache)),
            ("jax_persistent_cache_min_compile_time_secs", 0),
        ):
            before = jax.config.values[setting]
            jax.config.update(setting, value)
            stack.callback(jax.config.update, setting, before)
        names = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        stack.enter_context(mock.patch.dict(os.environ, names))
        compilation_cache.reset_cache()
        stack.callback(compilation_cache.reset_cache)  # JAX goes on with the directory that it began with
        whole = Whole(Path(place))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for fault in FAULTS:
            if only and fault.__name__ != only:
                continue
            began = time.monotonic()
            tries, failed = fault(whole, full)
            print(
                f"{fault.__name__:<14} {tries:>6} tries {tries - len(failed):>6} held {time.monotonic() - began:6.1f} s"
            )
            for case in failed[:5]:
                print(f"    {case}")
            sys.stdout.flush()
            held = held and not failed
    return held


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="as many tries as the table above says")
    parser.add_argument("--only", choices=[fault.__name__ for fault in FAULTS])
    arguments = parser.parse_args()
    # A shell lets its background jobs ignore Ctrl-C, and nohup the end of a terminal; a run would ignore them as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.exit(0 if run_all(arguments.full, arguments.only) else 1)

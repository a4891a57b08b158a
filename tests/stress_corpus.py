"""Hostile and enormous corpora: `python tests/stress_corpus.py [--full] [--only NAME]`.

Each of them must be read, or be refused by one clear error; memory stays bounded. Nothing is left behind.
"""

import argparse
import codecs
import ctypes
import gc
import hashlib
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from jaxrnn.errors import JaxrnnError
from jaxrnn.text import corpus, files, load_corpus

HEADROOM = 64 * 2**20  # bytes above the baseline that a text of any size may take
PIECES = [b"\r\n", b"\r", codecs.BOM_UTF8, b"\0", b"\xff\xfe", b"\xed\xa0\x80", *map(str.encode, "\ufffdé日👩")]


def random_data(rng):
    """Return bytes of one of several kinds: noise, text, broken text, or all of these in a row."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.bytes(rng.integers(0, 40))
    parts = [PIECES[index] for index in rng.integers(0, len(PIECES), rng.integers(0, 5))]
    parts += [bytes(rng.integers(97, 101, rng.integers(0, 10)).astype(np.uint8)) for _ in range(3)]
    rng.shuffle(parts)
    data = b"".join(parts)
    if kind == 1 and data:  # a bit is wrong
        at = rng.integers(len(data))
        data = data[:at] + bytes([data[at] ^ (1 << rng.integers(8))]) + data[at + 1 :]
    return data[: rng.integers(len(data) + 1)] if kind == 2 else data


def load_or_refuse(path, **options):
    """Return the corpus, or the error of a user that it is."""
    try:
        return load_corpus(path, **options)
    except JaxrnnError as error:
        return error


def expected_reading(data, kind, normalize, min_count):
    """Return the symbols of a text and its tokens, by plain Python; None if it must be refused."""
    if normalize:
        data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    elif kind == "characters":
        has_marks = b"\r\n" in data or data.startswith(codecs.BOM_UTF8)
        if has_marks or data.count(b"\r") > data.count(b"\n"):
            return None
    try:
        text = data.decode("utf-8" if kind == "characters" else "latin-1")
    except UnicodeDecodeError:
        return None
    frequent = {symbol for symbol in text if text.count(symbol) >= min_count}
    symbols = sorted(frequent | ({"\ufffd"} if set(text) - frequent else set()))
    if not frequent or len(symbols) < 2:
        return None
    return symbols, [symbols.index(symbol if symbol in frequent else "\ufffd") for symbol in text]


def fuzz(place, count):
    """Load random texts in small pieces, into memory or (by a threshold of 0) into the cache; return how many."""
    rng, path, done = np.random.default_rng(0), place / "text", 0
    limit, piece = corpus.MAX_IN_MEMORY, files.PIECE
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    try:
        for done in range(1, count + 1):
            if done % 1000 == 0:  # each new text looks at all that are cached
                shutil.rmtree(place / "cache")
            data = random_data(rng)
            path.write_bytes(data)
            corpus.MAX_IN_MEMORY = limit if done % 3 else 0
            files.PIECE = int(rng.integers(3, 12))
            kind = ("characters", "bytes")[done % 2]
            normalize, min_count = ("newlines",) * int(rng.integers(2)), int(rng.integers(1, 4))
            got = load_or_refuse(path, vocabulary=kind, normalize=normalize, min_count=min_count)
            expected = expected_reading(data, kind, normalize, min_count)
            case = data, kind, normalize, min_count, got
            assert isinstance(got, JaxrnnError) == (expected is None), case
            if expected is not None:
                assert (list(got.vocabulary.symbols), got.tokens.tolist()) == expected, case
                assert got.sha256 == hashlib.sha256(data).hexdigest(), case
    finally:
        corpus.MAX_IN_MEMORY, files.PIECE = limit, piece
        shutil.rmtree(place / "cache", ignore_errors=True)
    return done


def one_line(place, full):
    """A line of 100 MB (short: 3 MB)."""
    path = place / "line"
    with path.open("wb") as file:
        for _ in range(100 if full else 3):
            file.write(b"abcdefghij" * 100_000)
    return path, None


def fifo(place, _):
    """A pipe that nobody writes to."""
    os.mkfifo(place / "pipe")
    return place / "pipe", "is not a regular file"


def zeros(place, full):
    """A hole of 100 MB: NULs only."""
    with (place / "zeros").open("wb") as file:
        file.truncate(100_000_000 if full else 1_000_000)
    return place / "zeros", "single distinct symbol"


def all_of_unicode(place, _):
    """Every character there is: the largest vocabulary."""
    codes = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF and code != 0x0D]
    (place / "all").write_text("".join(codes), "utf-8", newline="")
    return place / "all", None


def broken_at_the_end(place, full):
    """Half a character after 100 MB."""
    path = place / "broken"
    with path.open("wb") as file:
        for _ in range(100 if full else 1):
            file.write("日本語\n".encode() * 100_000)
        file.write(b"\xe6")
    return path, "is not UTF-8 .byte 0xe6. at offset"


def lone_bom(place, _):
    """A byte-order mark and nothing else."""
    (place / "bom").write_bytes(codecs.BOM_UTF8)
    return place / "bom", "begins with a byte-order mark"


CASES = {
    "one_line": one_line,
    "fifo": fifo,
    "device": lambda *_: (Path("/dev/zero"), "is not a regular file"),
    "folder": lambda place, _: (place, "has no files"),
    "zeros": zeros,
    "all_of_unicode": all_of_unicode,
    "broken_at_the_end": broken_at_the_end,
    "lone_bom": lone_bom,
}


def run_case(name, place, full):
    """Load a hostile text; it is read, or refused by the error that belongs to it."""
    path, refused = CASES[name](place, full)
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    got = load_or_refuse(path)
    if refused:
        assert isinstance(got, JaxrnnError)
        assert re.search(refused, str(got)), got
    else:
        assert len(got.vocabulary) >= 2, got


def memory():
    """Return the resident memory of this process now, and of that what is its own and no file's, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return sizes["VmRSS"], sizes["RssAnon"]


def limit_memory(more):
    """Let this process have only so many bytes of memory of its own more than it has; what is mapped is not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    has = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (has + more, resource.RLIM_INFINITY))


class Watch:
    """Notes the most memory that was resident, file pages included, since it was made."""

    def __init__(self):
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # what was freed before must not hide what is taken from now on
        self.baseline, self.anonymous = memory()
        self.most = self.most_anonymous = 0
        self._calls = 0

    def progress(self, *_):
        self._calls += 1
        if self._calls % 50 == 0:
            self.look()

    def look(self):
        now, anonymous = memory()
        self.most = max(self.most, now - self.baseline)
        self.most_anonymous = max(self.most_anonymous, anonymous - self.anonymous)


def write_big(path, size, mixed):
    """Write a text of `size` bytes, of words that are drawn at random; some beyond ASCII if it is mixed."""
    rng = np.random.default_rng(0)
    words = [bytes(rng.integers(97, 123, rng.integers(2, 9)).astype(np.uint8)) for _ in range(5000)]
    if mixed:
        words[::7] = ["Привет".encode(), "日本".encode(), "naïve".encode()] * (len(words[::7]) // 3) + [b"x"] * (
            len(words[::7]) % 3
        )
    pages = [b" ".join(words[index] for index in rng.integers(0, 5000, 150_000)) + b"\n\n" for _ in range(20)]
    with path.open("wb") as file:
        while size > 0:
            page = pages[rng.integers(len(pages))]
            size -= file.write(page if len(page) <= size else b"x" * size)


def big(place, size, mixed=False):
    """Encode, train on, validate with, evaluate and search a text, and measure; in a process of its own."""
    import jax

    from jaxrnn.config import ModelConfig, TrainConfig
    from jaxrnn.evaluation.copies import longest_copy
    from jaxrnn.evaluation.score import ordered_surprisals, surprisals_in_parts
    from jaxrnn.runs.run import prepare
    from jaxrnn.text.documents import never_seen
    from jaxrnn.text.stream import blocks
    from jaxrnn.training.jitted import make_train_chunk
    from jaxrnn.training.step import init_train_state

    warnings.simplefilter("ignore")
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    path = place / "big.txt"
    write_big(path, size, mixed)
    config = TrainConfig(
        sequence_length=50, batch_size=32, split=(0.99, 0.01), reset_on="\n\n", model=ModelConfig(hidden_size=8)
    )
    # The baseline: everything is imported and compiled for a small text of the same symbols.
    few = place / "few.txt"
    with path.open("rb") as file:
        few.write_bytes(file.read(4_000_000).decode("utf-8", "ignore").encode())

    small = load_corpus(few)
    run = prepare(config, small).config
    chunk = make_train_chunk(run)
    init = jax.jit(init_train_state, static_argnums=1)

    def use(text, looks, watch):
        """Train all over a text, then validate."""
        state, material = init(jax.random.key(0), run), prepare(config, text)
        for look in range(looks):
            state, metrics = chunk(state, material.batches(look * 10**9 // looks, 20))
            jax.block_until_ready(metrics)
            watch.look()
        never_seen(material.train.tokens, material.validation.tokens, run.model.vocab_size)
        watch.look()
        part = material.validation
        scored = part.tokens[:20_000_000]
        for _ in surprisals_in_parts(state.params, scored, run.model, lanes=64, starts=part.starts[: len(scored)]):
            watch.progress()
        scored = scored[:2_000_000]
        for _ in ordered_surprisals(state.params, scored, run.model, lanes=64, starts=part.starts[: len(scored)]):
            watch.look()
        pieces = (text.vocabulary.decode(block) for block in blocks(material.train.tokens[:200_000_000]))
        longest_copy("words that are not in it", (watch.progress() or piece for piece in pieces))
        watch.look()

    use(small, 20, Watch())
    del small
    results = {"bytes": size}

    limit_memory(HEADROOM)
    watch, began, cpu = Watch(), time.perf_counter(), time.process_time()
    text = load_corpus(path, progress=watch.progress)
    results |= {
        "encode_MB_per_cpu_s": round(size / 1e6 / (time.process_time() - cpu)),
        "encode_MB_per_s": round(size / 1e6 / (time.perf_counter() - began)),
        "encode_rss_MB": round(watch.most / 2**20, 1),
        "encode_anon_MB": round(watch.most_anonymous / 2**20, 1),
    }
    assert isinstance(text.tokens, np.memmap)
    assert watch.most < HEADROOM, results
    began = time.perf_counter()
    text = load_corpus(path)
    results["open_s"] = round(time.perf_counter() - began, 3)

    assert len(text.vocabulary) == run.model.vocab_size
    use(text, 200, watch)
    results |= {
        "train_rss_MB": round(watch.most / 2**20, 1),
        "train_anon_MB": round(watch.most_anonymous / 2**20, 1),
        "peak_rss_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    assert watch.most < HEADROOM, results
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the numbers in stress.py: 100,000 texts, 10 GB")
    parser.add_argument("--only", choices=["fuzz", "big", "big_mixed", *CASES], help="one part of it")
    parser.add_argument("--size", type=int, help="bytes of the big text")
    given = parser.parse_args()
    for name in [given.only] if given.only else ["fuzz", *CASES, "big", "big_mixed"]:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            if name == "fuzz":
                result = f"{fuzz(place, 100_000 if given.full else 2000):,} texts, no traceback"
            elif name in CASES:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                run_case(name, place, given.full)
                more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
                # A vocabulary of a million symbols has tables of that many, however long the text is.
                assert more < HEADROOM * (1 + (name == "all_of_unicode")), f"{name}: {more / 2**20:.1f} MB"
                result = f"as it should be, in {more / 2**20:.1f} MB"
            else:
                size = given.size or (10**10 if given.full and name == "big" else 10**9 if given.full else 10**8)
                result = json.dumps(big(place, size, mixed=name == "big_mixed"))
        print(f"{name}: {result}, {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 1 or "--only" in sys.argv or "--full" in sys.argv or "--size" in sys.argv or "-h" in sys.argv:
        main()

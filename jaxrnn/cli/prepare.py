"""`jaxrnn prepare`: read a big text once, ahead of the runs that train on it."""

import dataclasses
import time
from typing import Annotated

import tyro

from jaxrnn.cli.output import print_result
from jaxrnn.cli.progress import reading
from jaxrnn.config import VocabularyKind


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Read and encode a text, so that runs on it start at once; print what is in it."""

    corpus: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CORPUS")]
    """A text file, or the name of a corpus."""
    vocabulary: VocabularyKind = "characters"
    """As for the runs to come: characters of a UTF-8 text, or bytes of any file."""
    normalize: bool = False
    """As for the runs to come: drop a byte-order mark and turn CRLF and CR line ends into LF."""
    min_count: int = 1
    """As for the runs to come: symbols that occur fewer times become one, the unknown symbol."""
    verify: bool = False
    """Read everything again and check it against the SHA-256 that was taken when it was made."""
    json: bool = False
    """Print one line of JSON."""

    def run(self) -> int:
        """Do it, print it, and return the exit code."""
        from jaxrnn.config import TrainConfig
        from jaxrnn.runs import load_run_corpus

        config = TrainConfig(
            corpus=self.corpus, vocabulary=self.vocabulary, normalize=self.normalize, min_count=self.min_count
        )
        began = time.perf_counter()
        read = 0

        with reading() as progress:

            def count(what: str, more: int, total: int) -> None:
                nonlocal read
                read += more if what == "reading" else 0
                progress(what, more, total)

            corpus = load_run_corpus(config, count, verify=self.verify)
        seconds = time.perf_counter() - began
        values = {
            "source": corpus.source,
            "sha256": corpus.sha256,
            "length": len(corpus),
            "symbols": len(corpus.vocabulary),
            "unit": corpus.vocabulary.kind,
            "bytes_read": read,
            "seconds": seconds,
            "verified": self.verify,
            "kept": corpus.cache_file and str(corpus.cache_file),
        }
        if corpus.cache_file is None:
            text = f"small: read anew at each start, {read:,} bytes in {seconds:.3f} s; nothing is kept"
        else:
            rate = f"{read:,} bytes in {seconds:.1f} s, {read / seconds / 1e6:.0f} MB/s" if read else ""
            how = f"{rate or 'it was there already'}{'; verified' if self.verify else ''}"
            text = f"{how}\nkept: {corpus.cache_file}, {corpus.cache_file.stat().st_size:,} bytes"
        print_result(self.json, values, f"{corpus}\n{text}")
        return 0

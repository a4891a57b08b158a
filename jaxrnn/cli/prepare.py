"""`jaxrnn prepare`: read a big text once, ahead of the runs that train on it."""

import dataclasses
import time
from typing import Annotated, Any

import tyro

import jaxrnn
from jaxrnn.cli.arguments import JsonFlag
from jaxrnn.cli.flags import field_flags
from jaxrnn.cli.output import corpus_values, print_result
from jaxrnn.cli.progress import reading
from jaxrnn.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Read and encode a text, so that runs on it start at once; print what it contains."""

    corpus: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CORPUS")]
    """Text file, or the name of a corpus."""
    settings: Annotated[Any, field_flags(TrainConfig, "vocabulary", "normalize", "min_count")]
    verify: bool = False
    """Read the text and the cached tokens again, and check the SHA-256 of both."""
    json: JsonFlag = False

    def run(self) -> None:
        """Read the text, and print what it contains."""
        bytes_read, start = 0, time.perf_counter()
        with reading() as progress:

            def count(phase: str, more: int, total: int) -> None:
                nonlocal bytes_read
                bytes_read += more if phase == "reading" else 0
                progress(phase, more, total)

            config = TrainConfig(corpus=self.corpus, **self.settings)
            corpus = jaxrnn.runs.load_run_corpus(config, count, verify=self.verify)
        seconds, cached = time.perf_counter() - start, corpus.cache_file
        values = {
            **corpus_values(corpus),
            "unit": corpus.vocabulary.kind,
            "bytes_read": bytes_read,
            "seconds": seconds,
            "verified": self.verify,
            "cache_file": cached,
        }
        if cached is None:
            lines = [f"small: read at every start, {bytes_read:,} bytes in {seconds:.3f} s; nothing is cached"]
        else:
            rate = f"{bytes_read:,} bytes in {seconds:.1f} s, {bytes_read / seconds / 1e6:.0f} MB/s"
            lines = [
                f"{rate if bytes_read else 'already cached'}{'; verified' if self.verify else ''}",
                f"cached: {cached}, {cached.stat().st_size:,} bytes",
            ]
        print_result(self.json, values, str(corpus), *lines)

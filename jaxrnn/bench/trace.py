"""A profile of the training step that reads as the algorithm: forward, recurrence, backward, update.

XLA keeps the names that `jax.named_scope` gives; the trace that JAX records gets a track of its own with them.
"""

import gzip
import itertools
import json
import re
from bisect import bisect
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax

from jaxrnn.bench.config import BenchError
from jaxrnn.bench.timing import Program

_CALLS = 3  # recorded, after one that is not
_CONTAINERS = ("while", "call", "conditional")


def record(program: Program, directory: Path) -> dict[str, float]:
    """Write a profile of some calls to a directory, for Perfetto or TensorBoard; return the share of time by part."""
    text = program.function.lower(program.state, program.feeds[0]).compile().as_text()  # type: ignore[attr-defined]
    parts = {name: part_of(path) for name, path in re.findall(r'%(\S+) = .*op_name="([^"]*)"', text)}
    state, _ = jax.block_until_ready(program.function(program.state, program.feeds[0]))
    with jax.profiler.trace(str(directory), create_perfetto_trace=True):
        for _ in range(_CALLS):
            state, _ = jax.block_until_ready(program.function(state, program.feeds[0]))
    file = max(directory.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
    trace = json.loads(gzip.decompress(file.read_bytes()))
    events = [
        {**event, "part": parts.get(event["args"]["hlo_op"], "other")}
        for event in trace["traceEvents"]
        if "hlo_op" in event.get("args", {}) and not event["name"].startswith("end: ")
    ]
    inner = sorted(event["ts"] for event in events if not event["name"].startswith(_CONTAINERS))

    def is_whole(event: dict[str, Any]) -> bool:  # an event that contains others is not; a loop in one kernel is
        begin, end = event["ts"], event["ts"] + event["dur"]
        return not event["name"].startswith(_CONTAINERS) or bisect(inner, begin) == bisect(inner, end)

    operations = sorted(filter(is_whole, events), key=itemgetter("ts"))
    # A track on which the first device goes through the parts.
    first = [event for event in operations if event["args"].get("device_ordinal", "0") == "0"]
    if not first:
        raise BenchError("the profiler recorded no operation of the training step here; leave --trace out")
    place = {"pid": first[0]["pid"], "tid": 2**31 - 1}
    trace["traceEvents"].append({"ph": "M", "name": "thread_name", "args": {"name": "algorithm"}, **place})
    for part, group in itertools.groupby(first, itemgetter("part")):
        same = list(group)
        begin, end = same[0]["ts"], max(event["ts"] + event["dur"] for event in same)
        trace["traceEvents"].append({"ph": "X", "name": part, "ts": begin, "dur": end - begin, **place})
    file.write_bytes(gzip.compress(json.dumps(trace).encode()))
    times: Counter[str] = Counter()
    for event in operations:
        times[event["part"]] += event["dur"]
    return {part: time / times.total() for part, time in times.most_common()}


def part_of(path: str) -> str:
    """Return the part of the algorithm that an operation belongs to, from the path of its named scopes.

    Example:
        >>> part_of("jit(step)/jvp(loss)/forward/recurrence/while/body/tanh")
        'recurrence'
        >>> part_of("jit(step)/transpose(jvp(loss))/forward/recurrence/backward/while/body/mul")
        'backward recurrence'
    """
    if "update" in path.split("/") or "clip" in path.split("/"):
        return "update"
    is_backward = "transpose(" in path or "/backward" in path
    inner = next((part for part in ("recurrence", "forward", "loss") if part in path), "other")
    if is_backward:
        return "backward recurrence" if inner == "recurrence" else "backward"
    return inner

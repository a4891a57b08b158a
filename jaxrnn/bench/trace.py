"""A profile of the training step that reads as the algorithm: forward, recurrence, backward, update.

The package marks its parts with `jax.named_scope`, which XLA keeps for each operation that it compiles. The trace that
JAX records names only the operations; here it gets a track of its own with the parts.
"""

import gzip
import itertools
import json
import re
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax

from jaxrnn.bench.timing import Program

_CALLS = 3  # recorded, after one that is not
_THREAD = 2**31 - 1  # the number under which viewers show the track of the parts
_CONTAINERS = ("while", "call", "conditional")  # operations that contain others


def record(program: Program, directory: Path) -> dict[str, float]:
    """Write a profile of some calls to a directory, for Perfetto or TensorBoard; return the share of time by part."""
    text = program.function.lower(program.state, program.feeds[0]).compile().as_text()  # type: ignore[attr-defined]
    parts = {name: part_of(path) for name, path in re.findall(r'%(\S+) = .*op_name="([^"]*)"', text)}
    state, output = program.function(program.state, program.feeds[0])
    program.wait(output)
    with jax.profiler.trace(str(directory), create_perfetto_trace=True):
        for _ in range(_CALLS):
            state, output = program.function(state, program.feeds[0])
            program.wait(output)
    file = max(directory.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
    trace = json.loads(gzip.decompress(file.read_bytes()))
    operations = [
        {**event, "part": parts.get(event["args"]["hlo_op"], "other")}
        for event in trace["traceEvents"]
        if "hlo_op" in event.get("args", {}) and not event["name"].startswith(("end: ", *_CONTAINERS))
    ]
    trace["traceEvents"] += _track(operations)
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


def _track(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a track that shows the parts, as the first device goes through them."""
    first = [event for event in operations if event["args"].get("device_ordinal", "0") == "0"]
    if not first:
        return []
    place = {"pid": first[0]["pid"], "tid": _THREAD}
    track: list[dict[str, Any]] = [{"ph": "M", "name": "thread_name", "args": {"name": "algorithm"}, **place}]
    for part, group in itertools.groupby(sorted(first, key=itemgetter("ts")), itemgetter("part")):
        events = list(group)
        end = max(event["ts"] + event["dur"] for event in events)
        track.append({"ph": "X", "name": part, "ts": events[0]["ts"], "dur": end - events[0]["ts"], **place})
    return track

"""The suite `sample`: characters a second from one stream and from many, beside the NumPy sampler."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import Say, check, reference_arguments, tolerance
from jaxrnn.bench.timing import Contender, Timing, race, repeated
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Workload, make_workload
from jaxrnn.distributed.mesh import by_lanes, make_mesh, on_mesh
from jaxrnn.network.loss import loss
from jaxrnn.network.model import Params, initial_carry
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Batch

_SECONDS = 0.1


class SampleResult(NamedTuple):
    """What the suite measures.

    Attributes:
        compile_seconds: by the number of streams: trace, compile, first run.
        character_seconds: seconds a character, all streams together; by the number of streams, and "numpy".
        ratios: "numpy/1" is how many times the time of one stream NumPy takes, "1/256" what 256 streams gain.
        note: of the reference.
    """

    compile_seconds: dict[str, float]
    character_seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    note: str


def measure_sample(config: BenchConfig, say: Say = lambda message: None) -> SampleResult:
    """Measure sampling.

    Raises:
        BenchError: the NumPy reference gives its characters other probabilities than ours.
    """
    workload, mesh = make_workload(config.train_config()), make_mesh(config.devices)
    params = workload.initial_state().params
    compile_seconds, contenders = {}, {}
    for streams in dict.fromkeys(config.streams):
        say(f"compiling for {streams} streams")
        split = mesh if streams % config.devices == 0 else None
        compile_seconds[str(streams)], contenders[str(streams)] = _sampler(workload, params, streams, config, split)
    with Worker("numpy_reference", threads=1) as worker:
        say("checking the NumPy reference")
        worker.call("Reference", **reference_arguments(workload))
        (tokens, nats), _ = worker.call("sample", 100)
        check("numpy", [nats], [_score(workload, params, tokens)], tolerance(workload))
        length = max(1, round(_SECONDS * 100 / worker.call("sample", 100)[1]))
        contenders["numpy"] = lambda: worker.call("sample", length)[1] / length
        rounds = config.repeats or 15
        say(f"{rounds} rounds")
        timings = race(contenders, rounds)
    ratios = {f"numpy/{name}": timings["numpy"].over(timings[name]) for name in compile_seconds}
    first, *others = compile_seconds
    gains = {f"{first}/{name}": timings[first].over(timings[name]) for name in others}
    return SampleResult(compile_seconds, timings, {**ratios, **gains}, "float64, 1 thread")


def _sampler(
    workload: Workload, params: Params, streams: int, config: BenchConfig, mesh: Mesh | None
) -> tuple[float, Contender]:
    model, length = workload.config.model, config.sample_length
    carry = jax.block_until_ready(initial_carry(model, streams))
    prime = jnp.zeros((1, streams), jnp.int32)
    key = jax.random.key(0)
    if mesh:  # as `jaxrnn sample` does: each lane with a key of its own, and what is computed follows what it is of
        keys, lanes = jax.random.split(key, streams), by_lanes(mesh, 0)
        key, carry, prime = jax.device_put((keys, carry, prime), (lanes, lanes, by_lanes(mesh, 1)))
        params = on_mesh(params, mesh)

    def call() -> None:
        tokens, _ = sample(key, params, carry, prime, model, length=length)
        np.asarray(tokens)  # the text is wanted here, not on the device

    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin, repeated(call, length * streams, _SECONDS)


def _score(workload: Workload, params: Params, tokens: list[int]) -> float:
    """Return how unlikely our network finds these characters after character 0, in nats."""
    model = workload.config.model
    text = jnp.asarray([0, *tokens])[:, None]
    batch = Batch(text[:-1], text[1:], np.asarray(True))
    return float(loss(params, initial_carry(model, 1), batch, model)[0])

"""The suite `sample`: characters per second of one stream of text and of many, beside the NumPy sampler.

Two cores of an AMD EPYC (Zen 5), jax 0.10.2, NumPy 2.4.6; tanh, H 100, V 65: 1,380,000 characters per second from one
stream, 16 times NumPy's; 3,880,000 from 256 streams, and 7,040,000 with `--devices 2`, 5.1 times one stream's. Without
the XLA flags that the command line sets: 640,000 (8.0 times NumPy's) and, on two devices, 6,400,000.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.references import check, reference_arguments, tolerance
from jaxrnn.bench.result import Result, Say
from jaxrnn.bench.timing import race
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Program, Workload, make_workload
from jaxrnn.distributed.mesh import by_lanes, make_mesh, replicate
from jaxrnn.network import initial_carry, loss
from jaxrnn.sampling.sample import sample
from jaxrnn.text import Batch

STREAMS = (1, 16, 64, 256)  # texts written side by side
LENGTH = 1000  # characters per stream and call


def measure_sample(config: BenchConfig, say: Say) -> Result:
    """Measure sampling.

    Contenders, in seconds per character of all streams together: "streams 16" and so on; "NumPy 1".

    Raises:
        BenchError: the NumPy reference gives its characters other probabilities than ours.
    """
    workload, contenders = make_workload(config.train_config()), {}
    for streams in STREAMS:
        say(f"compiling for {streams} streams")
        devices = config.devices if streams % config.devices == 0 else 1
        program = sampling_program(workload, streams, LENGTH, devices)
        contenders[f"streams {streams}"] = program.contender()
    ours = list(contenders)
    with Worker("numpy_reference", threads=1) as worker:
        say("checking the NumPy reference")
        worker.call("Reference", **reference_arguments(workload))
        tokens, nats = worker.call("sample", 100)
        check("NumPy reference", [nats], [_surprisal(workload, tokens)], tolerance(workload))
        contenders["NumPy 1"] = worker.contender("sample")
        say("measuring")
        seconds = race(contenders, config.repeats or 15)
    columns = {f"x {base}": {name: seconds[base].over(seconds[name]) for name in ours} for base in ("NumPy 1", ours[0])}
    lines = [
        f"{LENGTH:,} characters of each stream per call; x: how many times as many characters per "
        "second, all streams together, medians of ratios round by round; NumPy: float64, 1 thread"
    ]
    if config.devices > 1:
        lines.append(f"streams that {config.devices} devices divide are split over them, others are written by one")
    return Result(config, seconds, lines, columns, characters=1, chart="curves")


def sampling_program(workload: Workload, streams: int, length: int, devices: int = 1) -> Program:
    """Return our sampler, which writes `length` characters of each stream per call, from a zero carry."""
    model, mesh = workload.config.model, make_mesh(devices)
    params = workload.initial_state().params
    key, carry, prime = jax.random.key(0), initial_carry(streams, model), jnp.zeros((1, streams), jnp.int32)
    if mesh:  # as `jaxrnn sample` does: a key for each lane, and every computation follows its inputs
        keys, lanes = jax.random.split(key, streams), by_lanes(mesh, 0)
        key, carry, prime = jax.device_put((keys, carry, prime), (lanes, lanes, by_lanes(mesh, 1)))
        params = replicate(params, mesh)

    def write(carry: Any, prime: jax.Array) -> tuple[Any, jax.Array]:
        return carry, sample(key, params, carry, prime, model, length=length)[0]

    return Program(write, carry, [prime], length * streams, np.asarray)  # the text is needed on the host


def _surprisal(workload: Workload, tokens: list[int]) -> float:
    """Return how unlikely our network finds these characters after character 0, in nats."""
    model, params = workload.config.model, workload.initial_state().params
    text = jnp.asarray([0, *tokens])[:, None]
    return float(loss(params, initial_carry(1, model), Batch(text[:-1], text[1:], np.asarray(True)), model)[0])

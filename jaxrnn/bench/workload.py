"""The workload that jaxrnn shares with every contender, and our programs that contenders are compared with."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bench.config import BenchConfig
from jaxrnn.bench.timing import Program
from jaxrnn.config import TrainConfig
from jaxrnn.distributed.mesh import by_lanes, make_mesh, replicate
from jaxrnn.network import Params, initial_carry
from jaxrnn.sampling import sample
from jaxrnn.text import Batch, batches
from jaxrnn.training import TrainState, init_train_state, make_train_chunk, make_train_step
from jaxrnn.training.step import Optimizer


class Workload(NamedTuple):
    """A training run over a chunk of batches, again and again."""

    config: TrainConfig
    batches: Batch  # a chunk, int32 [K, T, B] and bool [K]; one pass over the text, so that it can be repeated
    vocab_size: int
    optimizer: Optimizer | None = None  # a user-defined one
    devices: int = 1

    def initial_state(self) -> TrainState:
        """Return a new state before the first step."""
        return init_train_state(jax.random.key(self.config.seed), self.config, optimizer=self.optimizer)

    def single_batches(self) -> list[Batch]:
        """Return the K batches one by one, int32 [T, B]."""
        return [jax.tree.map(lambda part, k=k: part[k], self.batches) for k in range(len(self.batches.reset))]


def make_workload(config: TrainConfig | BenchConfig) -> Workload:
    """Return the workload of a run: characters with frequencies 1/1, 1/2, 1/3, ..., as words have (Zipf)."""
    bench = config if isinstance(config, BenchConfig) else BenchConfig(config)
    config = bench.training
    vocab_size, lane_length = config.model.vocab_size or 1, config.chunk_length * config.sequence_length + 2
    frequencies = 1 / np.arange(1, vocab_size + 1)
    random, probabilities = np.random.default_rng(0), frequencies / frequencies.sum()
    tokens = random.choice(vocab_size, config.batch_size * lane_length, p=probabilities)
    chunk = batches(tokens, 0, config.chunk_length, config)
    return Workload(config, chunk, vocab_size, bench.optimizer, bench.devices)


def training_program(workload: Workload, *, chunked: bool) -> Program:
    """Return our training step, one per call or as a chunk of K per call; every call waits for its losses."""
    make = make_train_chunk if chunked else make_train_step
    program = make(workload.config, optimizer=workload.optimizer, mesh=make_mesh(workload.devices))
    feeds, steps = ([workload.batches], workload.config.chunk_length) if chunked else (workload.single_batches(), 1)
    return Program(program, workload.initial_state(), feeds, steps, losses=lambda metrics: metrics.loss)


def sampling_program(workload: Workload, streams: int, length: int) -> Program:
    """Return our sampler, which writes `length` characters of each stream per call, from a zero carry."""
    devices = workload.devices if streams % workload.devices == 0 else 1
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


def named_params(params: Params) -> dict[str, np.ndarray]:
    """Return parameters under min-char-rnn's names, as NumPy arrays of float64: Wxh, Whh, ..., above it Wxh_l1, ..."""
    arrays = {name: getattr(params, name) for name in ("Why", "by")}
    for index, layer in enumerate(params.layers):
        suffix = f"_l{index}" if index else ""
        arrays |= {name + suffix: array for name, array in layer._asdict().items() if array is not None}
    return {name: np.asarray(array, np.float64) for name, array in arrays.items()}

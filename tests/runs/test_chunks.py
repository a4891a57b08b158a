import dataclasses

import jax.numpy as jnp
import pytest

from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.config.presets import preset
from jaxrnn.runs.programs import SECONDS, ChunkLimit, all_finite

HUGE = ModelConfig(cell="lstm", hidden_size=4096, num_layers=3)


def limit(config):
    return ChunkLimit(dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=65)))


@pytest.mark.parametrize(
    ("config", "least", "most"),
    [
        (TrainConfig(), 100, 100),
        (TrainConfig(chunk_length=7), 7, 7),
        (TrainConfig(chunk_length=100_000), 1000, 50_000),
        (preset("best"), 2, 20),
        (TrainConfig(model=HUGE, sequence_length=256, batch_size=64), 1, 1),
    ],
)
def test_a_chunk_has_as_many_steps_as_take_about_two_seconds(config, least, most):
    assert least <= limit(config).steps <= most


@pytest.mark.parametrize(
    ("chunk_length", "step", "boundary", "ends"),
    [
        (100, 0, 100, [100]),
        (100, 25, 100, [100]),
        (27, 0, 100, [25, 50, 75, 100]),
        (4, 1, 10, [4, 7, 10]),
        (1, 8, 10, [9, 10]),
    ],
)
def test_the_steps_to_a_boundary_are_cut_evenly_so_that_few_lengths_are_compiled(chunk_length, step, boundary, ends):
    chunks, found = limit(TrainConfig(chunk_length=chunk_length, steps=boundary, log_every=1000, sample_every=0)), []
    while step < boundary:
        step = chunks.next_step(step)
        found.append(step)
    assert found == ends


@pytest.mark.parametrize(
    ("steps", "seconds", "limits"),
    [
        (100, [900.0, 1.0], [100, 100]),  # the first one compiles
        (100, [1.0, 2.0 * SECONDS], [100, 100]),
        (100, [1.0, 10.0 * SECONDS], [100, 10]),
        (100, [1.0, 900.0 * SECONDS], [100, 1]),
    ],
)
def test_the_limit_falls_where_chunks_take_longer_than_was_thought(steps, seconds, limits):
    chunks, found = limit(TrainConfig()), []
    for took in seconds:
        chunks.lower(steps, took)
        found.append(chunks.steps)
    assert found == limits


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("name", ["first", "last", "large", "vector"])
def test_a_single_number_that_is_not_finite_is_seen_wherever_it_is(name, value):
    tree = {"vector": jnp.ones(7), "large": jnp.full((700, 400), 3e38), "count": jnp.asarray(3), "matrix": jnp.eye(3)}
    assert all_finite(tree)
    leaf, at = {"first": ("matrix", 0), "last": ("matrix", -1), "large": ("large", -7), "vector": ("vector", 3)}[name]
    assert not all_finite(tree | {leaf: tree[leaf].at[at].set(value)})

"""The package ships its types: mypy, strictly, and pyright check a user's script against them."""

import re
import subprocess
import sys

import pytest

SCRIPT = """
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxrnn
import numpy as np
from jaxrnn import Batch, Cell, ModelConfig, Params, Report, SampleConfig, TrainConfig, fit, make_train_step
from jaxrnn.network import Carry


def update(projected: jax.Array, recurrent: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return (jnp.tanh(projected + recurrent),)


def penalized(
    params: Params, carry: Carry, batch: Batch, config: ModelConfig, *, key: jax.Array | None = None
) -> tuple[jax.Array, Carry]:
    logits, carry = jaxrnn.network.forward(params, carry, batch.inputs, config, key=key)
    nats, carry = jaxrnn.loss(params, carry, batch, config, key=key)
    return nats + 0.01 * (logits**2).mean(), carry


corpus = jaxrnn.load_corpus("python-docs")
cell = Cell(gates=1, init_carry=jaxrnn.TANH.init_carry, update=update)
config = TrainConfig(model=ModelConfig(cell=cell, vocab_size=len(corpus.vocabulary)), steps=10)
reports: Iterator[Report] = jaxrnn.watch(fit(config, corpus, loss=penalized))
bits: float = next(reports).bits_per_character

state = jaxrnn.init_train_state(jax.random.key(0), config)
batches = jaxrnn.batches(corpus.tokens, step=0, num_steps=1, config=config)
state, metrics = make_train_step(config, loss=penalized)(state, jax.tree.map(lambda leaf: leaf[0], batches))
nats: jax.Array = metrics.loss
flops = make_train_step(config).lower(state, batches).compile().cost_analysis()
version: str = jaxrnn.__version__
inputs: jax.Array | np.ndarray[Any, np.dtype[Any]] = batches.inputs
chunk = Batch(jnp.asarray(batches.inputs), batches.targets, batches.reset)
logits = jaxrnn.network.forward(state.params, state.carry, np.zeros((5, 1), int), config.model)[0]

text: str = "".join(jaxrnn.write(state.params, corpus.vocabulary, config.model, SampleConfig(length=10)))
prime, carry = corpus.tokens[:5, None], jaxrnn.initial_carry(1, config.model)
tokens, carry = jaxrnn.sample(jax.random.key(1), state.params, carry, prime, config.model, length=5)
shape: tuple[int, ...] = tokens.shape
layers = jaxrnn.activations(state.params, corpus.tokens[:9], config.model)
hidden: jax.Array = layers[0]["h"]
score: jaxrnn.Score = jaxrnn.evaluate(state.params, corpus.tokens, corpus.vocabulary, config.model)
rooms = jaxrnn.min_char_rnn.train_step, jaxrnn.kernels.plain, jaxrnn.bench, jaxrnn.page, jaxrnn.plots
"""
MISTAKES = """
import jaxrnn

steps: int = jaxrnn.TrainConfig(steps="ten").steps
jaxrnn.fitt
report = next(jaxrnn.fit(jaxrnn.TrainConfig()))
report.bits_per_character.upper()
jaxrnn.Batch("to be", "o be ", None)
jaxrnn.TrainConfig(learning_rate=0.01)
jaxrnn.OptimizerConfig("adam", "0.01")
"""


CHECKERS = ["mypy", "--strict"], ["pyright", "--pythonpath", sys.executable]


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS, ids=lambda command: command[0])
def test_a_users_script_passes_the_check_and_mistakes_are_found(tmp_path, checker):
    pytest.importorskip(checker[0])
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    command = [sys.executable, "-m", *checker, "script.py", "mistakes.py"]
    # A directory of its own: no configuration of this repository applies.
    checked = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "script.py" not in checked, checked
    found = {int(line) for line in re.findall(r"mistakes\.py:(\d+):.*error: ", checked)}
    assert found == {4, 5, 7, 8, 9, 10}, checked

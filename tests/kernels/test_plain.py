"""Every kernel computes what its plain twin does, and `plain` chooses between them, inside of JAX's caches too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import kernels
from jaxrnn.config import ModelConfig, TrainConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.bernoulli import bernoulli
from jaxrnn.kernels.categorical import draw_weighted
from jaxrnn.kernels.lookup import look_up
from jaxrnn.kernels.matmul import times_matrix, transposed_product
from jaxrnn.kernels.sequential import run_sequentially
from jaxrnn.network import GRU, LSTM, TANH, unroll
from jaxrnn.text import batches
from jaxrnn.training import init_train_state, make_train_chunk, train_step

RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(0, 30, (7, 11))


def normal(*shape):
    return jnp.asarray(RANDOM.normal(size=shape), jnp.float32)


def unrolled(cell):
    def run(Whh, projected, *carry):
        hidden, last = unroll(cell, Whh, projected, carry)
        return hidden, *last

    def loss(*arguments):
        return sum((jnp.arange(1, out.size + 1).reshape(out.shape) * out).mean() for out in run(*arguments))

    carry = [normal(3, 5) for _ in cell.init_carry(1, 5, jnp.float32)]
    return jax.value_and_grad(loss, argnums=(0, 1, 2)), (
        normal(5, 5 * cell.gates),
        normal(7, 3, 5 * cell.gates),
        *carry,
    )


def trained(vocab_size):
    """Ten steps, whose batches have few of the symbols."""
    config = TrainConfig(model=ModelConfig(hidden_size=8, vocab_size=vocab_size), sequence_length=5)
    chunk = batches(RANDOM.integers(0, vocab_size, 100), 0, 10, config)

    def train():
        state, metrics = make_train_chunk(config)(init_train_state(jax.random.key(0), config), chunk)
        return state.params, state.opt_state, metrics.loss

    return train, ()


def doubled(x):
    return run_sequentially(lambda state, x: state + jnp.sin(x), jnp.ones(5), x)


# By kernel: functions, and arguments that they are called with.
TABLE = {
    "unroll tanh": unrolled(TANH),
    "unroll gru": unrolled(GRU),
    "unroll lstm": unrolled(LSTM),
    "matmul forward, one lane": (lambda h, W: times_matrix(W, 1)(h), (normal(1, 20), normal(20, 19))),
    "matmul backward, one lane": (lambda h, W: times_matrix(W, 1, transposed=True)(h), (normal(1, 19), normal(20, 19))),
    "matmul backward": (lambda h, W: times_matrix(W, 4, transposed=True)(h), (normal(4, 19), normal(20, 19))),
    "matmul rounded": (lambda h, W: times_matrix(W, 4, "bfloat16")(h), (normal(4, 1100), normal(1100, 19))),
    "matmul transposed": (transposed_product, (normal(20, 4), normal(20, 5))),
    "sequential": (doubled, (normal(5),)),
    "categorical": (draw_weighted, (jnp.exp(normal(64, 200)), jnp.asarray(RANDOM.random(64), jnp.float32))),
    "bernoulli": (lambda key: bernoulli(key, jnp.asarray([[0.3], [0.8]]), (2, 90), 1), (jax.random.key(1),)),
    "lookup": (jax.grad(lambda W: (look_up(W, TOKENS) ** 2).sum()), (normal(30, 5),)),
    "sparse_rows": trained(vocab_size=60),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_kernel_computes_what_its_plain_twin_does(case, monkeypatch):
    if case == "lookup":  # for a GPU alone
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    function, arguments = TABLE[case]
    fast = jax.jit(function)(*arguments) if arguments else function()
    with kernels.plain(case.split()[0]):
        plain = jax.jit(function)(*arguments) if arguments else function()
    # The order of sums differs, of rounded factors and of the softmax.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), fast, plain)


def test_every_kernel_has_a_case():
    assert {case.split()[0] for case in TABLE} == set(kernels.KERNELS)


@pytest.mark.slow
def test_without_jit_the_plain_twins_run_as_a_debugger_needs_it():
    config = TrainConfig(model=ModelConfig(cell="lstm", hidden_size=3, vocab_size=5), sequence_length=2)
    batch = jax.tree.map(lambda part: part[0], batches(np.arange(40) % 5, 0, 1, config))
    state, metrics = train_step(init_train_state(jax.random.key(0), config), batch, config)
    with jax.disable_jit():
        assert not kernels.uses("unroll")
        plain_state, plain_metrics = train_step(init_train_state(jax.random.key(0), config), batch, config)
    np.testing.assert_allclose(metrics.loss, plain_metrics.loss, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.params, plain_state.params)


@pytest.mark.compiler
def test_a_jitted_function_is_traced_again_for_the_plain_twins():
    function, (Whh, projected, carry) = unrolled(TANH)
    program = jax.jit(function)
    fast = program.lower(Whh, projected, carry).as_text()
    with kernels.plain("unroll"):
        plain = program.lower(Whh, projected, carry).as_text()
    assert fast != plain
    assert program.lower(Whh, projected, carry).as_text() == fast


def test_plain_names_add_up_and_end_with_the_block():
    with kernels.plain("unroll"):
        with kernels.plain("matmul"):
            assert [kernels.uses(name) for name in ("unroll", "matmul", "categorical")] == [False, False, True]
        assert kernels.uses("matmul")
    with kernels.plain():
        assert not any(map(kernels.uses, kernels.KERNELS))
    assert all(map(kernels.uses, kernels.KERNELS))
    with pytest.raises(JaxrnnError, match="no such kernel: unrol; there are unroll, matmul"), kernels.plain("unrol"):
        pass

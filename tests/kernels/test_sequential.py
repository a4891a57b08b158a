import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.kernels.sequential import run_sequentially


def add_and_count(state, inputs):
    total, rounds = state
    return total + jnp.sin(inputs["x"]).sum(), rounds + 1


def run(total, x, offset=0):
    return run_sequentially(add_and_count, (total, jnp.asarray(offset)), {"x": x})


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda function: jax.jit(jax.vmap(function))])
def test_it_computes_what_its_body_does_and_once(transform):
    totals, x = jnp.arange(3.0), jnp.linspace(0, 1, 12).reshape(3, 4)
    one = transform is jax.jit
    total, rounds = transform(run)(*(totals[1], x[1]) if one else (totals, x))
    expected = np.arange(3) + np.sin(np.linspace(0, 1, 12).reshape(3, 4)).sum(axis=1)
    np.testing.assert_allclose(total, expected[1] if one else expected, rtol=1e-6)
    assert (np.asarray(rounds) == 1).all()


def test_keys_go_in_as_inputs():
    key = jax.random.key(3)
    program = jax.jit(lambda key, x: run_sequentially(lambda x, key: x + jax.random.uniform(key), x, key))
    assert program(key, jnp.zeros(())) == jax.random.uniform(key)


@pytest.mark.compiler
def test_on_a_cpu_nothing_of_it_is_left_outside_of_the_loop():
    program = jax.jit(run).lower(jnp.zeros(()), jnp.ones(5)).compile().as_text()
    computations = re.split(r"\n(?=\S.*\{\n)", program)
    (entry,) = (text for text in computations if text.startswith("ENTRY"))
    (inside,) = (text for text in computations if "sine(" in text or "stablehlo.sin" in text)
    assert inside != entry
    called = re.findall(r"(?:calls|body|to_apply)=%?([\w.-]+)", entry)
    assert not any(inside.startswith(f"%{name} ") for name in called)
    assert "while(" in program

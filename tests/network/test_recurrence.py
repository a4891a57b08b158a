import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import bfloat16
from jax.test_util import check_grads

from jaxrnn.errors import JaxrnnError
from jaxrnn.network import GRU, LSTM, TANH, Cell
from jaxrnn.network.recurrence import unroll, unroll_plain

T, B, H = 7, 3, 5


def _leaky_update(projected, recurrent, carry):
    """A cell with two gates and two entries in its carry, of which only the first is the hidden state."""
    hidden, memory = carry
    (projected_gate, projected_new), (gate, new) = jnp.split(projected, 2, -1), jnp.split(recurrent, 2, -1)
    keep = jax.nn.sigmoid(projected_gate + gate)
    memory = keep * memory + (1 - keep) * jnp.sin(projected_new + new * hidden)
    return jnp.tanh(memory) * keep, memory


LEAKY = Cell(
    2, lambda batch_size, hidden_size, dtype: (jnp.zeros((batch_size, hidden_size), dtype),) * 2, _leaky_update
)


def problem(cell, batch, dtype, seed=0, T=T, H=H):
    """Random Whh, projected and carry for a cell."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    carry = tuple(draw(*batch, H) for _ in cell.init_carry(1, H, dtype))
    return draw(H, cell.gates * H), draw(T, *batch, cell.gates * H), carry


def scalar(run, cell):
    """Every output of a run, weighted differently, in one number."""

    def function(Whh, projected, carry):
        hidden, last = run(cell, Whh, projected, carry)
        weights = jnp.arange(1, hidden.size + 1, dtype=hidden.dtype).reshape(hidden.shape)
        return (weights * hidden).sum() + sum(((index + 2) * entry**2).sum() for index, entry in enumerate(last))

    return function


cells = pytest.mark.parametrize("cell", [TANH, GRU, LSTM, LEAKY], ids=["tanh", "gru", "lstm", "a user's own"])
slow = pytest.mark.slow
# What depends on how a cell uses its two inputs only: a cell that adds them, and one that does not.
kinds_of_cells = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(TANH, id="tanh"),
        pytest.param(GRU, id="gru", marks=slow),
        pytest.param(LSTM, id="lstm", marks=slow),
        pytest.param(LEAKY, id="a user's own"),
    ],
)
batched = pytest.mark.parametrize(
    "batch", [pytest.param((), marks=pytest.mark.slow, id="one sequence"), pytest.param((B,), id="batch")]
)


@batched
def test_it_computes_the_tanh_recurrence(batch, x64):
    Whh, projected, carry = problem(TANH, batch, jnp.float64)
    hidden, last = unroll(TANH, Whh, projected, carry)
    h = np.asarray(carry[0])
    for t in range(T):
        h = np.tanh(np.asarray(projected)[t] + h @ np.asarray(Whh))
        np.testing.assert_allclose(hidden[t], h, rtol=1e-12)
    np.testing.assert_array_equal(last[0], hidden[-1])


@cells
@batched
@pytest.mark.parametrize(
    ("dtype", "tolerance", "jit"),
    [
        pytest.param("float32", 1e-4, True, marks=slow),
        ("float64", 1e-11, True),
        pytest.param("float64", 1e-11, False, marks=slow),
    ],
)
def test_its_gradient_is_that_of_the_plain_scan(cell, batch, dtype, tolerance, jit, x64):
    arguments = problem(cell, batch, dtype)
    fast, plain = (
        jax.value_and_grad(scalar(run, cell), argnums=(0, 1, 2)) for run in (unroll, unroll_plain)
    )  # fmt: skip
    got, expected = (jax.jit(fast) if jit else fast)(*arguments), jax.jit(plain)(*arguments)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale), got, expected)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize(
    ("cell", "products"),
    [
        (GRU, "full"),
        pytest.param(GRU, "bfloat16", marks=slow),
        pytest.param(LEAKY, "full", marks=slow),
        (LEAKY, "bfloat16"),
    ],
)
@batched
@pytest.mark.slow
def test_a_recurrent_bias_is_added_to_the_product_and_has_its_gradient(cell, batch, products, x64):
    Whh, projected, carry = problem(cell, batch, jnp.float64)
    bhh = jnp.asarray(np.random.default_rng(1).normal(size=cell.gates * H))

    def with_bias(run, **options):
        def biased(cell, Whh, projected, carry):
            return run(cell, Whh, projected, carry[:-1], bhh=carry[-1], **options)

        return jax.jit(jax.value_and_grad(scalar(biased, cell), argnums=(0, 1, 2)))

    got = with_bias(unroll, products=products)(Whh, projected, (*carry, bhh))
    expected = with_bias(unroll_plain)(Whh, projected, (*carry, bhh))
    tolerance = 0.05 if products == "bfloat16" else 1e-11
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert jnp.linalg.norm(a - b) <= tolerance * jnp.linalg.norm(b)
    run = jax.jit(unroll, static_argnames=("cell", "products"))
    hidden, _ = run(cell, Whh, projected, carry, products=products)
    assert (run(cell, Whh, projected, carry, products=products, bhh=bhh)[0] != hidden).any()


@kinds_of_cells
@pytest.mark.slow
def test_its_gradient_passes_finite_differences(cell, x64):
    check_grads(
        jax.jit(scalar(unroll, cell)), problem(cell, (B,), jnp.float64), order=1, modes=["rev"], rtol=1e-6, eps=1e-6
    )


@kinds_of_cells
@pytest.mark.slow
def test_it_works_under_vmap(cell, x64):
    problems = [problem(cell, (B,), jnp.float64, seed) for seed in range(4)]
    gradient = jax.grad(scalar(unroll, cell), argnums=(0, 1, 2))
    gradient = jax.jit(gradient)
    together = jax.jit(jax.vmap(gradient))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems))
    for index, arguments in enumerate(problems):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), one, gradient(*arguments))


@kinds_of_cells
@pytest.mark.slow
def test_a_large_gradient_that_is_written_over_the_projections_is_no_other(cell, x64):
    arguments = problem(cell, (16,), jnp.float64, T=270, H=64)
    assert arguments[1].size > 2**18
    arguments = (arguments[0] / 20, *arguments[1:])  # of more weight the cells are chaotic
    kept = jax.tree.map(np.array, arguments)

    def both(run):  # the gradient, and the Hessian times a vector of ones
        gradient = jax.grad(scalar(run, cell), argnums=(0, 1, 2))
        return jax.jit(lambda *at: jax.jvp(gradient, at, jax.tree.map(jnp.ones_like, at)))(*arguments)

    for got, expected in zip(jax.tree.leaves(both(unroll)), jax.tree.leaves(both(unroll_plain)), strict=True):
        assert jnp.linalg.norm(got - expected) < 1e-11 * jnp.linalg.norm(expected)
    jax.tree.map(np.testing.assert_array_equal, arguments, kept)


@kinds_of_cells
@pytest.mark.parametrize(
    "outer",
    [pytest.param(jax.jacrev, id="reverse"), pytest.param(jax.jacfwd, id="forward", marks=pytest.mark.slow)],
)
@pytest.mark.slow
def test_hessians_are_those_of_the_plain_scan(cell, outer, x64):
    Whh, projected, carry = problem(cell, (), jnp.float64)
    arguments = Whh, projected[:3], carry
    got, expected = (jax.jit(outer(jax.grad(scalar(run, cell))))(*arguments) for run in (unroll, unroll_plain))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_forward_mode_on_its_own_needs_the_plain_scan_and_agrees_with_finite_differences(x64):
    arguments = problem(TANH, (B,), jnp.float64)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(scalar(unroll, TANH), arguments, arguments)
    check_grads(scalar(unroll_plain, TANH), arguments, order=1, modes=["fwd"], rtol=1e-6, eps=1e-6)


@pytest.mark.parametrize("run", [unroll, unroll_plain])
@pytest.mark.parametrize(
    ("Whh", "projected", "message"),
    [
        ((H, H + 1), (T, B, H), r"Whh must be \[H, G\*H\] = \(5, 5\)"),
        ((H, H), (T, B + 1, H), r"projected must be \[T, B, G\*H\]"),
        ((H, H), (T, B, 2 * H), r"projected must be \[T, B, G\*H\]"),
        ((H, H), (T, H), r"projected must be \[T, B, G\*H\]"),
    ],
)
def test_wrong_shapes_are_named_while_tracing(run, Whh, projected, message):
    with pytest.raises(JaxrnnError, match=message):
        jax.eval_shape(lambda *a: run(TANH, *a), jnp.zeros(Whh), jnp.zeros(projected), (jnp.zeros((B, H)),))


@pytest.mark.parametrize("run", [unroll, unroll_plain])
def test_a_recurrent_bias_of_the_wrong_size_is_named(run):
    with pytest.raises(JaxrnnError, match=r"bhh must be \[G\*H\] = \(15,\) for this carry, got \(5,\)"):
        run(GRU, jnp.zeros((H, 3 * H)), jnp.zeros((T, 3 * H)), (jnp.zeros(H),), bhh=jnp.zeros(5))


@kinds_of_cells
@batched
@pytest.mark.slow
def test_with_bfloat16_products_every_h_is_the_cell_of_rounded_factors_and_gradients_stay_near(cell, batch):
    Whh, projected, carry = problem(cell, batch, jnp.float32)
    Whh = Whh * 0.3
    hidden, _ = jax.jit(unroll, static_argnames=("cell", "products"))(cell, Whh, projected, carry, products="bfloat16")
    update = jax.jit(cell.update)
    for t in range(T):
        carry = update(np.asarray(projected)[t], bfloat16(carry[0]) @ bfloat16(Whh), carry)
        np.testing.assert_allclose(hidden[t], carry[0], rtol=1e-4, atol=1e-4)
    arguments = Whh, projected, problem(cell, batch, jnp.float32)[2]
    rounded, full = (
        jax.jit(jax.grad(scalar(run, cell), argnums=(0, 1, 2)))(*arguments)
        for run in (lambda *a: unroll(*a, products="bfloat16"), unroll)
    )
    for got, expected in zip(jax.tree.leaves(rounded), jax.tree.leaves(full), strict=True):
        assert got.dtype == jnp.float32
        assert 0 < jnp.linalg.norm(got - expected) < 0.03 * jnp.linalg.norm(expected)


def _from_a_half(batch_size, hidden_size, dtype):
    return (jnp.full((batch_size, hidden_size), 0.5, dtype),) * 2


restarted = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(TANH, id="tanh"),
        pytest.param(GRU, id="gru", marks=slow),
        pytest.param(LSTM, id="lstm", marks=slow),
        pytest.param(LEAKY._replace(init_carry=_from_a_half), id="a user's own"),
    ],
)


def starting(run, starts):
    return lambda *arguments: run(*arguments, starts=starts)


@restarted
@batched
@pytest.mark.slow
def test_with_starts_it_is_each_document_by_itself_and_so_are_its_gradients(cell, batch, x64):
    Whh, projected, carry = problem(cell, batch, jnp.float64)
    starts = np.random.default_rng(0).random((T, *batch)) < 0.3
    starts[0] = starts[-1] = True
    initial = jax.tree.map(
        lambda entry: entry if batch else entry[0], cell.init_carry(B if batch else 1, H, jnp.float64)
    )

    def documents(cell, Whh, projected, carry):
        hidden = []
        for t in range(T):
            at = starts[t][..., None]
            carry = tuple(jnp.where(at, new, entry) for new, entry in zip(initial, carry, strict=True))
            carry = cell.update(projected[t], carry[0] @ Whh, carry)
            hidden.append(carry[0])
        return jnp.stack(hidden), carry

    runs = documents, starting(unroll, starts), starting(unroll_plain, starts)
    expected, *others = (
        jax.jit(jax.value_and_grad(scalar(run, cell), argnums=(0, 1, 2)))(Whh, projected, carry) for run in runs
    )
    for got in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, expected)


@restarted
@pytest.mark.slow
def test_its_gradient_with_starts_passes_finite_differences(cell, x64):
    starts = np.random.default_rng(1).random((T, B)) < 0.3
    arguments = problem(cell, (B,), jnp.float64)
    check_grads(jax.jit(scalar(starting(unroll, starts), cell)), arguments, order=1, modes=["rev"], rtol=1e-6, eps=1e-6)


@kinds_of_cells
@batched
def test_with_a_mask_only_its_units_enter_the_recurrent_product_and_gradients_are_right(cell, batch, x64):
    Whh, projected, carry = problem(cell, batch, jnp.float64)
    mask = np.random.default_rng(2).random((*batch, H)) < 0.5
    starts = np.random.default_rng(3).random((T, *batch)) < 0.2

    def masked(run):
        return lambda *arguments: run(*arguments, starts=starts, mask=mask)

    def step_by_step(cell, Whh, projected, carry):
        initial, hidden = cell.init_carry(max(1, len(batch) * B), H, jnp.float64), []
        for t in range(T):
            reset = [new if batch else new[0] for new in initial]
            carry = tuple(jnp.where(starts[t][..., None], new, old) for new, old in zip(reset, carry, strict=True))
            carry = cell.update(projected[t], (carry[0] * mask) @ Whh, carry)
            hidden.append(carry[0])
        return jnp.stack(hidden), carry

    expected, *others = (
        jax.jit(jax.value_and_grad(scalar(run, cell), argnums=(0, 1, 2)))(Whh, projected, carry)
        for run in (step_by_step, masked(unroll), masked(unroll_plain))
    )
    for got in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, expected)
    with pytest.raises(JaxrnnError, match=r"mask must be bool \[B, H\] = "):
        unroll(cell, Whh, projected, carry, mask=mask[..., 1:])


@kinds_of_cells
@pytest.mark.slow
def test_its_gradient_with_a_mask_passes_finite_differences(cell, x64):
    mask = np.random.default_rng(2).random((B, H)) < 0.5
    function = jax.jit(scalar(lambda *arguments: unroll(*arguments, mask=mask), cell))
    check_grads(function, problem(cell, (B,), jnp.float64), order=1, modes=["rev"], rtol=1e-6, eps=1e-6)


@pytest.mark.compiler
def test_no_starts_are_the_same_as_starts_nowhere_and_leave_the_program_as_it_was():
    arguments = TANH, *problem(TANH, (B,), jnp.float32)
    np.testing.assert_array_equal(unroll(*arguments)[0], unroll(*arguments, starts=np.zeros((T, B), bool))[0])
    gradient = jax.grad(scalar(unroll, TANH), argnums=(0, 1, 2))
    assert "select" not in jax.jit(gradient).lower(*arguments[1:]).as_text()
    with pytest.raises(JaxrnnError, match=r"starts must be bool \[T, B\] = \(7, 3\)"):
        unroll(*arguments, starts=np.zeros((T, B + 1), bool))


@pytest.mark.compiler
@pytest.mark.parametrize(("cell", "kept", "emitted"), [(TANH, 1, 1), (GRU, 5, 6), (LSTM, 7, 4)])
def test_the_loops_store_each_thing_once(cell, kept, emitted):
    # Forward, for tanh: h. GRU: h, and r, z, n and the recurrent part that r scales. LSTM: h, and i, f, g, o, tanh(c_t)
    # and c_tm1. Backward: the gradient of each gate, and for the GRU of both parts of each.
    steps, lanes, hidden_size = 3, 2, 4
    carry = cell.init_carry(lanes, hidden_size, jnp.float32)
    arguments = jnp.zeros((hidden_size, cell.gates * hidden_size)), jnp.zeros((steps, lanes, cell.gates * hidden_size))

    def sum_of_hidden(Whh, projected):
        return unroll(cell, Whh, projected, carry)[0].sum()

    program = jax.make_jaxpr(jax.grad(sum_of_hidden, argnums=(0, 1)))(*arguments).jaxpr
    loops = [equation.outvars for equation in program.eqns if equation.primitive.name == "scan"]
    stored = [sum(output.aval.size for output in outputs if output.aval.ndim == 3) for outputs in loops]
    assert stored == [count * steps * lanes * hidden_size for count in (kept, emitted)]


@pytest.mark.parametrize(
    "update",
    [
        lambda projected, recurrent, carry: (jnp.tanh(projected + recurrent) + 0.5 * projected,),
        lambda projected, recurrent, carry: (projected + jnp.tanh(recurrent) * carry[0],),
        lambda projected, recurrent, carry: (jnp.tanh(projected * 2 + recurrent) / (1 + carry[0] ** 2),),
        lambda projected, recurrent, carry: (jnp.maximum(projected + recurrent, 0) + jnp.exp(-(carry[0] ** 2)),),
        lambda projected, recurrent, carry: (projected,),
    ],
)
@pytest.mark.slow
def test_any_way_of_using_the_two_parts_has_the_gradient_of_the_plain_scan(update, x64):
    cell = Cell(gates=1, init_carry=TANH.init_carry, update=update)
    rng = np.random.default_rng(0)
    Whh, projected, h = (jnp.asarray(rng.normal(size=shape)) for shape in ((4, 4), (5, 2, 4), (2, 4)))

    def total(function, *arguments):
        hidden, (last,) = function(cell, *arguments)
        return (hidden * jnp.cos(hidden)).sum() + last.sum()

    expected, got = (
        jax.jit(jax.grad(lambda *a, f=f: total(f, *a), argnums=(0, 1, 2)))(Whh, projected, (h,))
        for f in (unroll_plain, unroll)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), expected, got)

import contextlib
import csv
import functools
import gzip
import json
import os
import pydoc
import re
import shlex
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import in_a_line

from jaxrnn.bench import kernels, limits, measure, numpy_reference, references, suites, timing
from jaxrnn.bench.config import BenchConfig, BenchError
from jaxrnn.bench.limits import update_values
from jaxrnn.bench.references import reference_arguments, reference_starts, version
from jaxrnn.bench.suites import exponent, measure_devices, measure_step
from jaxrnn.bench.timing import Contender, Cost, LeftOut, Program, Result, Timing, check, compete, race
from jaxrnn.bench.trace import part_of
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import make_workload, named_params, training_program
from jaxrnn.cli import main, parse
from jaxrnn.cli.bench_output import result_table
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels import KERNELS, plain
from jaxrnn.network.cells import CELLS
from jaxrnn.network.loss import loss
from jaxrnn.network.model import init_params, initial_carry
from jaxrnn.plots import check_plot_file
from jaxrnn.text import Batch
from jaxrnn.training.jitted import make_train_step

SMALL = {"hidden_size": 6, "sequence_length": 5, "vocab_size": 7, "chunk_length": 4}
SMALL_FLAGS = "--hidden-size 6 --sequence-length 5 --vocab-size 7 --chunk-length 4 --repeats 1"


@pytest.fixture(autouse=True)
def _settings_of_jax_restored(monkeypatch):
    """The command changes settings of its process, which all tests share here, and shows its XLA_FLAGS."""
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(timing, "SECONDS", 0.004)  # measure in moments, if not exactly
    names = ("jax_enable_compilation_cache", "jax_cpu_enable_async_dispatch", "jax_compilation_cache_dir")
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def without_torch(monkeypatch):
    others = {"torch", *references.LIBRARIES.values()}
    monkeypatch.setattr(references, "version", lambda name: None if name in others else version(name))


@pytest.fixture
def small_limits(monkeypatch):
    """Measure the machine's limits in moments, if not exactly."""
    monkeypatch.setattr(limits, "SECONDS", 0.004)


def small_workload(**values):
    return make_workload(BenchConfig().changed(**{**SMALL, "dtype": "float64", **values}))


def trained(workload, steps):
    """Our parameters and losses after so many steps."""
    step, state, losses = make_train_step(workload.config), workload.initial_state(), []
    for number in range(steps):
        batches = workload.single_batches()
        state, metrics = step(state, batches[number % len(batches)])
        losses.append(float(metrics.loss))
    return named_params(state.params), losses


# ---- the references do the same work -------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "lanes"), [("tanh", 1), ("gru", 3), ("lstm", 1), ("lstm", 3)])
@pytest.mark.slow
def test_the_numpy_reference_has_our_loss_and_gradient(x64, cell, lanes):
    model = small_workload(cell=cell).config.model
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), model))
    params = jax.tree.map(lambda weight: random.normal(0.1, 0.5, weight.shape), shapes)
    inputs, targets = random.integers(0, 7, (2, 5, lanes))
    carry = jax.tree.map(lambda entry: jnp.asarray(random.normal(size=entry.shape)), initial_carry(lanes, model))
    batch = Batch(inputs, targets, np.asarray(False))
    ours = jax.jit(jax.value_and_grad(lambda params: loss(params, carry, batch, model), has_aux=True))
    (nats, after), gradient = ours(params)

    reference = numpy_reference.Reference(**reference_arguments(small_workload(cell=cell)))
    reference.params = named_params(params)
    carry = tuple(map(np.asarray, carry[0]))
    their_nats, their_gradient, their_carry = reference.loss_and_gradient(inputs, targets, carry)
    assert their_nats == pytest.approx(float(nats), rel=1e-12)
    for name, expected in named_params(gradient).items():
        np.testing.assert_allclose(their_gradient[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(their_carry, after[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "lanes", "optimizer"), [("tanh", 1, "adagrad"), ("gru", 3, "adagrad"), ("lstm", 1, "adam")]
)
@pytest.mark.slow
def test_the_numpy_reference_trains_as_optax_does(x64, cell, lanes, optimizer):
    workload = small_workload(cell=cell, batch_size=lanes, optimizer=optimizer)
    params, losses = trained(workload, 6)  # beyond the chunk: it begins again with a zero carry
    reference = numpy_reference.Reference(**reference_arguments(workload))
    assert reference.train(6) == pytest.approx(losses, rel=1e-9)
    for name, expected in params.items():
        np.testing.assert_allclose(reference.params[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_numpy_reference_clips_as_optax_does():
    reference = numpy_reference.Reference(**{**reference_arguments(small_workload(dtype="float32")), "clip_value": 2.0})
    gradient = {name: np.linspace(-5, 5, value.size).reshape(value.shape) for name, value in reference.params.items()}
    memory = np.clip(gradient["Whh"], -2, 2) ** 2
    reference.update({name: value.copy() for name, value in gradient.items()})
    np.testing.assert_allclose(reference.first["Whh"], memory)


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_the_numpy_sampler_draws_with_our_probabilities(x64, cell):
    workload = small_workload(cell=cell)
    tokens, nats = numpy_reference.Reference(**reference_arguments(workload)).sample(50)
    text = jnp.asarray([0, *tokens])[:, None]
    model, params = workload.config.model, workload.initial_state().params
    ours, _ = loss(params, initial_carry(1, model), Batch(text[:-1], text[1:], np.asarray(True)), model)
    assert nats == pytest.approx(float(ours), rel=1e-9)


def random_arguments(cell, lanes, vocab_size, optimizer):
    """The arguments of a reference, without waiting for JAX."""
    random, width = np.random.default_rng(0), CELLS[cell].gates * 6
    shapes = {
        "Wxh": (vocab_size, width),
        "Whh": (6, width),
        "bh": (width,),
        "Why": (6, vocab_size),
        "by": (vocab_size,),
        **({"bhh": (width,)} if cell == "gru" else {}),
    }
    inputs, targets = random.integers(0, vocab_size, (2, 4, 5, lanes))
    return {
        "params": {name: random.normal(scale=0.5, size=shape) for name, shape in shapes.items()},
        "batches": (inputs, targets, np.arange(4) == 0),
        "cell": cell,
        "optimizer": optimizer,
        "learning_rates": [0.01, 0.02, 0.03, 0.04],
        "clip_value": 0.2,
    }


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("vocab_size", [5, 40], ids=["one-hot input", "rows looked up"])
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_the_torch_reference_trains_as_the_numpy_reference_does(cell, lanes, vocab_size, optimizer):
    pytest.importorskip("torch")
    from jaxrnn.bench import torch_reference

    arguments = random_arguments(cell, lanes, vocab_size, optimizer)
    ours, theirs = numpy_reference.Reference(**arguments), torch_reference.Reference(**arguments, **TORCH)
    assert theirs.looks_up == (vocab_size > CELLS[cell].gates * 6)
    assert theirs.train(7) == pytest.approx(ours.train(7), rel=1e-9)  # beyond the chunk: again with a zero carry
    for name, value in ours.params.items():
        np.testing.assert_allclose(theirs.weights[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


TORCH = {
    "dtype": "float64",
    "numbers": {"beta1": 0.9, "beta2": 0.999, "rms_decay": 0.9, "momentum": 0.5, "decay": 0.0},
}


def raced(workload, *names, tolerance=1e-5):
    """The race of our chunk and of these references, which checks that they have the same losses."""
    with contextlib.ExitStack() as stack:
        starts = reference_starts(stack, workload)
        ours = {"chunk": training_program(workload, chunked=True).contender}
        return compete(ours | {name: starts[name] for name in names}, 1, tolerance)


@pytest.fixture(scope="module")
def torch_worker():
    with Worker("torch_reference") as worker:
        yield worker


@pytest.fixture
def one_torch(torch_worker, monkeypatch):
    """One process of PyTorch for several tests: it takes seconds to begin."""
    monkeypatch.setattr(references, "Worker", lambda _: contextlib.nullcontext(torch_worker))


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch")
@pytest.mark.parametrize(
    ("cell", "layers", "optimizer"),
    [("tanh", 1, "adagrad"), ("relu", 2, "sgd"), ("gru", 2, "adamw"), ("lstm", 2, "rmsprop")],
    ids=lambda value: str(value),
)
def test_torch_does_our_work_with_the_optimizers_and_schedules_of_the_presets(cell, layers, optimizer):
    pytest.importorskip("torch")
    schedule = {"schedule": "cosine", "warmup_steps": 1, "steps": 9, "init_scale": 0.5}
    workload = small_workload(
        cell=cell, num_layers=layers, optimizer=optimizer, batch_size=3, dtype="float32", **schedule
    )
    timings, notes = raced(workload, "PyTorch")
    assert timings["PyTorch"].median > 0
    assert re.fullmatch(r"PyTorch: \d+ threads?, the fastest number", notes[0])


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch")
def test_rounded_products_race_with_the_autocast_of_torch():
    pytest.importorskip("torch")
    # The loss is about 390 nats, which bfloat16 would round to multiples of two.
    workload = small_workload(cell="lstm", products="bfloat16", dtype="float32", sequence_length=200)
    timings, notes = raced(workload, "PyTorch autocast", tolerance=1e-3)
    assert timings["PyTorch autocast"].median > 0
    assert notes[0].endswith("products in bfloat16")


# Where a library is missing there is nothing to compare with, and the race has to say so.
@pytest.mark.slow
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize("library", ["flax", "haiku", "equinox"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_jax_library_has_our_losses_or_is_left_out_by_name(library, cell):
    workload = small_workload(cell=cell, num_layers=2, optimizer="adam", batch_size=3, dtype="float32", init_scale=0.5)
    with jax.numpy_rank_promotion("allow"):  # the libraries use it
        timings, notes = raced(workload, library)
    distribution = references.LIBRARIES[library]
    if version(distribution) is None:
        assert notes == [f"{library}: left out: {distribution} is not installed; pip install {distribution}"]
    elif (library, cell) == ("equinox", "tanh"):
        assert notes == ["equinox: left out: it has no such cell"]
    else:
        assert timings[library].cost.compile_seconds > 0


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"num_layers": 2}, {"NumPy": "in a single layer"}),
        ({"optimizer": "sgd"}, {"NumPy": "it has adagrad and adam"}),
        ({"clip": "norm"}, {"NumPy": "clipping by norm", "PyTorch": "clipping by norm"}),
        ({"dropout": 0.5, "num_layers": 2}, dict.fromkeys(["NumPy", "PyTorch", "flax"], "dropout")),
    ],
    ids=str,
)
def test_what_a_reference_cannot_do_is_left_out_with_the_reason(settings, reasons, monkeypatch):
    monkeypatch.setattr(references, "version", lambda name: "1.0")
    with contextlib.ExitStack() as stack:
        starts = reference_starts(stack, small_workload(dtype="float32", **settings))
        for name, reason in reasons.items():
            with pytest.raises(LeftOut, match=reason):
                starts[name]()


def test_a_reference_that_does_other_work_is_an_error():
    check("NumPy", [1.0, 2.0], [1.0, 2.0], 1e-9)
    for wrong in (2.1, float("nan")):
        with pytest.raises(BenchError, match=r"NumPy does not do the same work: it computes .* ours is 2"):
            check("NumPy", [1.0, wrong], [1.0, 2.0], 1e-2)


def test_a_wrong_reference_stops_the_benchmark(without_torch, monkeypatch, capsys):
    def wrong(workload):
        return {**arguments(workload), "learning_rates": [0.2]}

    arguments = references.reference_arguments
    monkeypatch.setattr(references, "reference_arguments", wrong)
    assert main(shlex.split(f"bench {SMALL_FLAGS}")) == 1
    assert "NumPy does not do the same work" in capsys.readouterr().err


# ---- workers -------------------------------------------------------------------------------------------------------


def test_workers_end_when_their_parent_raises(without_torch, monkeypatch):
    started = []

    class RecordedWorker(Worker):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            started.append(self.process)

    def fail():
        with contextlib.ExitStack() as stack:
            contender = reference_starts(stack, small_workload(dtype="float32"))["NumPy"]()
            assert contender.run() > 0
            assert started[-1].poll() is None
            raise ZeroDivisionError

    monkeypatch.setattr(references, "Worker", RecordedWorker)
    with pytest.raises(ZeroDivisionError):
        fail()
    monkeypatch.setattr(references, "repeated", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_workers_end_when_their_parent_is_killed():
    script = """
import os, signal
from jaxrnn.bench.worker import Worker
worker = Worker("numpy_reference")
print(worker.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert parent.returncode == -signal.SIGKILL
    worker = int(parent.stdout)
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process):
    """A process that has ended and that nobody waited for (in a container without an init) does not run either."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_workers_have_as_many_threads_as_asked_for_and_report_errors(tmp_path, monkeypatch):
    with Worker("numpy_reference", threads=1) as worker:
        with pytest.raises(BenchError, match=r"TypeError: .*nonsense"):
            worker.call("Reference", nonsense=1)
        environment = f"/proc/{worker.process.pid}/environ"
        if os.path.exists(environment):  # noqa: PTH110
            with open(environment) as file:  # noqa: PTH123
                assert {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"} <= set(file.read().split("\0"))
    with Worker("no_such_reference") as worker, pytest.raises(BenchError, match="ModuleNotFoundError"):
        worker.call("Reference")
    with Worker("numpy_reference") as worker:
        worker.process.kill()
        with pytest.raises(BenchError, match="the process of the numpy_reference ended"):
            worker.call("Reference")


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def test_the_number_of_values_that_an_optimizer_has_to_move():
    # 3 of 10 rows of Wxh have a gradient, G*H = 4; 100 parameters in all.
    assert update_values("adagrad", 100, 4, 10, 3.0) == 5 * (100 - 7 * 4)
    assert update_values("adam", 100, 4, 10, 3.0) == 7 * 100


def test_a_race_interleaves_and_compares_round_by_round():
    order = []

    def contender(name, values):
        values = iter(values)
        return Contender(lambda: order.append(name) or next(values))

    timings = race(
        {"slow": contender("slow", [2.0, 40.0, 9.0]), "fast": contender("fast", [1.0, 10.0, 3.0])}, 3, rest=0
    )
    assert order == ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert timings["slow"] == Timing(9.0, 5.5, 24.5, (2.0, 40.0, 9.0))
    ratio = timings["slow"].over(timings["fast"])
    assert ratio.rounds == (2.0, 4.0, 3.0)
    assert ratio.median == 3.0


def test_a_contender_runs_about_as_long_as_it_should(monkeypatch):
    now, calls = 0.0, 0

    def two_seconds(state, feed):
        nonlocal now, calls
        now, calls = now + 2, calls + 1
        return state, feed

    def repeated(units, seconds):
        return Program(two_seconds, (), [()], units).contender(seconds)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    contender = repeated(units=4, seconds=10)
    assert contender.cost == Cost(compile_seconds=2)
    assert calls == 3  # one to compile, two to be timed
    assert contender.run() == 0.5
    assert calls == 3 + 5
    assert repeated(units=1, seconds=0).run() == 2
    calls = 0
    repeated(units=1, seconds=100)
    assert calls == 1 + 2 * (1 + 4 + 16)  # more calls until they take long enough to be timed


@pytest.mark.parametrize("power", [0, 0.5, 1, 2, -1.5])
def test_exponent_recovers_a_power_law(power):
    sizes = [64, 128, 256, 512, 1024]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


# ---- the command ---------------------------------------------------------------------------------------------------


SUITES = {  # contenders, the compiled ones first; how many of them are compiled; columns; details
    "step": (["jit", "chunk", "NumPy", "floor"], 2, ["x jit", "x chunk", "x floor"]),
    "sample": (["streams 1", "streams 3", "NumPy 1"], 2, ["x NumPy 1", "x streams 1"]),
    "startup": (
        ["first start", "second start", "python", "import numpy", "import jax", "import jaxrnn.runs", "jaxrnn --help"],
        0,
        ["x first"],
    ),
    "scaling": ([f"{letter} {size}" for letter, size in zip("HHTTBBVV", (6, 9, 5, 9, 1, 9, 7, 9), strict=True)], 8, []),
    "sweep": (["together 1", "alone 1", "together 3", "alone 3"], 4, ["x alone"]),
    "devices": (["devices 1", "devices 2"], 2, ["x 1 device"]),
    "kernels": (["tanh"], 0, [*KERNELS, "all"]),
}
DETAILS = {
    "sample": {"length", "notes"},
    "step": {"limits", "notes"},
    "scaling": {"exponents"},
    "devices": {"cores", "notes"},
}
MACHINE = {
    *("jaxrnn", "jax", "platform", "device", "device_count", "processor", "xla_flags"),  # as in a checkpoint
    *("cores", "system", "versions"),
}


FAST = ("step", "sample")


@pytest.mark.parametrize(
    "suite", [pytest.param(suite, marks=() if suite in FAST else pytest.mark.slow) for suite in SUITES]
)
@pytest.mark.slow
def test_a_suite_prints_its_table_or_a_line_of_json_with_everything_and_writes_the_plot(
    suite, without_torch, small_limits, monkeypatch, capsys, tmp_path
):
    for axis in suites.AXES:
        monkeypatch.setitem(suites.AXES, axis, (SMALL.get(axis, 1), 9))
    monkeypatch.setattr(suites, "MODELS", (1, 3))
    monkeypatch.setattr(suites, "STREAMS", (1, 3))
    monkeypatch.setattr(suites, "LENGTH", 10)
    monkeypatch.setattr(kernels, "WORKLOADS", {"tanh": SMALL})
    module = suite if suite in ("startup", "kernels") else "suites"
    measure = f"jaxrnn.bench.{module}.measure_{suite}"
    monkeypatch.setattr(measure, functools.cache(pydoc.locate(measure)))  # measured once, printed twice
    plot = tmp_path / f"plot.{'svg' if suite == 'step' else 'png'}"
    lanes, split = ("6", ", devices 4") if suite == "devices" else ("1", "")
    flags = f"{SMALL_FLAGS} --plot {plot} --batch-size {lanes} --devices {split[-1:] or 1}"
    first = f"tanh, H 6, T 5, B {lanes}, V 7, float32, adagrad{split}"
    if suite == "kernels":
        flags, first = f"--repeats 1 --plot {plot}", "tanh, H 100, T 25, B 1, V 65, float32, adagrad"
    assert main(shlex.split(f"bench {suite if suite != 'step' else ''} {flags}")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == first
    assert max(map(len, lines[2:-1])) <= 100
    assert lines[-1] == f"plot: {plot}"
    begin = plot.read_bytes()[:100]
    assert begin.startswith(b"<?xml" if suite == "step" else b"\x89PNG")
    assert main(shlex.split(f"bench {suite if suite != 'step' else ''} {flags} --json")) == 0
    out = capsys.readouterr().out
    values = json.loads(out)
    assert f"{json.dumps(values)}\n" == out
    assert set(values) == {"suite", "config", "machine", "result", "plot", "trace"}
    assert (values["suite"], values["plot"]) == (suite, str(plot))
    assert values["config"]["training"]["model"]["hidden_size"] == (100 if suite == "kernels" else 6)
    assert set(values["machine"]) == MACHINE
    libraries = {"torch", *references.LIBRARIES.values()}
    assert set(values["machine"]["versions"]) == {"python", "jaxrnn", "jax", "jaxlib", "numpy", "optax"} | libraries
    assert values["machine"]["versions"]["jax"] == jax.__version__
    result, (contenders, compiled, columns) = values["result"], SUITES[suite]
    assert set(result) == {"seconds", "columns", "characters", "details"}
    assert list(result["seconds"]) == contenders
    assert set(result["seconds"][contenders[0]]) == {"median", "lower", "upper", "rounds", "cost"}
    costs = {name: timing["cost"] for name, timing in result["seconds"].items()}
    assert [name for name, cost in costs.items() if cost["compile_seconds"]] == contenders[:compiled]
    assert list(result["columns"]) == columns
    assert set(result["details"]) == DETAILS.get(suite, set())
    assert [line.split("  ")[0] for line in lines[5 : 5 + len(contenders)]] == contenders


def test_a_table_has_lines_of_100_characters_and_quartiles_where_there_is_room():
    timing = Timing(0.2, 0.19, 0.21, (0.19, 0.2, 0.21))
    kernels_table = Result({"vocab-5000": timing}, {name: {"vocab-5000": timing} for name in (*KERNELS, "all")})
    assert max(map(len, result_table(kernels_table))) <= 100
    assert result_table(kernels_table)[1].split() == ["vocab-5000", "200", *["0.2"] * (len(KERNELS) + 1)]
    few = Result({"chunk": timing}, {"x": {"chunk": timing}})
    assert [line.split() for line in result_table(few)] == [
        ["ms", "quartiles", "x"],
        ["chunk", "200", "190-210", "0.2"],
    ]


@pytest.mark.slow
def test_programs_without_a_kernel_compute_the_same_losses(monkeypatch):
    losses = {}

    def record(name, theirs, ours, tolerance):
        losses[name] = theirs
        check(name, theirs, ours, tolerance)

    monkeypatch.setattr(timing, "check", record)
    monkeypatch.setattr(kernels, "WORKLOADS", {"tanh": SMALL})
    result = kernels.measure_kernels(BenchConfig(repeats=2))
    assert {"none", "unroll"} <= set(losses)
    assert all(len(values) == 2 for values in losses.values())
    assert set(result.columns["unroll"]) == set(result.columns["all"]) == {"tanh"}
    assert len(result.columns["unroll"]["tanh"].rounds) == 2
    assert result.columns["categorical"] == {}  # it is not in a training step
    monkeypatch.setattr(kernels, "tolerance", lambda workload: -1.0)
    with pytest.raises(BenchError, match="none does not do the same work"):
        kernels.measure_kernels(BenchConfig())


@pytest.mark.slow
def test_rounded_products_are_measured_beside_full_ones(without_torch, small_limits, monkeypatch, capsys):
    monkeypatch.setattr("jaxrnn.bench.suites.measure_step", functools.cache(measure_step))
    assert main(shlex.split(f"bench {SMALL_FLAGS} --products bfloat16")) == 0
    out = capsys.readouterr().out
    assert out.startswith("tanh, H 6, T 5, B 1, V 7, float32, products of bfloat16, adagrad\n")
    assert re.search(r"^full products .* \d", out, re.MULTILINE)
    assert main(shlex.split(f"bench {SMALL_FLAGS} --products bfloat16 --json")) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert set(result["seconds"]) == {"jit", "chunk", "full products", "NumPy", "floor"}
    assert "full products" in result["columns"]["x chunk"]


@pytest.mark.slow
def test_devices_that_are_not_there_or_do_not_divide_the_lanes_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr("jaxrnn.bench.suites.measure_devices", functools.cache(measure_devices))
    monkeypatch.setattr("jaxrnn.bench.suites.available_cores", lambda: 1)
    command = f"bench devices {SMALL_FLAGS} --batch-size 2 --devices 9"
    assert main(shlex.split(command)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(shlex.split(f"{command} --json")) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert list(result["seconds"]) == ["devices 1", "devices 2"]
    assert result["columns"]["x 1 device"]["devices 1"]["rounds"] == [1.0]
    notes = [f"devices {count}: left out: batch_size 2 can't be split over {count} devices" for count in (4, 8)]
    notes.append("devices 9: left out: devices must be from 1 to 8, the cpu devices here, got 9")
    assert result["details"]["notes"] == notes
    assert lines[7:10] == notes
    assert "more devices than the 1 cores show what splitting costs, not what they would gain" in lines


def test_the_suite_devices_has_lanes_to_split_by_default():
    def config(command):
        return parse(["bench", *command.split()]).bench_config()

    lanes = {"batch_size": 64, "hidden_size": 256}
    assert config("devices --json") == BenchConfig(devices=8).changed(**lanes)
    assert config("devices --devices 2 --hidden-size 8") == BenchConfig(devices=2).changed(batch_size=64, hidden_size=8)
    assert config("step --devices 2") == BenchConfig(devices=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(({name: 0}, name) for name in ("hidden_size", "sequence_length", "batch_size", "chunk_length")),
        ({"repeats": 0}, "repeats"),
        ({"cell": "rnn"}, "cell"),
        ({"products": "float16"}, "products"),
        ({"dtype": "float16"}, "dtype"),
        ({"vocab_size": 1}, "vocab_size must be at least 2"),
        ({"vocab_size": 2_000_000}, "vocab_size must be at most 1000000"),
        ({"devices": 1001}, "devices must be at most 1000"),
        ({"batch_size": 1_000_000}, "reduce chunk_length"),
    ],
    ids=str,
)
def test_a_configuration_out_of_range_is_an_error(values, message):
    fields = {name: values[name] for name in ("repeats", "devices") if name in values}
    settings = {name: value for name, value in values.items() if name not in fields}
    with pytest.raises(JaxrnnError, match=message):
        BenchConfig(**fields).changed(**settings)


BAD = [
    ("--optimizer rprop", "optimizer must be adagrad, .* or FILE.py:NAME"),
    ("--cell missing.py:CELL", "can't read missing.py"),
    ("--preset best --config run/config.json", "both say what to start from"),
    ("--config missing.json", "can't read missing.json"),
    ("--fail-above 1.05", "--fail-above needs --against FILE"),
    ("--fail-above 0 --against base.json", "--fail-above must be a finite number above 0, got 0"),
    ("--fail-above nan --against base.json", "--fail-above must be a finite number above 0, got nan"),
    ("--vocab-size 0", "vocab_size must be at least 2, got 0"),
    ("--against missing.json", r"can't read missing.json \(No such file or directory\); give a file that --save wrote"),
    ("--json --csv", "two forms of the result"),
    ("sample --trace profile", "leave it out of the suite sample"),
    ("kernels --hidden-size 8", "workloads of its own"),
    ("kernels --vocab-size 8", "workloads of its own"),
    ("--repeats many", "repeats"),
    ("--learning-rate 1", "--learning-rate"),
    ("walk", "suite"),
    ("scaling --devices 2", "leave --devices out"),
    ("--plot chart.pdf", r"\.png or \.svg, got chart.pdf"),
    ("--plot chart", r"\.png or \.svg, got chart"),
]


@pytest.mark.parametrize(("flags", "message"), BAD, ids=lambda value: value)
def test_a_mistake_is_reported_before_anything_is_measured(flags, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *shlex.split(flags)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message.replace("-", "[-_]"), in_a_line(err)), err
    assert err.startswith("jaxrnn: ") or "--help" in err


@pytest.mark.slow
def test_a_measurement_is_compared_with_a_saved_one(without_torch, small_limits, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = f"bench {SMALL_FLAGS}"
    assert main(shlex.split(f"{command} --save base.json")) == 0
    assert "saved: base.json" in capsys.readouterr().out
    values = json.loads((tmp_path / "base.json").read_text())

    def save(factor):
        for saved in values["result"]["seconds"].values():
            saved["rounds"] = [factor * seconds for seconds in saved["rounds"]]
        (tmp_path / "base.json").write_text(json.dumps(values))

    save(1000)  # now everything takes a thousandth
    assert main(shlex.split(f"{command} --against base.json --fail-above 1.05")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(shlex.split(f"{command} --against base.json --csv")) == 0
    header, *rows = csv.reader(capsys.readouterr().out.splitlines())
    assert header[-1] == "x against"
    assert all(float(row[-1]) < 0.5 for row in rows)
    assert lines[-5].split() == ["x", "base.json", "quartiles"]
    assert [line.split()[0] for line in lines[-4:]] == ["jit", "chunk", "NumPy", "floor"]
    assert float(lines[-3].split()[1]) < 0.5
    values["machine"]["processor"] = "another"
    save(1e-6)
    assert main(shlex.split(f"{command} --against base.json")) == 0
    assert "base.json was measured on another machine: another, " in capsys.readouterr().out
    assert main(shlex.split(f"{command} --against base.json --fail-above 1.05 --json")) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["ratios"]["chunk"]["median"] > 1.05
    assert re.search(r"slower than in base.json: jit [\d.]+ times the time, .*; --fail-above allows 1.05\n", err)
    assert "NumPy" not in err  # only what is ours can fail
    assert main(shlex.split(f"{command} --against base.json --cell gru")) == 2
    assert "cell is tanh there and gru here" in capsys.readouterr().err
    del values["config"]["training"]["average_decay"]  # as if it had been written before there was one
    del values["machine"]["versions"]["flax"]
    save(1)
    assert main(shlex.split(f"{command} --against base.json")) == 0
    values["result"]["seconds"] = {f"other {name}": seconds for name, seconds in values["result"]["seconds"].items()}
    save(1)
    assert main(shlex.split(f"{command} --against base.json")) == 1
    assert "base.json has no measurement of jit, chunk, NumPy, floor; nothing is compared" in capsys.readouterr().err
    (tmp_path / "base.json").write_text("[]")
    assert main(shlex.split(f"{command} --against base.json")) == 2
    assert "base.json is no measurement; give a file that --save wrote" in capsys.readouterr().err


CELL_AND_OPTIMIZER = """
import jax.numpy as jnp, optax
from jaxrnn import TANH
MINE = TANH._replace(update=lambda projected, recurrent, carry: (jnp.sin(projected + recurrent),), additive=False)
LION = optax.lion(1e-4)
"""


@pytest.mark.slow
def test_it_measures_a_step_of_your_own_as_csv(small_limits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CELL_AND_OPTIMIZER)
    flags = f"{SMALL_FLAGS} --cell mine.py:MINE --optimizer mine.py:LION --num-layers 2 --csv"
    assert main(shlex.split(f"bench {flags}")) == 0
    header, *rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert header == ["contender", "seconds", "lower", "upper", "compile_seconds", "flops", "bytes", "x jit", "x chunk"]
    assert [row[0] for row in rows] == ["jit", "chunk"]
    assert all(float(value) > 0 for row in rows for value in row[1:])
    forward = 2 * 5 * (3 * 6 * 6 + 6 * 7)  # two recurrent products and what the first layer hands to the second
    assert all(3 * forward <= float(row[5]) < 4 * forward for row in rows)  # a kernel pads a matrix


def test_it_starts_from_a_preset_or_from_the_config_of_a_run(tmp_path):
    def training(command):
        return parse(["bench", *command.split()]).bench_config().training

    best = training("--preset best --num-layers 3")
    assert (best.model.num_layers, best.model.hidden_size, best.optimizer.name) == (3, 384, "adamw")
    assert best.model.vocab_size == 65
    assert training("--preset best --optimizer adam").optimizer.learning_rate is None
    assert training("--preset best").split == (1.0,)  # what a step does not depend on is left out
    (tmp_path / "config.json").write_text('{"model": {"cell": "gru", "vocab_size": 9}, "batch_size": 4}')
    config = training(f"--config {tmp_path}/config.json --hidden-size 5")
    assert (config.model.cell, config.model.vocab_size, config.batch_size, config.model.hidden_size) == ("gru", 9, 4, 5)


@pytest.mark.slow
def test_a_trace_reads_as_the_algorithm(without_torch, small_limits, capsys, tmp_path):
    flags = f"{SMALL_FLAGS} --hidden-size 64 --cell gru --trace {tmp_path} --json"
    assert main(shlex.split(f"bench {flags}")) == 0
    shares = json.loads(capsys.readouterr().out)["shares"]
    parts = {"forward", "recurrence", "backward", "backward recurrence", "update"}
    assert parts <= set(shares)
    assert sum(shares.values()) == pytest.approx(1)
    (file,) = tmp_path.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    (track,) = [event["tid"] for event in events if event.get("args") == {"name": "algorithm"}]
    names = [event["name"] for event in events if event.get("tid") == track and event["ph"] == "X"]
    order = [names.index(part) for part in ("recurrence", "backward recurrence", "update")]
    assert order == sorted(order)
    assert list(tmp_path.rglob("*.xplane.pb"))  # for TensorBoard


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("jit(step)/jvp(loss)/forward/dot_general", "forward"),
        ("jit(step)/jvp(loss)/reduce_sum", "loss"),
        ("jit(step)/transpose(jvp(loss))/forward/dot_general", "backward"),
        ("jit(step)/update/clip/max", "update"),
        ("jit(step)/while/body/copy", "other"),
    ],
)
def test_the_part_of_an_operation(path, part):
    assert part_of(path) == part


# ---- a step of your own --------------------------------------------------------------------------------------------


def next_state(state, batch):
    return {"w": state["w"] + batch.sum(), "n": state["n"] + 1}


STEPS = {
    "state": next_state,
    "state and metrics": lambda state, batch: (next_state(state, batch), batch.max()),
    "state and two more": lambda state, batch: (next_state(state, batch), batch.max(), batch.min()),
    "nothing but the state in a tuple": lambda state, batch: (next_state(state, batch),),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("donate", [False, True], ids=["", "donated"])
@pytest.mark.filterwarnings("ignore:.*donated buffers")
def test_measure_threads_the_state_and_leaves_yours_alone(step, donate):
    state, batch = {"w": jnp.zeros(3), "n": jnp.asarray(0)}, jnp.ones(4)
    timing = measure(jax.jit(step, donate_argnums=0 if donate else ()), state, batch, rounds=2, seconds=0.001)
    assert len(timing.rounds) == 2
    assert timing.cost.compile_seconds > 0
    assert timing.cost.bytes > 0
    assert state["n"] == 0  # not deleted


def test_measure_says_what_a_step_must_return():
    for step in (lambda state, batch: batch, lambda state, batch: (), lambda state, batch: (state, state)[:0]):
        with pytest.raises(JaxrnnError, match="must return the next state"):
            measure(jax.jit(step), jnp.zeros(3), jnp.zeros(2), rounds=1)


def test_measure_takes_the_training_step_of_this_package():
    workload = small_workload(dtype="float32")
    batch = workload.single_batches()[0]
    with plain():  # a kernel pads matrices to whole vectors
        step = make_train_step(workload.config)
        timing = measure(step, workload.initial_state(), batch, rounds=1, seconds=0.001)
    assert timing.cost.flops == 3 * 2 * 5 * (6 * 6 + 6 * 7)


def test_a_plot_needs_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JaxrnnError, match="matplotlib, which is not installed"):
        check_plot_file(tmp_path / "chart.png")


def test_help_shows_every_flag_without_importing_jax():
    script = "import sys; from jaxrnn.cli import main; main(['bench', '--help']); print('jax' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    flags = {"--cell", "--optimizer", "--num-layers", "--preset", "--config", "--devices", "--repeats", "--vocab-size"}
    results = {"--json", "--csv", "--plot", "--save", "--against", "--fail-above", "--trace", "SUITE"}
    assert flags | results <= set(re.findall(r"--[\w-]+|SUITE", process.stdout))
    assert process.stdout.endswith("False\n")

"""The references, each in its worker, checked to do the same work before anything is timed."""

from contextlib import ExitStack
from typing import Any

import jax
import numpy as np

from jaxrnn.bench.config import BenchError
from jaxrnn.bench.result import Say, version
from jaxrnn.bench.timing import Contender
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Workload, named_params
from jaxrnn.network import loss
from jaxrnn.training import make_train_step


def start_references(
    stack: ExitStack, workload: Workload, say: Say, seconds: float = 0.1
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Start the references of a workload, in processes that end with `stack`, and check that they do the same work.

    A contender trains for about `seconds` when it runs.

    Returns:
        Contenders by name, "NumPy" and "PyTorch", in seconds per training step; and notes by the same names: the number
        of threads, or why there is no such contender.

    Raises:
        BenchError: a reference computes something else.
    """
    losses, gradient = first_steps(workload)
    say("checking the NumPy reference")
    worker = stack.enter_context(Worker("numpy_reference", threads=1))
    worker.call("Reference", **reference_arguments(workload))
    check("NumPy reference", worker.call("train", len(losses)), losses, tolerance(workload))
    contenders, notes = {"NumPy": worker.contender("train", seconds)}, {"NumPy": "float64, 1 thread"}
    if version("torch") is None:
        return contenders, notes | {"PyTorch": "not installed"}
    say("checking the PyTorch reference")
    worker = stack.enter_context(Worker("torch_reference"))
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    try:
        worker.call("Reference", **reference_arguments(workload), dtype=workload.config.model.dtype, device=device)
        first_loss = worker.call("train", 1)
    except BenchError as error:  # a torch without this device
        worker.close()
        return contenders, notes | {"PyTorch": f"does not run: {error}"}
    exact = tolerance(workload)
    check("PyTorch reference", first_loss, losses[:1], exact)
    theirs = worker.call("named", gradient=True)
    for part, ours in gradient.items():
        scale = float(np.abs(ours).max())
        check(f"PyTorch reference ({part})", [float(np.abs(theirs[part] - ours).max()) + scale], [scale], 10 * exact)
    # The Adagrad of PyTorch is a slightly different formula (see torch_reference), which shows after the first update.
    approximate = 0.05 if workload.config.optimizer.name == "adagrad" else exact
    check("PyTorch reference", worker.call("train", 1), losses[1:], max(exact, approximate))
    threads = worker.call("choose_threads")
    notes["PyTorch"] = f"{threads} thread{'s' * (threads > 1)}"
    contenders["PyTorch"] = worker.contender("train", seconds)
    return contenders, notes


def reference_arguments(workload: Workload) -> dict[str, Any]:
    """Return the arguments of a reference: initial parameters, batches, cell, optimizer."""
    optimizer = workload.config.optimizer
    return {
        "params": named_params(workload.initial_state().params),
        "batches": tuple(np.asarray(part) for part in workload.batches[:3]),
        "cell": workload.config.model.cell,
        "optimizer": optimizer.name,
        "learning_rate": optimizer.peak_learning_rate,
        "clip_value": optimizer.clip_value,
    }


def first_steps(workload: Workload) -> tuple[list[float], dict[str, np.ndarray]]:
    """Return the losses of our first two steps, in nats per T characters, and the first gradient, clipped.

    The second loss tells of the update between them. The gradient goes by min-char-rnn's names.
    """
    config, state, losses = workload.config, workload.initial_state(), []
    batches = (workload.single_batches() * 2)[:2]  # a chunk may be a single step
    gradient = jax.jit(jax.grad(lambda params: loss(params, state.carry, batches[0], config.model)[0]))(state.params)
    clip = config.optimizer.clip_value
    step = make_train_step(config)
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    return losses, {name: np.clip(value, -clip, clip) for name, value in named_params(gradient).items()}


def tolerance(workload: Workload) -> float:
    """Return the largest relative difference to a reference's loss that rounding explains."""
    if workload.config.model.products != "full":
        return 1e-2
    if workload.config.model.dtype == "float64":
        return 1e-9
    return 1e-5 if jax.devices()[0].platform == "cpu" else 1e-2  # a GPU multiplies in fewer bits


def check(name: str, theirs: list[float], ours: list[float], tolerance: float) -> None:
    """Raise BenchError unless the numbers of a reference, or of another program, are ours."""
    for their, our in zip(theirs, ours, strict=True):
        if not abs(their - our) <= tolerance * abs(our):
            raise BenchError(f"the {name} does not do the same work: it computes {their:.9g} where ours is {our:.9g}")

"""The references, each in its worker, checked to do the same work before anything is timed."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrnn.bench.config import BenchError
from jaxrnn.bench.result import say, version
from jaxrnn.bench.timing import Contender, Workload, counted, named_params
from jaxrnn.bench.worker import Worker
from jaxrnn.training import make_train_step


def start_references(stack: ExitStack, workload: Workload) -> tuple[dict[str, Contender], dict[str, str]]:
    """Start the references of a workload, "NumPy" and "PyTorch", in processes that end with `stack`.

    Return them as contenders, in seconds per training step, and notes: the number of threads, or why there is no such
    contender. Raise BenchError if the loss of one of the first two steps is not ours; the second tells of the update.
    """
    step, state, losses = make_train_step(workload.config), workload.initial_state(), []
    for batch in (workload.single_batches() * 2)[:2]:  # a chunk may be a single step
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    say("checking the NumPy reference")
    worker = stack.enter_context(Worker("numpy_reference", threads=1))
    worker.call("Reference", **reference_arguments(workload))
    check("NumPy reference", worker.call("train", 2), losses, tolerance(workload))
    contenders, notes = {"NumPy": counted(partial(worker.call, "train"))}, {"NumPy": "float64, 1 thread"}
    if version("torch") is None:
        return contenders, notes | {"PyTorch": "not installed"}
    say("checking the PyTorch reference")
    worker = stack.enter_context(Worker("torch_reference"))
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    try:
        worker.call("Reference", **reference_arguments(workload), dtype=workload.config.model.dtype, device=device)
        theirs = worker.call("train", 2)
    except BenchError as error:  # a torch without this device
        return contenders, notes | {"PyTorch": f"does not run: {error}"}
    check("PyTorch reference", theirs, losses, tolerance(workload))
    threads = worker.call("choose_threads")
    notes["PyTorch"] = f"{threads} thread{'s' * (threads > 1)}"
    contenders["PyTorch"] = counted(partial(worker.call, "train"))
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


def tolerance(workload: Workload) -> float:
    """Return the largest relative difference to a reference's loss that rounding explains."""
    model = workload.config.model
    if model.products != "full" or (model.dtype == "float32" and jax.default_backend() != "cpu"):
        return 1e-2  # a GPU multiplies in fewer bits
    return 1e-9 if model.dtype == "float64" else 1e-5


def check(name: str, theirs: list[float], ours: list[float], tolerance: float) -> None:
    """Raise BenchError unless the numbers of a reference, or of another program, are ours."""
    for their, our in zip(theirs, ours, strict=True):
        if not abs(their - our) <= tolerance * abs(our):
            raise BenchError(f"the {name} does not do the same work: it computes {their:.9g} where ours is {our:.9g}")

"""The contenders that are not ours: NumPy and PyTorch in workers, and other JAX libraries."""

import importlib.metadata
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrnn.bench.config import BenchError
from jaxrnn.bench.timing import Contender, LeftOut, Start, repeated
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Workload, named_params
from jaxrnn.config import OptimizerConfig, TrainConfig
from jaxrnn.training.schedule import learning_rate

LIBRARIES = {"flax": "flax", "haiku": "dm-haiku", "equinox": "equinox"}  # the distribution of each module
YARDSTICKS = ("NumPy", "NumPy 1", "PyTorch", "PyTorch autocast", *LIBRARIES, "floor")  # contenders that are not ours


def reference_starts(stack: ExitStack, workload: Workload) -> dict[str, Start]:
    """Return the contenders, in seconds per training step; their processes end with `stack`."""
    starts: dict[str, Start] = {
        "NumPy": partial(_start_numpy, stack, workload),
        "PyTorch": partial(_start_torch, stack, workload),
        "PyTorch autocast": partial(_start_torch, stack, workload, autocast=True),
        **{name: partial(_start_library, name, workload) for name in LIBRARIES},
    }
    if workload.config.model.products == "full":
        del starts["PyTorch autocast"]
    return starts


def reference_arguments(workload: Workload) -> dict[str, Any]:
    """Return the arguments of a reference: initial parameters, batches, cell, optimizer."""
    config, optimizer = workload.config, workload.config.optimizer
    rate = learning_rate(optimizer, config.steps)
    return {
        "params": named_params(workload.initial_state().params),
        "batches": tuple(np.asarray(part) for part in workload.batches[:3]),
        "cell": config.model.cell,
        "optimizer": optimizer.name,
        "learning_rates": [float(rate(step) if callable(rate) else rate) for step in range(config.chunk_length)],
        "clip_value": optimizer.clip_value if optimizer.clip == "value" else float("inf"),
    }


def tolerance(config: TrainConfig) -> float:
    """Return the largest relative difference to a contender's loss that rounding explains."""
    model = config.model
    if model.products != "full" or (model.dtype == "float32" and _rounds()):
        return 1e-2
    return 1e-9 if model.dtype == "float64" else 1e-5


def _rounds() -> bool:
    """Return whether products of float32 are rounded, as GPUs do unless JAX is told to keep their full precision."""
    return jax.default_backend() != "cpu" and jax.config.values["jax_default_matmul_precision"] != "highest"


def version(name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _start_numpy(stack: ExitStack, workload: Workload) -> Contender:
    config, optimizer = workload.config, workload.config.optimizer
    _check(config)
    if config.model.num_layers > 1 or config.model.cell == "relu":
        raise LeftOut("it has the cells tanh, gru and lstm, in a single layer")
    plain_adam = (optimizer.beta1, optimizer.beta2) == (OptimizerConfig.beta1, OptimizerConfig.beta2)
    if optimizer.name not in ("adagrad", "adam") or optimizer.decays or optimizer.clip == "norm" or not plain_adam:
        raise LeftOut("it has adagrad and adam, without weight decay and clipping by norm")
    worker = stack.enter_context(Worker("numpy_reference", threads=1))
    worker.call("Reference", **reference_arguments(workload))
    losses = tuple(worker.call("train", 2))
    return repeated(partial(worker.call, "train"))._replace(losses=losses, note="float64, 1 thread")


def _start_torch(stack: ExitStack, workload: Workload, *, autocast: bool = False) -> Contender:
    config, optimizer = workload.config, workload.config.optimizer
    _check(config, "torch")
    adam = optimizer.name in ("adam", "adamw")
    if workload.optimizer or optimizer.clip == "norm" or (optimizer.decays and not adam):
        raise LeftOut("it has built-in optimizers, without clipping by norm; weight decay only in adam and adamw")
    worker = stack.enter_context(Worker("torch_reference"))
    numbers = {name: getattr(optimizer, name) for name in ("beta1", "beta2", "rms_decay", "momentum", "decay")}
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    options = {"dtype": config.model.dtype, "device": device, "autocast": autocast, "rounds": _rounds()}
    try:
        worker.call("Reference", **reference_arguments(workload), numbers=numbers, **options)
        losses = tuple(worker.call("train", 2))
        threads = worker.call("choose_threads")
    except BenchError as error:  # a torch without this device
        raise LeftOut(f"it does not run: {error}") from None
    note = f"{threads} thread{'s' * (threads > 1)}, the fastest number" + ", products in bfloat16" * autocast
    return repeated(partial(worker.call, "train"))._replace(losses=losses, note=note)


def _start_library(name: str, workload: Workload) -> Contender:
    _check(workload.config, LIBRARIES[name])
    from jaxrnn.bench.libraries import library_program

    return library_program(name, workload).contender()._replace(note="one-hot inputs; our chunk, on one device")


def _check(config: TrainConfig, distribution: str | None = None) -> None:
    if distribution and version(distribution) is None:
        raise LeftOut(f"{distribution} is not installed; pip install {distribution}")
    if not isinstance(config.model.cell, str):
        raise LeftOut("the cell is user-defined")
    if config.model.has_dropout:
        raise LeftOut("dropout draws other numbers there")

"""The references, each in its worker, checked to do the same work before anything is timed."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.bench.config import BenchError
from jaxrnn.bench.machine import version
from jaxrnn.bench.timing import Contender
from jaxrnn.bench.worker import Worker
from jaxrnn.bench.workload import Array, Workload, named_params
from jaxrnn.network.loss import loss
from jaxrnn.training.step import make_train_step

Say = Callable[[str], None]

_COMPILE_SECONDS = 60.0  # that torch.compile gets before it is given up


class References(contextlib.ExitStack):
    """Starts the references of a workload and ends them in every case.

    Attributes:
        contenders: by name ("numpy", "torch", "torch.compile"), each trains for a while and returns seconds a step.
        notes: by the same names, what a reader has to know: threads, or why there is no such contender.
    """

    def __init__(self, workload: Workload, say: Say, seconds: float = 0.1) -> None:
        """Prepare for contenders that run about so many seconds; their processes start on entering."""
        super().__init__()
        self.contenders: dict[str, Contender] = {}
        self.notes: dict[str, str] = {}
        self._workload, self._say, self._seconds = workload, say, seconds

    def __enter__(self) -> "References":
        """Start all, check all."""
        try:
            ours = first_steps(self._workload)
            self._start_numpy(ours)
            for name in ("torch", "torch.compile"):
                self._start_torch(name, ours)
        except BaseException:
            self.close()
            raise
        return self

    def _start_numpy(self, ours: "FirstSteps") -> None:
        self._say("checking the NumPy reference")
        worker = self.enter_context(Worker("numpy_reference", threads=1))
        worker.call("Reference", **reference_arguments(self._workload))
        check("numpy", worker.call("train", len(ours.losses))[0], ours.losses, tolerance(self._workload))
        self._enter("numpy", "float64, 1 thread", worker)

    def _start_torch(self, name: str, ours: "FirstSteps") -> None:
        if version("torch") is None:
            self.notes[name] = "not installed"
            return
        self._say(f"checking the {name} reference")
        worker = self.enter_context(Worker("torch_reference"))
        arguments = {
            **reference_arguments(self._workload),
            "dtype": self._workload.config.model.dtype,
            "device": "cuda" if jax.devices()[0].platform == "gpu" else "cpu",
            "compiled": name == "torch.compile",
        }
        try:
            worker.call("Reference", **arguments)
            worker.send("train", 1)
            first, _ = worker.receive(_COMPILE_SECONDS)
        except BenchError as error:  # a torch without this device, a machine without a compiler
            self.notes[name] = f"does not run: {error}"
            worker.close()
            return
        exact = tolerance(self._workload)
        check(name, first, ours.losses[:1], exact)
        theirs, _ = worker.call("named", gradient=True)
        for part, gradient in ours.gradient.items():
            scale = float(np.abs(gradient).max())
            check(f"{name} ({part})", [float(np.abs(theirs[part] - gradient).max()) + scale], [scale], 10 * exact)
        # Torch's Adagrad is a slightly different formula (see torch_reference), which shows after its first update.
        approximate = 0.05 if self._workload.config.optimizer.name == "adagrad" else exact
        check(name, worker.call("train", 1)[0], ours.losses[1:], max(exact, approximate))
        threads, _ = worker.call("choose_threads")
        self._enter(name, f"{threads} thread{'s' * (threads > 1)}", worker)

    def _enter(self, name: str, note: str, worker: Worker) -> None:
        self.notes[name] = note
        once = min(worker.call("train", 1)[1] for _ in range(3))
        steps = max(1, round(self._seconds / once))
        self.contenders[name] = lambda: worker.call("train", steps)[1] / steps


def reference_arguments(workload: Workload) -> dict[str, Any]:
    """Return what a reference is made from: initial parameters, batches, cell, optimizer."""
    optimizer = workload.config.optimizer
    return {
        "params": named_params(workload.initial_state().params),
        "batches": tuple(np.asarray(part) for part in workload.batches[:3]),
        "cell": workload.config.model.cell,
        "optimizer": optimizer.name,
        "learning_rate": optimizer.peak_learning_rate,
        "clip_value": optimizer.clip_value,
    }


class FirstSteps(NamedTuple):
    """What ours computes at the beginning.

    Attributes:
        losses: of the first two steps, in nats per T characters; the second tells of the update between them.
        gradient: of the first step, clipped, by min-char-rnn's names.
    """

    losses: list[float]
    gradient: dict[str, Array]


def first_steps(workload: Workload) -> FirstSteps:
    """Return the first losses of our training step, and the first gradient."""
    config, state, losses = workload.config, workload.initial_state(), []
    batches = (workload.single_batches() * 2)[:2]  # a chunk may be a single step
    gradient = jax.jit(jax.grad(lambda params: loss(params, state.carry, batches[0], config.model)[0]))(state.params)
    clip = config.optimizer.clip_value
    clipped = {name: np.clip(value, -clip, clip) for name, value in named_params(gradient).items()}
    step = make_train_step(config)
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    return FirstSteps(losses, clipped)


def tolerance(workload: Workload) -> float:
    """Return by how much, relatively, a reference's loss may differ from ours: what rounding does, and no more."""
    if workload.config.model.products != "full":
        return 1e-2
    if workload.config.model.dtype == "float64":
        return 1e-9
    return 1e-5 if jax.devices()[0].platform == "cpu" else 1e-2  # a GPU multiplies in fewer bits


def check(name: str, theirs: list[float], ours: list[float], tolerance: float) -> None:
    """Raise BenchError unless a reference's numbers are ours."""
    for their, our in zip(theirs, ours, strict=True):
        if not abs(their - our) <= tolerance * abs(our):
            raise BenchError(
                f"the {name} reference does not do the same work: it computes {their:.9g} where ours is {our:.9g}"
            )

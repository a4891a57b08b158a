"""Character-level recurrent networks as pure JAX functions.

The public names are below. A module is imported when a name of it is first asked for, so that what needs none of them
(`jaxrnn --help`) does not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.cells import CELLS, GRU, LSTM, TANH, Cell
    from jaxrnn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from jaxrnn.config import ModelConfig, OptimizerConfig, SampleConfig, TrainConfig
    from jaxrnn.copies import Copy, longest_copy
    from jaxrnn.errors import JaxrnnError
    from jaxrnn.evaluation import Score, evaluate, score
    from jaxrnn.grid import combinations
    from jaxrnn.inspection import activations
    from jaxrnn.loss import bits_per_character
    from jaxrnn.model import Layer, Params, forward, init_params, initial_carry
    from jaxrnn.optimizer import make_optimizer
    from jaxrnn.presets import PRESETS, preset
    from jaxrnn.recurrence import unroll, unroll_plain
    from jaxrnn.runs import Report, SweepReport, begin_run, fit, fit_many
    from jaxrnn.sampling import sample
    from jaxrnn.sweeps import sweep
    from jaxrnn.text import Batch, Corpus, Slice, Vocabulary, batches, load_corpus, split
    from jaxrnn.training import TrainState, init_train_state, make_train_chunk, make_train_step, train_chunk, train_step
    from jaxrnn.units import Unit, find_units
    from jaxrnn.watching import watch
    from jaxrnn.weights import Weights, load_weights, save_weights
    from jaxrnn.writing import write, write_many

_NAMES = {
    "cells": ("CELLS", "GRU", "LSTM", "TANH", "Cell"),
    "checkpoint": ("Checkpoint", "load_checkpoint", "save_checkpoint"),
    "config": ("ModelConfig", "OptimizerConfig", "SampleConfig", "TrainConfig"),
    "copies": ("Copy", "longest_copy"),
    "errors": ("JaxrnnError",),
    "evaluation": ("Score", "evaluate", "score"),
    "grid": ("combinations",),
    "inspection": ("activations",),
    "loss": ("bits_per_character",),  # the name `jaxrnn.loss` is the module's; the function is `jaxrnn.loss.loss`
    "model": ("Layer", "Params", "forward", "init_params", "initial_carry"),
    "optimizer": ("make_optimizer",),
    "presets": ("PRESETS", "preset"),
    "recurrence": ("unroll", "unroll_plain"),
    "runs": ("Report", "SweepReport", "begin_run", "fit", "fit_many"),
    "sampling": ("sample",),
    "sweeps": ("sweep",),
    "text": ("Batch", "Corpus", "Slice", "Vocabulary", "batches", "load_corpus", "split"),
    "training": ("TrainState", "init_train_state", "make_train_chunk", "make_train_step", "train_chunk", "train_step"),
    "units": ("Unit", "find_units"),
    "watching": ("watch",),
    "weights": ("Weights", "load_weights", "save_weights"),
    "writing": ("write", "write_many"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxrnn.{_HOMES[name]}"), name)
    if name == "plots":  # the one module that is used by its own name
        return importlib.import_module("jaxrnn.plots")
    raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

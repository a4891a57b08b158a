"""Training runs: the loop as a generator of reports, and the run directories that it leaves.

A module is imported when a name of it is first used, as in `jaxrnn` itself: listing runs needs no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.runs.catalog import RunSummary as RunSummary
    from jaxrnn.runs.catalog import SweepSummary as SweepSummary
    from jaxrnn.runs.catalog import find_runs as find_runs
    from jaxrnn.runs.catalog import group_sweeps as group_sweeps
    from jaxrnn.runs.catalog import summarize_run as summarize_run
    from jaxrnn.runs.checkpoint import Checkpoint as Checkpoint
    from jaxrnn.runs.checkpoint import load_checkpoint as load_checkpoint
    from jaxrnn.runs.checkpoint import save_checkpoint as save_checkpoint
    from jaxrnn.runs.directory import new_run_directory as new_run_directory
    from jaxrnn.runs.loop import begin_run as begin_run
    from jaxrnn.runs.loop import fit as fit
    from jaxrnn.runs.many import SweepReport as SweepReport
    from jaxrnn.runs.many import fit_many as fit_many
    from jaxrnn.runs.metrics import has_metrics as has_metrics
    from jaxrnn.runs.metrics import read_metrics as read_metrics
    from jaxrnn.runs.report import Report as Report
    from jaxrnn.runs.report import sample_title as sample_title
    from jaxrnn.runs.run import load_run_corpus as load_run_corpus
    from jaxrnn.runs.run import reload_corpus as reload_corpus
    from jaxrnn.runs.run import slices_of as slices_of
    from jaxrnn.runs.sweep_directory import read_sweep as read_sweep
    from jaxrnn.runs.torch_weights import Weights as Weights
    from jaxrnn.runs.torch_weights import load_weights as load_weights
    from jaxrnn.runs.torch_weights import save_weights as save_weights

_NAMES = {
    "catalog": "RunSummary SweepSummary find_runs group_sweeps summarize_run",
    "checkpoint": "Checkpoint load_checkpoint save_checkpoint",
    "directory": "new_run_directory",
    "loop": "begin_run fit",
    "run": "load_run_corpus reload_corpus slices_of",
    "metrics": "has_metrics read_metrics",
    "report": "Report sample_title",
    "sweep_directory": "read_sweep",
    "many": "SweepReport fit_many",
    "torch_weights": "Weights load_weights save_weights",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxrnn.runs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jaxrnn.runs' has no attribute {name!r}")

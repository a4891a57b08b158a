"""Training runs: the loop as a generator of reports, the run directory it leaves, and what lies in such directories.

As with the package, a module is imported when a name of it is first asked for: to list runs needs no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.runs.begin import begin_run
    from jaxrnn.runs.catalog import Summary, find_runs, summary
    from jaxrnn.runs.directory import new_run_directory
    from jaxrnn.runs.loop import fit
    from jaxrnn.runs.many import SweepReport, fit_many
    from jaxrnn.runs.material import load, load_again, slices_of
    from jaxrnn.runs.metrics import read_metrics
    from jaxrnn.runs.report import Report, sample_title
    from jaxrnn.runs.sweep_directory import read_sweep

_HOMES = {
    "begin_run": "begin",
    "find_runs": "catalog",
    "fit": "loop",
    "fit_many": "many",
    "load": "material",
    "load_again": "material",
    "new_run_directory": "directory",
    "read_metrics": "metrics",
    "read_sweep": "sweep_directory",
    "Report": "report",
    "sample_title": "report",
    "slices_of": "material",
    "summary": "catalog",
    "Summary": "catalog",
    "SweepReport": "many",
}

__all__ = [
    "Report",
    "Summary",
    "SweepReport",
    "begin_run",
    "find_runs",
    "fit",
    "fit_many",
    "load",
    "load_again",
    "new_run_directory",
    "read_metrics",
    "read_sweep",
    "sample_title",
    "slices_of",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxrnn.runs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jaxrnn.runs' has no attribute {name!r}")

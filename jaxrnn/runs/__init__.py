"""Training runs: the loop as a generator of reports, and the run directory it leaves."""

from jaxrnn.runs.begin import begin_run
from jaxrnn.runs.directory import new_run_directory
from jaxrnn.runs.loop import fit
from jaxrnn.runs.many import SweepReport, fit_many
from jaxrnn.runs.material import load, load_again, slices_of
from jaxrnn.runs.metrics import read_metrics
from jaxrnn.runs.report import Report, sample_title
from jaxrnn.runs.sweep_directory import read_sweep

__all__ = [
    "Report",
    "SweepReport",
    "begin_run",
    "fit",
    "fit_many",
    "load",
    "load_again",
    "new_run_directory",
    "read_metrics",
    "read_sweep",
    "sample_title",
    "slices_of",
]

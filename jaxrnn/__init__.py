"""Character-level recurrent networks as pure JAX functions.

The most used names stand here; the rest are in the rooms, such as `jaxrnn.network` and `jaxrnn.evaluation`. A room is
imported when a name of it is first used, so that what needs no JAX (`jaxrnn --help`) does not wait for it.
"""

import importlib

# Type checkers know the name. To import it from typing takes milliseconds in which Ctrl-C would show a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    __version__: str
    from jaxrnn import bench as bench
    from jaxrnn import config as config
    from jaxrnn import distributed as distributed
    from jaxrnn import errors as errors
    from jaxrnn import evaluation as evaluation
    from jaxrnn import kernels as kernels
    from jaxrnn import min_char_rnn as min_char_rnn
    from jaxrnn import network as network
    from jaxrnn import page as page
    from jaxrnn import plots as plots
    from jaxrnn import runs as runs
    from jaxrnn import sampling as sampling
    from jaxrnn import text as text
    from jaxrnn import training as training
    from jaxrnn.config import PRESETS as PRESETS
    from jaxrnn.config import ModelConfig as ModelConfig
    from jaxrnn.config import OptimizerConfig as OptimizerConfig
    from jaxrnn.config import SampleConfig as SampleConfig
    from jaxrnn.config import TrainConfig as TrainConfig
    from jaxrnn.config import combinations as combinations
    from jaxrnn.config import preset as preset
    from jaxrnn.distributed import make_mesh as make_mesh
    from jaxrnn.errors import JaxrnnError as JaxrnnError
    from jaxrnn.evaluation import Copy as Copy
    from jaxrnn.evaluation import Score as Score
    from jaxrnn.evaluation import Unit as Unit
    from jaxrnn.evaluation import activations as activations
    from jaxrnn.evaluation import evaluate as evaluate
    from jaxrnn.evaluation import find_units as find_units
    from jaxrnn.evaluation import longest_copy as longest_copy
    from jaxrnn.evaluation import score as score
    from jaxrnn.network import CELLS as CELLS
    from jaxrnn.network import GRU as GRU
    from jaxrnn.network import LSTM as LSTM
    from jaxrnn.network import RELU as RELU
    from jaxrnn.network import TANH as TANH
    from jaxrnn.network import Cell as Cell
    from jaxrnn.network import Layer as Layer
    from jaxrnn.network import Params as Params
    from jaxrnn.network import bits_per_character as bits_per_character
    from jaxrnn.network import forward as forward
    from jaxrnn.network import init_params as init_params
    from jaxrnn.network import initial_carry as initial_carry
    from jaxrnn.network import loss as loss
    from jaxrnn.network import unroll as unroll
    from jaxrnn.network import unroll_plain as unroll_plain
    from jaxrnn.plots import watch as watch
    from jaxrnn.runs import Checkpoint as Checkpoint
    from jaxrnn.runs import Report as Report
    from jaxrnn.runs import SweepReport as SweepReport
    from jaxrnn.runs import Weights as Weights
    from jaxrnn.runs import begin_run as begin_run
    from jaxrnn.runs import fit as fit
    from jaxrnn.runs import fit_many as fit_many
    from jaxrnn.runs import load_checkpoint as load_checkpoint
    from jaxrnn.runs import load_weights as load_weights
    from jaxrnn.runs import save_checkpoint as save_checkpoint
    from jaxrnn.runs import save_weights as save_weights
    from jaxrnn.sampling import sample as sample
    from jaxrnn.sampling import write as write
    from jaxrnn.sampling import write_many as write_many
    from jaxrnn.text import Batch as Batch
    from jaxrnn.text import Corpus as Corpus
    from jaxrnn.text import Slice as Slice
    from jaxrnn.text import Vocabulary as Vocabulary
    from jaxrnn.text import batches as batches
    from jaxrnn.text import load_corpus as load_corpus
    from jaxrnn.text import split as split
    from jaxrnn.training import Metrics as Metrics
    from jaxrnn.training import TrainState as TrainState
    from jaxrnn.training import init_train_state as init_train_state
    from jaxrnn.training import make_optimizer as make_optimizer
    from jaxrnn.training import make_train_chunk as make_train_chunk
    from jaxrnn.training import make_train_step as make_train_step
    from jaxrnn.training import sweep as sweep
    from jaxrnn.training import train_chunk as train_chunk
    from jaxrnn.training import train_step as train_step

_NAMES = {
    "config": "PRESETS ModelConfig OptimizerConfig SampleConfig TrainConfig combinations preset",
    "distributed": "make_mesh",
    "errors": "JaxrnnError",
    "evaluation": "Copy Score Unit activations evaluate find_units longest_copy score",
    "network": "CELLS GRU LSTM RELU TANH Cell Layer Params bits_per_character forward init_params initial_carry loss "
    "unroll unroll_plain",
    "plots": "watch",
    "runs": "Checkpoint Report SweepReport Weights begin_run fit fit_many load_checkpoint load_weights save_checkpoint "
    "save_weights",
    "sampling": "sample write write_many",
    "text": "Batch Corpus Slice Vocabulary batches load_corpus split",
    "training": "Metrics TrainState init_train_state make_optimizer make_train_chunk make_train_step sweep train_chunk "
    "train_step",
}
_ROOMS = (*_NAMES, "bench", "kernels", "min_char_rnn", "page")
_HOMES = {name: room for room, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


if not TYPE_CHECKING:  # with it, no type checker would report a name that is not there

    def __getattr__(name: str) -> "Any":
        if name in _HOMES:
            return getattr(importlib.import_module(f"jaxrnn.{_HOMES[name]}"), name)
        if name in _ROOMS:
            return importlib.import_module(f"jaxrnn.{name}")
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("jaxrnn")
        raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]

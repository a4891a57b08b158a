"""The optimizer, and the training step: a pure function of a state and a batch; its scan; many models at once."""

from jaxrnn.training.jitted import make_train_chunk, make_train_step
from jaxrnn.training.optimizer import make_optimizer
from jaxrnn.training.step import Metrics, TrainState, init_train_state, train_chunk, train_step
from jaxrnn.training.sweep import sweep

__all__ = ["Metrics", "TrainState", "init_train_state", "make_optimizer"]
__all__ += ["make_train_chunk", "make_train_step", "sweep", "train_chunk", "train_step"]

"""The network: cells, the loop over time, parameters, logits, loss."""

from jaxrnn.config.cell import Cell, CellCarry
from jaxrnn.network.cells import CELLS, GRU, LSTM, RELU, TANH
from jaxrnn.network.loss import bits_per_character, loss
from jaxrnn.network.model import Carry, Layer, Params, forward, init_params, initial_carry
from jaxrnn.network.recurrence import unroll, unroll_plain

__all__ = ["CELLS", "GRU", "LSTM", "RELU", "TANH", "Carry", "Cell", "CellCarry", "Layer", "Params"]
__all__ += ["bits_per_character", "forward", "init_params", "initial_carry", "loss", "unroll", "unroll_plain"]

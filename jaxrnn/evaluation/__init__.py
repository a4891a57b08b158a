"""What a network makes of a text: surprisal, activations, what single units know, and copied spans."""

from jaxrnn.evaluation.activations import activations
from jaxrnn.evaluation.copies import Copy, longest_copy
from jaxrnn.evaluation.score import Score, evaluate, score
from jaxrnn.evaluation.units import Unit, find_units

__all__ = [
    "Copy",
    "Score",
    "Unit",
    "activations",
    "evaluate",
    "find_units",
    "longest_copy",
    "score",
]

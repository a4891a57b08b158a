"""What a network makes of a text: surprisal, activations, what single units know, and copied spans."""

from jaxrnn.evaluation.activations import activations
from jaxrnn.evaluation.copies import Copy, longest_copy
from jaxrnn.evaluation.dynamic import dynamic_surprisals, pulled
from jaxrnn.evaluation.score import Score, evaluate, score, surprisals
from jaxrnn.evaluation.units import PROPERTIES, Unit, find_units

__all__ = ["PROPERTIES", "Copy", "Score", "Unit"]
__all__ += ["activations", "dynamic_surprisals", "evaluate", "find_units", "longest_copy", "pulled", "score"]
__all__ += ["surprisals"]

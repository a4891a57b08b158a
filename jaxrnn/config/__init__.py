"""The configuration of a run: frozen dataclasses, presets, and grids. Nothing here imports JAX."""

from jaxrnn.config.cell import Cell
from jaxrnn.config.grid import SETTINGS, SWEEPABLE, combinations, with_settings
from jaxrnn.config.json_text import from_json, to_json
from jaxrnn.config.presets import PRESETS, preset
from jaxrnn.config.settings import (
    CellName,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    Products,
    SampleConfig,
    TrainConfig,
    VocabularyKind,
)

__all__ = ["PRESETS", "SETTINGS", "SWEEPABLE", "Cell", "CellName", "ModelConfig", "OptimizerConfig", "OptimizerName"]
__all__ += ["Products", "SampleConfig", "TrainConfig", "VocabularyKind", "combinations", "from_json", "preset"]
__all__ += ["to_json", "with_settings"]

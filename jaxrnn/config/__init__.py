"""The configuration of a run: frozen dataclasses, presets, grids; how files are written. Nothing here imports JAX."""

from jaxrnn.config.cell import Cell
from jaxrnn.config.grid import SETTINGS, SWEEPABLE, TEXT_RULES, combinations, with_settings
from jaxrnn.config.json_text import from_json, read_config, read_text, to_json
from jaxrnn.config.presets import PRESETS, preset
from jaxrnn.config.settings import (
    CellName,
    Count,
    CountOrZero,
    ModelConfig,
    OptimizerConfig,
    OptimizerName,
    Positive,
    Products,
    SampleConfig,
    TrainConfig,
)
from jaxrnn.config.texts import Normalization, Unknown, VocabularyKind, check_split, check_text_options, corpus_name

__all__ = ["PRESETS", "SETTINGS", "SWEEPABLE", "TEXT_RULES", "Cell", "CellName", "Count", "CountOrZero", "ModelConfig"]
__all__ += ["Normalization", "OptimizerConfig", "OptimizerName", "Positive", "Products", "SampleConfig", "TrainConfig"]
__all__ += ["Unknown", "VocabularyKind"]
__all__ += ["check_split", "check_text_options", "combinations", "corpus_name", "from_json", "preset"]
__all__ += ["read_config", "read_text", "to_json", "with_settings"]

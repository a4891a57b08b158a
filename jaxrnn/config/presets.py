"""Complete configurations with a name: `jaxrnn train --preset NAME`.

A preset does not choose the corpus. char-rnn counts epochs; here they are steps, for a training slice as long as that
of tinyshakespeare, 1,003,854 characters; for another text set `--steps`, `--decay-from` and `--decay-every`.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError

_EPOCH = 401  # steps in a sweep over 1,003,854 characters in 50 lanes of 50

_CHAR_RNN = TrainConfig(
    model=ModelConfig(cell="lstm", hidden_size=128, num_layers=2, init="uniform", init_scale=0.08),
    optimizer=OptimizerConfig(
        name="rmsprop",
        learning_rate=0.002,
        rms_decay=0.95,
        clip_value=5.0,
        schedule="exponential",
        decay_from=10 * _EPOCH,
        decay_every=_EPOCH,
        decay_rate=0.97,
    ),
    sequence_length=50,
    batch_size=50,
    steps=50 * _EPOCH,
    split=(0.9, 0.1),
    validate_every=_EPOCH,
    sample_every=1000,
)

_QUICK = TrainConfig(
    model=ModelConfig(cell="gru", hidden_size=128, init="fan_in"),
    optimizer=OptimizerConfig(
        name="adam", learning_rate=0.004, schedule="cosine", warmup_steps=100, final_fraction=0.0
    ),
    sequence_length=48,
    batch_size=16,
    steps=13_000,
    split=(0.9, 0.1),
    validate_every=500,
    sample_every=0,
)

_BEST = TrainConfig(
    model=ModelConfig(cell="gru", hidden_size=384, num_layers=2, init="fan_in", products="bfloat16"),
    optimizer=OptimizerConfig(
        name="adamw", learning_rate=0.003, schedule="cosine", warmup_steps=500, final_fraction=0.0
    ),
    sequence_length=64,
    batch_size=32,
    steps=2_000,
    split=(0.9, 0.1),
    validate_every=200,
    sample_every=1000,
    log_every=100,
    checkpoint_every=1000,
)

PRESETS: Mapping[str, TrainConfig] = MappingProxyType(
    {"min-char-rnn": TrainConfig(), "char-rnn": _CHAR_RNN, "quick": _QUICK, "best": _BEST}
)


def preset(name: str) -> TrainConfig:
    """Return the configuration with this name in `PRESETS`.

    Example:
        >>> preset("char-rnn").model.cell
        'lstm'

    Raises:
        JaxrnnError: there is no such preset.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
        raise JaxrnnError(f"no such preset: {name}; {hint}")
    return PRESETS[name]

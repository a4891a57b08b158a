"""Complete configurations with a name: `jaxrnn train --preset NAME`.

`quick` and `best` are what `--minutes 1` and `--minutes 10` choose for tinyshakespeare on two cores of an Intel Xeon
(Sapphire Rapids) where its last tenth is held out. A preset does not choose the corpus: for a text of another length,
`--minutes` chooses better.

char-rnn counts epochs; here they are steps, for a training slice as long as that of tinyshakespeare, 1,003,854
characters; for another text set `--steps`, `--decay-from` and `--decay-every`.

How good they are: validation loss in nats per character on the last tenth of tinyshakespeare, seeds 0, 1 and 2. Seconds
include the validations, on two cores of an AMD EPYC (Zen 5), or of the Intel Xeon for `best`. notebooks/07 has what
else was tried.

    | network                                             | parameters | loss                | after             |
    | --------------------------------------------------- | ---------- | ------------------- | ----------------- |
    | quick: GRU 2 x 256, B 32, T 64, 1,800 steps         | 659,521    | 1.456, 1.454, 1.461 | 47 s              |
    | best: GRU 2 x 384, the same, dropout 0.15, 5,880    | 1,431,617  | 1.421, 1.413, 1.422 | 645 s             |
    | char-rnn: LSTM 2 x 128; it overfits later           | 239,297    | 1.576               | 146 s, step 6,000 |

What helps `best` most is a cosine schedule that ends before the network overfits; with a little dropout at three places
(between layers, of states and of weights) that is after twelve epochs, without it after four. For comparison, nanoGPT's
GPT of 10.65 M parameters reaches 1.4697 on this slice, in windows of 256 characters; the networks here carry their
state through the whole slice.

The patience of char-rnn is ten epochs, as long as its learning rate stays constant; the validation loss on
tinyshakespeare never stalls that long.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrnn.config.fields import check_arguments
from jaxrnn.config.grid import with_settings
from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError, did_you_mean

_EPOCH = 401  # steps in an epoch of 1,003,854 characters in 50 lanes of 50


PRESETS: Mapping[str, TrainConfig] = {
    "min-char-rnn": TrainConfig(),
    "char-rnn": TrainConfig(
        model=ModelConfig(cell="lstm", hidden_size=128, num_layers=2, init="uniform", init_scale=0.08),
        optimizer=OptimizerConfig(
            "rmsprop", learning_rate=0.002, schedule="exponential", decay_from=10 * _EPOCH, decay_every=_EPOCH
        ),
        sequence_length=50,
        batch_size=50,
        steps=50 * _EPOCH,
        split=(0.9, 0.1),
        validate_every=_EPOCH,
        patience=10,
    ),
    "quick": TrainConfig(
        model=ModelConfig("gru", 256, 2, init="fan_in", products="bfloat16"),
        optimizer=OptimizerConfig(
            "adamw", 0.005, weight_decay=0.01, schedule="cosine", warmup_steps=90, final_fraction=0.0
        ),
        sequence_length=64,
        batch_size=32,
        steps=1800,
        split=(0.9, 0.1),
        log_every=90,
        checkpoint_every=180,
        validate_every=180,
        patience=3,
    ),
    "best": TrainConfig(
        model=ModelConfig(
            "gru", 384, 2, dropout=0.15, state_dropout=0.075, weight_dropout=0.075, init="fan_in", products="bfloat16"
        ),
        optimizer=OptimizerConfig(
            "adamw", 0.003, weight_decay=0.06, schedule="cosine", warmup_steps=294, final_fraction=0.0
        ),
        sequence_length=64,
        batch_size=32,
        steps=5880,
        split=(0.9, 0.1),
        log_every=98,
        checkpoint_every=588,
        validate_every=588,
        patience=3,
    ),
}


class PresetFacts(NamedTuple):
    """What helps to choose a preset."""

    purpose: str  # what it is for
    text: str  # sizes of the texts that it suits
    minutes: tuple[float, float]  # on two cores, AMD Zen 5 and Intel Xeon, up to the best validation or the end
    bits_per_character: float  # on the last tenth of tinyshakespeare, after training on the rest
    writes: str  # a line that it then writes, at temperature 0.5


PRESET_FACTS: Mapping[str, PresetFacts] = {
    "min-char-rnn": PresetFacts(
        "the published program", "any", (0.1, 0.1), 3.03, "Senease you beise to grow you your has you will sies you"
    ),
    "quick": PresetFacts(
        "good text soon", "0.1 to 5 MB", (1, 1), 2.10, "And therefore he hath such as the house of York."
    ),
    "char-rnn": PresetFacts(
        "char-rnn as published", "about 1 MB", (2.5, 5.0), 2.27, "Not your honour, and thy father, with the death;"
    ),
    "best": PresetFacts(
        "the best text", "1 MB and more", (10, 11), 2.05, "I would not stay the heavens, the great poor good souls"
    ),
}


def adapted(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Return a preset changed so that it does not contradict a user's settings, by the names of their flags.

    The warm-up takes at most a tenth of the steps; without a validation slice nothing is validated, and without
    validations there is no patience.

    Example:
        >>> adapted(preset("quick"), {"steps": 20}).optimizer.warmup_steps
        2
    """
    steps = settings.get("steps", config.steps)
    fewest = min(steps) if isinstance(steps, tuple) else steps  # of a sweep
    values = {"warmup_steps": min(config.optimizer.warmup_steps, max(0, fewest // 10))} if "steps" in settings else {}
    if len(settings.get("split", config.split)) < 2:
        values["validate_every"] = 0
    if not {"validate_every": config.validate_every, **values, **settings}["validate_every"]:
        values["patience"] = 0
    return with_settings(config, values)


def preset(name: str) -> TrainConfig:
    """Return the configuration with this name in `PRESETS`.

    Example:
        >>> preset("char-rnn").model.cell
        'lstm'
    """
    check_arguments(preset, locals())
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS, f"there are {', '.join(PRESETS)}")
        raise JaxrnnError(f"no such preset: {name}; {hint}")
    return PRESETS[name]

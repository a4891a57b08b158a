"""Complete configurations with a name: `jaxrnn train --preset NAME`.

A preset does not choose the corpus. char-rnn counts epochs; here they are steps, for a training slice as long as that
of tinyshakespeare, 1,003,854 characters; for another text set `--steps`, `--decay-from` and `--decay-every`.

How good they are: best validation loss in nats per character on the last tenth of tinyshakespeare, with version 0.1.0,
seed 0, on two cores of an AMD EPYC (Zen 5; (4) marks Zen 4). Seconds include the validations.

    | network                                                 | parameters | loss  | after                           |
    | ------------------------------------------------------- | ---------- | ----- | ------------------------------- |
    | quick: GRU 128, Adam 0.004, B 16, T 48, 13,000 steps    | 83,265     | 1.576 | 29 s; below 1.88 after 3 s      |
    | GRU 192, 7,500 steps                                    | 161,729    | 1.545 | 51 s; below 1.88 after 9 s (4)  |
    | GRU 256, Adam 0.003, 4,800 steps                        | 264,769    | 1.530 | 68 s; below 1.88 after 16 s (4) |
    | char-rnn: LSTM 2 x 128; it overfits later               | 239,297    | 1.576 | 146 s, step 6,000 of 20,050     |
    | char-rnn, seed 1                                        | 239,297    | 1.550 | 152 s, step 6,000               |
    | best: GRU 2 x 384, AdamW 0.003, B 32, T 64, 2,000 steps | 1,431,617  | 1.432 | 114 s                           |
    | best, dropout 0.15, 4,000 steps                         | 1,431,617  | 1.443 | 271 s                           |
    | best, dropout 0.35, 2,000 steps                         | 1,431,617  | 1.508 | 2,000 steps                     |
    | best, dropout 0.35, 20,000 steps                        | 1,431,617  | 1.469 | 35 minutes, step 13,600 (4)     |

What helps `best` most is a cosine schedule that reaches zero before the network overfits: four passes over the text do
better than forty. What does not help: dropout 0.35, which learns more slowly and overfits in the end all the same; a
little dropout and twice the steps; wider layers within a minute, which end lower but take longer to get below 1.88.
For comparison, nanoGPT's GPT of 10.65 M parameters reaches 1.4697 on this slice, in windows of 256 characters; the
networks here carry their state through the whole slice.

Patience is longer than the validation loss of tinyshakespeare ever pauses: quick, whose learning rate is high for long,
had at most two validations in a row without improvement, the others none; char-rnn waits as many sweeps over the text
as its learning rate stays constant. On a text of 60,000 characters quick then ends after 3,000 steps.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrnn.config.grid import with_settings
from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig
from jaxrnn.errors import JaxrnnError, did_you_mean

_EPOCH = 401  # steps in a sweep over 1,003,854 characters in 50 lanes of 50

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
        model=ModelConfig(cell="gru", hidden_size=128, init="fan_in"),
        optimizer=OptimizerConfig("adam", 0.004, schedule="cosine", warmup_steps=100, final_fraction=0.0),
        sequence_length=48,
        batch_size=16,
        steps=13_000,
        split=(0.9, 0.1),
        validate_every=500,
        patience=5,
    ),
    "best": TrainConfig(
        model=ModelConfig(cell="gru", hidden_size=384, num_layers=2, init="fan_in", products="bfloat16"),
        optimizer=OptimizerConfig("adamw", 0.003, schedule="cosine", warmup_steps=500, final_fraction=0.0),
        sequence_length=64,
        batch_size=32,
        steps=2_000,
        split=(0.9, 0.1),
        validate_every=200,
        patience=3,
        checkpoint_every=1000,
    ),
}


class PresetFacts(NamedTuple):
    """What helps to choose a preset.

    Attributes:
        purpose: what it is for.
        text: sizes of the texts that it suits.
        minutes: on two cores, of an AMD EPYC (Zen 5) and of an Intel Xeon; up to the best validation, or the end.
        bits_per_character: on the last tenth of tinyshakespeare, after training on the rest.
        writes: a line that it then writes, at temperature 0.5.
    """

    purpose: str
    text: str
    minutes: tuple[float, float]
    bits_per_character: float
    writes: str


PRESET_FACTS: Mapping[str, PresetFacts] = {
    "min-char-rnn": PresetFacts(
        "the published program", "any", (0.1, 0.2), 2.86, "Senease you beise to grow you your has you will sies you"
    ),
    "quick": PresetFacts(
        "good text soon", "0.1 to 5 MB", (0.5, 1.0), 2.27, "That they are you to his fought it in all the soul"
    ),
    "char-rnn": PresetFacts(
        "char-rnn as published", "about 1 MB", (2.5, 5.0), 2.27, "Not your honour, and thy father, with the death;"
    ),
    "best": PresetFacts(
        "the best text", "1 MB and more", (2.0, 4.0), 2.07, "Have I not been a man that loves the doing"
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
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS, f"there are {', '.join(PRESETS)}")
        raise JaxrnnError(f"no such preset: {name}; {hint}")
    return PRESETS[name]

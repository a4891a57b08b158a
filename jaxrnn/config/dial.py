"""One dial: which network to train on a text for some minutes, on a machine of some speed, and how.

Of all shapes, the dial chooses the one with the lowest expected loss. A network of P parameters that has read D
distinct symbols of a text of N is expected to reach, in nats per character,

    0.905 + 12.58 P^-0.3 + 104.3 D^-0.4 + 0.07 sqrt(P / N)

(Hoffmann et al. 2022, "Training compute-optimal large language models"). The last term is what a network that is large
for its text loses by overfitting. Symbols that are read again count for less: after r epochs more than the first one,

    D = N (1 + 2.5 (1 - exp(-r / 2.5)))

(Muennighoff et al. 2023, "Scaling data-constrained language models"). The constants fit nine trainings of GRUs of
128 to 2 x 640 units on tinyshakespeare, of 1 to 12 epochs, within 0.025. Their learning rates were lower than those
below, with which networks of fewer than 256 units reach 0.02 to 0.08 less.

Dropout follows from the epochs alone. Losses on a held-out tenth at the end of a schedule, by the rate between layers
(states and weights drop half as much):

    | text, network, epochs                       | rate: loss                                             |
    | ------------------------------------------- | ------------------------------------------------------ |
    | Chinese poems of 230,000 characters, 256, 7 | 0.07: 4.775, 0.4: 4.841                                |
    | tinyshakespeare, 2 x 256, 8                 | 0: 1.442, 0.1: 1.454 (in 1.3 times the time)           |
    | tinyshakespeare, 2 x 384, 12                | 0.08: 1.425, 0.15: 1.421                               |
    | stories of 170 kB, 2 x 256, 14              | 0.1: 1.392, 0.2: 1.421, 0.33: 1.500                    |
    | tinyshakespeare, 256, 31                    | 0.1: 1.456                                             |
    | tinyshakespeare, 2 x 512, 45                | 0.3: 1.386, 0.43: 1.424                                |
    | the same, 78                                | 0.36: 1.380                                            |
    | poems of 60 kB, 256, 97                     | 0.2: 1.793 (1.754 at its best), 0.3: 1.719, 0.5: 1.730 |
    | poems of 20 kB, 192, 99                     | 0.3: 2.075 (2.040 at its best), 0.4: 2.005, 0.5: 2.000 |
    | Beowulf, 60 kB, 256, 99                     | 0.39: 1.511, 0.5: 1.547                                |
    | the same, 250; 500                          | 0.5: 1.498, 0.6: 1.562; 0.6: 1.546                     |
    | Beowulf, 20 kB, 192, 99                     | 0.39: 1.807, 0.5: 1.805                                |
    | the same, 250; 500                          | 0.5: 1.792, 0.6: 1.774; 0.5: 1.788, 0.6: 1.756         |

The learning rate falls with the number of units, and is lower for two layers. Losses on a held-out tenth, by learning
rate; the tenth of tinyshakespeare is the one before its last:

    | text, network, steps                        | learning rate: loss                                    |
    | ------------------------------------------- | ------------------------------------------------------ |
    | tinyshakespeare, 64, 2,000                  | 0.006: 1.802, 0.015: 1.727, 0.03: 1.720                |
    | the same, 96, 3,000                         | 0.005: 1.666, 0.012: 1.618, 0.02: 1.622                |
    | the same, 128, 6,000                        | 0.004: 1.559, 0.008: 1.532, 0.011: 1.531, 0.016: 1.536 |
    | the same, 192, 6,000                        | 0.004: 1.504, 0.008: 1.487, 0.012: 1.496               |
    | the same, 256, 6,000                        | 0.003: 1.478, 0.006: 1.473, 0.012: 1.491               |
    | the same, 2 x 256, 1,800                    | 0.003: 1.435, 0.0045: 1.425, 0.006: 1.426              |
    | the same, 2 x 384, dropout 0.15, 5,880      | 0.002: 1.391, 0.003: 1.386, 0.006: 1.413               |
    | poems of 60 kB, 256, dropout 0.5, 250 times | 0.003: 1.537, 0.006: 1.511, 0.012: 1.501               |
    | Beowulf, 60 kB, the same                    | 0.003: 1.498, 0.006: 1.470, 0.012: 1.457               |
    | Beowulf, 20 kB, 192, dropout 0.6, the same  | 0.004: 1.774, 0.008: 1.777                             |

Weight decay, with dropout 0.5, after 250 epochs: a network that is large for its text needs more.

    | text, network, learning rate                | weight decay: loss                                     |
    | ------------------------------------------- | ------------------------------------------------------ |
    | poems of 60 kB, 256, 0.006                  | 0.1: 1.511, 0.177: 1.524                               |
    | Beowulf, 60 kB, the same                    | 0.1: 1.470, 0.177: 1.490                               |
    | Beowulf, 20 kB, 192, 0.008                  | 0.1: 1.796, 0.177: 1.773, 0.3: 1.771                   |
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from jaxrnn.config.grid import with_settings
from jaxrnn.config.settings import ModelConfig, OptimizerConfig, TrainConfig


class Shape(NamedTuple):
    """A network that the dial may choose: a GRU, its batch and its learning rate."""

    hidden_size: int
    num_layers: int
    sequence_length: int
    batch_size: int
    learning_rate: float


SHAPES = (
    Shape(64, 1, 48, 16, 0.02),
    Shape(96, 1, 48, 16, 0.015),
    Shape(128, 1, 48, 16, 0.011),
    Shape(192, 1, 48, 16, 0.008),
    Shape(256, 1, 48, 16, 0.006),
    Shape(256, 2, 64, 32, 0.005),
    Shape(384, 2, 64, 32, 0.003),
    Shape(512, 2, 64, 32, 0.002),
    Shape(768, 2, 64, 32, 0.002),
    Shape(1024, 2, 64, 32, 0.0015),
)
_FIRST_GUESS = {57_000.0: 300_000.0}  # symbols per second by multiplications per symbol, until a speed is measured
_WORK_EXPONENT = 0.85  # twice the work is assumed to take 2 to this power times as long, until it is measured
MOST_EPOCHS = 250  # more help too little
VALIDATIONS, _PATIENCE = 10, 3  # of a run
_SCORING = 1.2  # how many times as fast as training a validation is


class Choice(NamedTuple):
    """What the dial chose."""

    shape: int  # the index of its shape in SHAPES
    config: TrainConfig  # the configuration of the run
    speed: float  # symbols per second of training, as measured or estimated
    seconds: float  # the time that training and validations take at that speed
    loss: float  # the expected loss, nats per symbol
    epochs: float  # how often the run reads its part of the text


def choose_network(
    num_symbols: int,
    vocab_size: int,
    seconds: float,
    speeds: Mapping[int, float],
    settings: Mapping[str, Any] | None = None,
) -> Choice:
    """Return what to train on a text for some seconds.

    Example:
        >>> choose_network(1_000_000, 65, 60, {2: 300_000}).config.model.hidden_size
        256
        >>> choose_network(50_000_000, 65, 3600, {2: 300_000}).config.model.hidden_size
        512

    Args:
        num_symbols: the length of the whole text.
        vocab_size: its distinct symbols.
        seconds: the time for training and validations.
        speeds: symbols per second of training, by the index of a shape, for those that have been measured. Others are
            estimated from the nearest of these.
        settings: the user's settings, by the names of flags; they win over those of a shape before it is compared.
    """
    text, settings = (num_symbols, vocab_size), settings or {}
    configs = [_shaped(shape, text, settings) for shape in SHAPES]
    work = [_work(config.model, vocab_size) for config in configs]
    known = {work[index]: speed for index, speed in speeds.items()} or _FIRST_GUESS
    choices = []
    for index, config in enumerate(configs):
        _, nearest = min((abs(math.log(other / work[index])), other) for other in known)
        speed = speeds.get(index, known[nearest] * (nearest / work[index]) ** _WORK_EXPONENT)
        choices.append(_choice(index, config, text, seconds, speed, settings))
    return min(choices, key=lambda choice: choice.loss)


def _choice(
    shape: int, config: TrainConfig, text: tuple[int, int], seconds: float, speed: float, settings: Mapping[str, Any]
) -> Choice:
    """Return the choice of this shape: its schedule and its expected loss."""
    num_symbols, vocab_size = text
    # The last tenth is held out; of a long text less, so that validations take less than a tenth of the time.
    held_out = float(f"{min(0.1, max(10_000, 0.01 * seconds * speed) / num_symbols):.2g}")
    split = settings.get("split", (1 - held_out, held_out))
    trained, validating = split[0] * num_symbols, VALIDATIONS * sum(split[1:2]) * num_symbols / _SCORING
    batch = config.sequence_length * config.batch_size
    symbols = min(seconds * speed - validating, MOST_EPOCHS * trained)
    # All chunks have one length, as each length is compiled: it divides the intervals, and these the steps.
    planned = settings.get("steps", max(VALIDATIONS, symbols / batch))
    lines = math.ceil(planned / VALIDATIONS / 100)  # between two validations
    chunk = max(1, int(planned / VALIDATIONS / lines))
    every = lines * chunk
    steps = settings.get("steps", min(VALIDATIONS * every, 2**31 - 1))
    epochs, parameters = steps * batch / trained, _parameters(config.model, vocab_size)
    rate = _dropout(epochs)
    values = {
        **{"split": split, "steps": steps, "log_every": chunk, "checkpoint_every": every},
        **{"dropout": rate, "state_dropout": round(rate / 2, 3), "weight_dropout": round(rate / 2, 3)},
        **{"validate_every": every if len(split) > 1 else 0},
    }
    if config.optimizer.name != "custom":
        # Weight decay is multiplied by the learning rate, which is higher for one layer.
        share = 1 / 3 if config.model.num_layers > 1 else min(1 / 3, parameters / trained / 30)
        values |= {"warmup_steps": min(500, steps // 20), "weight_decay": round(0.01 + share * rate, 3)}
    values |= settings
    values = {"patience": _PATIENCE if values["validate_every"] else 0, **values}
    seconds_needed = (steps * batch + validating) / speed
    in_time = min(1.0, seconds / seconds_needed)  # steps that the user has set may take longer
    loss = _loss(parameters, epochs * in_time, trained)
    return Choice(shape, with_settings(config, values), speed, seconds_needed, loss, epochs)


def _shaped(shape: Shape, text: tuple[int, int], settings: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of a shape before it is known how long it trains, with the user's settings."""
    num_symbols, vocab_size = text
    optimizer = OptimizerConfig("adamw", shape.learning_rate, schedule="cosine", final_fraction=0.0)
    if (rule := settings.get("optimizer", "adamw")) not in ("adam", "adamw"):  # the learning rates of others differ
        optimizer = OptimizerConfig("custom") if rule == "custom" else replace(optimizer, name=rule, learning_rate=None)
    config = TrainConfig(
        model=ModelConfig("gru", shape.hidden_size, shape.num_layers, init="fan_in", products="bfloat16"),
        optimizer=optimizer,
        sequence_length=max(1, min(shape.sequence_length, num_symbols // 10 - 2)),  # for the slice that is held out
        batch_size=max(1, min(shape.batch_size, num_symbols // (20 * shape.sequence_length))),
    )
    sizes = ("cell", "hidden_size", "num_layers", "sequence_length", "batch_size", "optimizer")
    return with_settings(
        config, {"vocab_size": vocab_size, **{name: settings[name] for name in sizes if name in settings}}
    )


def _loss(parameters: float, epochs: float, trained: float) -> float:
    distinct = trained * (epochs if epochs <= 1 else 1 + 2.5 * (1 - math.exp((1 - epochs) / 2.5)))
    return 0.905 + 12.58 * parameters**-0.3 + 104.3 * distinct**-0.4 + 0.07 * (parameters / trained) ** 0.5


def _dropout(epochs: float) -> float:
    """Return the dropout rate for so many epochs: none below 6, and 0.08 more for every doubling."""
    return round(min(0.5, 0.08 * math.log2(epochs / 3.3)), 2) if epochs >= 6 else 0.0


def _parameters(model: ModelConfig, vocab_size: int) -> float:
    """Return the number of parameters of a GRU, those of rare symbols left out."""
    size, layers = model.hidden_size, model.num_layers
    return 3 * size**2 * (2 * layers - 1) + 4 * size * min(vocab_size, 100)


def _work(model: ModelConfig, vocab_size: int) -> float:
    """Return the multiplications of a GRU per symbol."""
    return 3 * model.hidden_size**2 * (2 * model.num_layers - 1) + float(model.hidden_size * vocab_size)

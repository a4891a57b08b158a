"""What describes a run: frozen dataclasses, checked when they are built, with an exact JSON round trip.

The defaults are min-char-rnn's. The command line's flags are these fields, and the docstring below a field is its
help text.
"""

import dataclasses
import difflib
import json
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, get_type_hints, runtime_checkable

from jaxrnn.config.checks import (
    check_at_least,
    check_at_most,
    check_cell,
    check_in,
    check_positive,
    check_split,
    check_types,
    is_traced,
)
from jaxrnn.config.reprs import of_config
from jaxrnn.errors import JaxrnnError

CellName = Literal["tanh", "gru", "lstm"]
VocabularyKind = Literal["characters", "bytes"]


@runtime_checkable
class CellLike(Protocol):
    """What `jaxrnn.Cell` is, to a module that does not wait for JAX."""

    @property
    def gates(self) -> int:
        """G, how many values each unit gets from its input."""

    @property
    def init_carry(self) -> Callable[..., Any]:
        """Return the carry before the first step."""

    @property
    def update(self) -> Callable[..., Any]:
        """Return the carry after a step."""


@dataclasses.dataclass(frozen=True, repr=False)
class ModelConfig:
    """The network: its cell, its size, and how its weights begin."""

    cell: CellName | Literal["custom"] | CellLike = "tanh"
    """Recurrent cell: a name, or a `jaxrnn.Cell` of your own. custom: what JSON says of one, until it is put back."""
    hidden_size: int = 100
    """Units in a layer (H)."""
    num_layers: int = 1
    """Recurrent layers, one on top of the other (L)."""
    dropout: float = 0.0
    """Share of what each layer hands upwards that training drops at random."""
    init: Literal["normal", "uniform", "fan_in"] = "normal"
    """How weights are drawn. normal: deviation INIT_SCALE. uniform: within +-INIT_SCALE. fan_in: as products need."""
    init_scale: float = 0.01
    """Size of the initial weights, for normal and uniform."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and arithmetic."""
    products: Literal["full", "bfloat16"] = "full"
    """Factors of matrix products: full, in `dtype`; bfloat16, rounded to it: faster at large sizes. Sums in `dtype`."""
    vocab_size: int | None = None
    """Distinct symbols (V); None until a corpus gives it."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self, {CellLike: "a jaxrnn.Cell"})
        check_at_least(self, 1, "hidden_size", "num_layers")
        check_at_most(self, 2**16, "hidden_size")
        check_at_most(self, 1000, "num_layers")
        check_positive(self, "init_scale")
        check_in(self, "[0, 1)", "dropout")
        check_cell(self.cell)
        if self.vocab_size is not None:
            check_at_least(self, 2, "vocab_size")

    def __repr__(self) -> str:
        """Leave out what is as usual."""
        return of_config(self, "cell", "hidden_size", "num_layers", "vocab_size")


OptimizerName = Literal["adagrad", "adam", "adamw", "rmsprop", "sgd"]
_LEARNING_RATES = {"adagrad": 0.1, "adam": 0.002, "adamw": 0.002, "rmsprop": 0.002, "sgd": 0.001}


@dataclasses.dataclass(frozen=True, repr=False)
class OptimizerConfig:
    """How the gradient becomes an update: clipped, then by one of optax's rules, at a rate that may change.

    Under `jit`, `vmap` or `grad` a float of it may be one of JAX's values: a vmapped training step can have a learning
    rate for each model.
    """

    name: OptimizerName = "adagrad"
    """The rule."""
    learning_rate: float | None = None
    """Its step size, the highest of a schedule; None: 0.1 for adagrad, 0.001 for sgd, 0.002 for the others."""
    momentum: float = 0.9
    """What sgd keeps of its last update; 0: plain gradient descent."""
    rms_decay: float = 0.95
    """What rmsprop keeps of its mean square at each step (alpha)."""
    beta1: float = 0.9
    """What adam and adamw keep of their mean at each step."""
    beta2: float = 0.999
    """What adam and adamw keep of their mean square at each step."""
    weight_decay: float | None = None
    """This times the learning rate is taken off every matrix (no bias) at each step; None: 0.01 for adamw, else 0."""
    clip: Literal["value", "norm", "none"] = "value"
    """What CLIP_VALUE bounds. value: each entry of the gradient. norm: the length of all of it. none: nothing."""
    clip_value: float = 5.0
    """The bound."""
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """How the learning rate goes on: cosine falls to FINAL_FRACTION of it, exponential by DECAY_RATE now and then."""
    warmup_steps: int = 0
    """Steps over which any schedule's rate first rises from near zero."""
    final_fraction: float = 0.1
    """Part of the learning rate that cosine ends with."""
    decay_from: int = 0
    """Step from which exponential multiplies the learning rate by DECAY_RATE for the first time."""
    decay_every: int = 1000
    """Steps from one such time to the next."""
    decay_rate: float = 0.97
    """The factor."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_positive(self, "learning_rate", "clip_value")
        check_in(self, "[0, 1)", "momentum", "rms_decay", "beta1", "beta2")
        check_in(self, "[0, inf)", "weight_decay")
        check_in(self, "[0, 1]", "final_fraction")
        check_in(self, "(0, 1]", "decay_rate")
        check_at_least(self, 0, "warmup_steps", "decay_from")
        check_at_least(self, 1, "decay_every")
        check_at_most(self, 2**31 - 1, "warmup_steps", "decay_from", "decay_every")

    def __repr__(self) -> str:
        """Leave out what is as usual."""
        return of_config(self, "name")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate; where none is given, the rule's usual one."""
        return _LEARNING_RATES[self.name] if self.learning_rate is None else self.learning_rate

    @property
    def decay(self) -> float:
        """The weight decay; where none is given, the rule's usual one."""
        return 0.01 * (self.name == "adamw") if self.weight_decay is None else self.weight_decay

    @property
    def decays(self) -> bool:
        """Whether there is a weight decay; one that only the program knows counts as some."""
        return is_traced(self.decay) or self.decay != 0


@dataclasses.dataclass(frozen=True, repr=False)
class TrainConfig:
    """A training run; with the corpus itself and a step number it says everything about that step."""

    corpus: str = "python-docs"
    """A text file, or the name of a corpus: python-docs (built in), tinyshakespeare (fetched once)."""
    vocabulary: VocabularyKind = "characters"
    """characters: Unicode code points of a UTF-8 text. bytes: any file."""
    normalize: bool = False
    """Drop a byte-order mark and turn CRLF and CR line ends into LF while reading."""
    min_count: int = 1
    """Symbols that occur fewer times become one unknown symbol, written as U+FFFD."""
    split: tuple[float, ...] = (1.0,)
    """Fractions of the text for train, validation and test, in this order: 0.9,0.1 or 0.8,0.1,0.1."""
    reset_on: str = ""
    """String between independent documents: at its last symbol the state starts anew; empty: nowhere."""
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The network."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    """Its optimizer."""
    sequence_length: int = 25
    """Steps of backpropagation through time (T): characters of each lane in a training step."""
    batch_size: int = 1
    """Contiguous lanes of the text that are swept side by side (B)."""
    steps: int = 40_000
    """Training steps in all."""
    seed: int = 0
    """Seed of the initial weights and of the samples."""
    prompt: str = ""
    """Beginning of the sample at the end of training."""
    sample_every: int = 100
    """Steps from one sample to the next; 0: only at the end."""
    sample_length: int = 200
    """Characters in such a sample."""
    log_every: int = 100
    """Steps from one line of metrics.jsonl to the next."""
    checkpoint_every: int = 10_000
    """Steps from one checkpoint to the next; 0: only at the end."""
    keep: int = 3
    """Checkpoints kept, the newest ones."""
    validate_every: int = 0
    """Steps from one validation to the next; 0: only at the end, if there is a validation slice."""
    patience: int = 0
    """Stop after so many validations without a better loss; 0: never."""
    chunk_length: int = 100
    """Most training steps in one dispatch to the device (K); of a large model fewer, so that it takes seconds only."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_at_least(self, 0, "seed", "sample_every", "checkpoint_every", "validate_every", "patience")
        check_at_least(self, 1, "min_count")
        check_at_least(self, 1, "sequence_length", "batch_size", "steps", "sample_length")
        check_at_least(self, 1, "log_every", "keep", "chunk_length")
        check_at_most(self, 2**32 - 1, "seed")
        check_at_most(self, 2**31 - 1, "steps")
        check_at_most(self, 10**7, "sample_length")
        check_at_most(self, 10**5, "chunk_length")
        check_split(self.split)
        if self.validate_every and len(self.split) < 2:
            raise JaxrnnError("validate_every needs a validation slice; give one by split, such as 0.9,0.1")
        if self.patience and not self.validate_every:
            raise JaxrnnError("patience counts validations; give validate_every, the steps from one to the next")

    def __repr__(self) -> str:
        """Leave out what is as usual."""
        return of_config(self, "corpus", "model", "optimizer", "sequence_length", "batch_size", "steps", "seed")


@dataclasses.dataclass(frozen=True, repr=False)
class SampleConfig:
    """What a trained network writes."""

    prompt: str = ""
    """Text to go on from; without one, a new line."""
    length: int = 1000
    """Characters to write."""
    temperature: float = 1.0
    """Divides the logits before the draw: below 1 safer, above 1 wilder."""
    top_k: int | None = None
    """Draw from this many of the likeliest characters only."""
    top_p: float | None = None
    """Draw only from the fewest of the likeliest characters that together have this probability."""
    greedy: bool = False
    """Take the likeliest character instead of drawing one."""
    stop: str = ""
    """The text ends right after the first place where the network has written this."""
    seed: int = 0
    """Seed of the draws: the same seed writes the same text."""
    num_samples: int = 1
    """Samples, drawn side by side; each is what its own seed writes: SEED, SEED + 1, ..."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_at_least(self, 0, "seed")
        check_at_least(self, 1, "length", "num_samples")
        check_at_most(self, 2**16, "num_samples")
        check_at_most(self, 2**32 - self.num_samples, "seed")
        check_positive(self, "temperature")
        if self.top_k is not None:
            check_at_least(self, 1, "top_k")
        check_in(self, "(0, 1]", "top_p")

    def __repr__(self) -> str:
        """Leave out what is as usual."""
        return of_config(self, "prompt", "length", "temperature", "seed")


Config = TypeVar("Config", ModelConfig, OptimizerConfig, TrainConfig, SampleConfig)


def to_json(config: Config) -> str:
    """Return the config as indented JSON; `from_json` gives back an equal config, but for a cell of the user's own.

    Of that it writes "custom"; put the cell back by `dataclasses.replace(config.model, cell=MINE)`.

    Example:
        >>> from_json(SampleConfig, to_json(SampleConfig(temperature=0.7))) == SampleConfig(temperature=0.7)
        True
    """
    return json.dumps(_values(config), indent=2, allow_nan=False)


def _values(config: Any) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    nested = {name: _values(value) for name, value in values.items() if _is_config(type(value))}
    custom = {"cell": "custom"} if isinstance(values.get("cell"), CellLike) else {}
    return {**values, **nested, **custom}


def from_json(kind: type[Config], text: str) -> Config:
    """Build a config of class `kind` from JSON; fields that are absent keep their defaults.

    Raises:
        JaxrnnError: no JSON object, an unknown field, or a value out of its range.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JaxrnnError(f"not JSON: {error}; expected what config.json of a run holds") from None
    if isinstance(values, dict) and values.get("on_nonfinite") == "stop":
        del values["on_nonfinite"]  # a field of TrainConfig in version 0.1.0, with this one value
    return _build(kind, values)


def _build(kind: type[Config], values: Any) -> Config:
    if not isinstance(values, dict):
        raise JaxrnnError(f"expected an object with the fields of {kind.__name__}, got {type(values).__name__}")
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "remove it"
            raise JaxrnnError(f"{kind.__name__} has no field {name!r}; {hint}")
    nested = {name: _build(hints[name], value) for name, value in values.items() if _is_config(hints[name])}
    return kind(**{**values, **nested})


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)

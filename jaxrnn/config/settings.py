"""The configuration of a run: frozen dataclasses that check their fields and round-trip through JSON exactly.

The defaults are min-char-rnn's. The flags of the command line are these fields, and the docstring below a field is its
help text.
"""

import dataclasses
import difflib
import json
from typing import Any, Literal, TypeVar, get_type_hints

from jaxrnn.config.cell import Cell
from jaxrnn.config.fields import check_cell_fields, check_in, check_split, check_types, is_traced, of_config
from jaxrnn.errors import JaxrnnError

CellName = Literal["tanh", "gru", "lstm"]
VocabularyKind = Literal["characters", "bytes"]
Products = Literal["full", "bfloat16"]
_INT32, _UINT32 = 2**31 - 1, 2**32 - 1


@dataclasses.dataclass(frozen=True, repr=False)
class ModelConfig:
    """The network: cell, size and initialization."""

    cell: CellName | Literal["custom"] | Cell = "tanh"
    """Recurrent cell: a name, or a user-defined `jaxrnn.Cell`, which files call custom."""
    hidden_size: int = 100
    """Units per layer (H)."""
    num_layers: int = 1
    """Stacked recurrent layers (L)."""
    dropout: float = 0.0
    """Probability of dropping an output of a layer in training."""
    init: Literal["normal", "uniform", "fan_in"] = "normal"
    """Initial weights. normal: standard deviation init_scale; uniform: within +-init_scale; fan_in: 1/sqrt(inputs)."""
    init_scale: float = 0.01
    """Scale of the initial weights, for normal and uniform."""
    dtype: Literal["float32", "float64"] = "float32"
    """Data type of the parameters and of all arithmetic."""
    products: Products = "full"
    """Precision of the factors of matrix products: full is dtype's; bfloat16 is faster for large networks."""
    vocab_size: int | None = None
    """Distinct symbols (V); None until a corpus is known."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_in(self, "[1, 65536]", "hidden_size")
        check_in(self, "[1, 1000]", "num_layers")
        check_in(self, "(0, inf)", "init_scale")
        check_in(self, "[0, 1)", "dropout")
        check_in(self, "[2, inf)", "vocab_size")
        check_cell_fields(self.cell)

    def __repr__(self) -> str:
        """Leave out most fields that have their default values."""
        return of_config(self, "cell", "hidden_size", "num_layers", "vocab_size")


OptimizerName = Literal["adagrad", "adam", "adamw", "rmsprop", "sgd"]
_LEARNING_RATES = {"adagrad": 0.1, "adam": 0.002, "adamw": 0.002, "rmsprop": 0.002, "sgd": 0.001}


@dataclasses.dataclass(frozen=True, repr=False)
class OptimizerConfig:
    """How a gradient becomes an update: clipping, an update rule of optax's, and a learning-rate schedule.

    Under `jit`, `vmap` and `grad` its floats may be traced JAX values, so that a vmapped training step has one learning
    rate per model.
    """

    name: Literal[OptimizerName, "custom"] = "adagrad"
    """Update rule. custom: a user-defined optax optimizer; the other fields then keep their defaults."""
    learning_rate: float | None = None
    """Learning rate, the peak of any schedule; by default 0.1 for adagrad, 0.001 for sgd, 0.002 for the others."""
    momentum: float = 0.9
    """Momentum of sgd; 0 is plain gradient descent."""
    rms_decay: float = 0.95
    """Decay factor per step of rmsprop's mean squared gradient (alpha)."""
    beta1: float = 0.9
    """Decay factor per step of adam's and adamw's mean gradient."""
    beta2: float = 0.999
    """Decay factor per step of adam's and adamw's mean squared gradient."""
    weight_decay: float | None = None
    """Weight decay of matrices, not biases, times the learning rate; by default 0.01 for adamw, else 0."""
    clip: Literal["value", "norm", "none"] = "value"
    """Gradient clipping. value: each entry; norm: the global norm; none: no clipping."""
    clip_value: float = 5.0
    """Gradient clipping threshold."""
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """Learning-rate schedule. cosine: falls to final_fraction; exponential: falls by decay_rate at intervals."""
    warmup_steps: int = 0
    """Steps of linear warm-up, under any schedule."""
    final_fraction: float = 0.1
    """Final learning rate of the cosine schedule, as a fraction of the peak."""
    decay_from: int = 0
    """First step at which the exponential schedule applies decay_rate."""
    decay_every: int = 1000
    """Steps between the decays of the exponential schedule."""
    decay_rate: float = 0.97
    """Decay factor of the exponential schedule."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_in(self, "(0, inf)", "learning_rate", "clip_value")
        check_in(self, "[0, 1)", "momentum", "rms_decay", "beta1", "beta2")
        check_in(self, "[0, inf)", "weight_decay")
        check_in(self, "[0, 1]", "final_fraction")
        check_in(self, "(0, 1]", "decay_rate")
        check_in(self, f"[0, {_INT32}]", "warmup_steps", "decay_from")
        check_in(self, f"[1, {_INT32}]", "decay_every")
        for field in dataclasses.fields(self) if self.name == "custom" else ():
            value = getattr(self, field.name)
            if field.name != "name" and (is_traced(value) or value != field.default):
                raise JaxrnnError(f"{field.name} has no effect on a user-defined optimizer; leave it out")

    def __repr__(self) -> str:
        """Leave out most fields that have their default values."""
        return of_config(self, "name")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate; by default the one of the update rule."""
        if self.name == "custom":
            raise JaxrnnError("a user-defined optimizer has a learning rate of its own, which no configuration knows")
        return _LEARNING_RATES[self.name] if self.learning_rate is None else self.learning_rate

    @property
    def decay(self) -> float:
        """The weight decay; by default the one of the update rule."""
        return 0.01 * (self.name == "adamw") if self.weight_decay is None else self.weight_decay

    @property
    def decays(self) -> bool:
        """Whether there is a weight decay; a traced one counts, whatever its value."""
        return is_traced(self.decay) or self.decay != 0


@dataclasses.dataclass(frozen=True, repr=False)
class TrainConfig:
    """A training run: it determines every training step, together with the corpus and the number of the step."""

    corpus: str = "python-docs"
    """Text file, or name of a corpus: python-docs (built in) or tinyshakespeare (downloaded once)."""
    vocabulary: VocabularyKind = "characters"
    """Unit of text. characters: Unicode code points of a UTF-8 text; bytes: the bytes of any file."""
    normalize: bool = False
    """Drop a byte-order mark and convert CRLF and CR line ends to LF."""
    min_count: int = 1
    """Replace symbols that occur fewer times by one unknown symbol, written as U+FFFD."""
    split: tuple[float, ...] = (1.0,)
    """Fractions of the text for training, validation and test, in this order: 0.9,0.1 or 0.8,0.1,0.1."""
    reset_on: str = ""
    """String that separates independent documents: the state is reset at its last symbol. Empty: no resets."""
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The network."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    """The optimizer."""
    sequence_length: int = 25
    """Time steps of truncated backpropagation (T): symbols of each lane per training step."""
    batch_size: int = 1
    """Contiguous lanes of the text that are trained on side by side (B)."""
    steps: int = 40_000
    """Training steps."""
    seed: int = 0
    """Seed of the initial weights, dropout and samples."""
    prompt: str = ""
    """Prompt of the sample at the end of training."""
    sample_every: int = 100
    """Steps between samples; 0: only at the end."""
    sample_length: int = 200
    """Characters per sample."""
    log_every: int = 100
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints; 0: only at the end."""
    keep: int = 3
    """Number of checkpoints to keep, the newest."""
    validate_every: int = 0
    """Steps between validations; 0: only at the end, if there is a validation slice."""
    patience: int = 0
    """Stop after this many validations without improvement; 0: never."""
    chunk_length: int = 100
    """Maximum training steps per dispatch (K); a large model gets fewer, so that a dispatch takes seconds."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_in(self, f"[0, {_UINT32}]", "seed")
        check_in(self, "[0, inf)", "sample_every", "checkpoint_every", "validate_every", "patience")
        check_in(self, "[1, inf)", "min_count", "sequence_length", "batch_size", "log_every", "keep")
        check_in(self, f"[1, {_INT32}]", "steps")
        check_in(self, "[1, 10000000]", "sample_length")
        check_in(self, "[1, 100000]", "chunk_length")
        check_split(self.split)
        if self.validate_every and len(self.split) < 2:
            raise JaxrnnError("validate_every needs a validation slice; set split, for example to 0.9,0.1")
        if self.patience and not self.validate_every:
            raise JaxrnnError("patience counts validations; set validate_every, the steps between them")

    def __repr__(self) -> str:
        """Leave out most fields that have their default values."""
        return of_config(self, "corpus", "model", "optimizer", "sequence_length", "batch_size", "steps", "seed")


@dataclasses.dataclass(frozen=True, repr=False)
class SampleConfig:
    """How text is sampled from a trained network."""

    prompt: str = ""
    """Text to continue; by default a newline."""
    length: int = 1000
    """Characters to generate."""
    temperature: float = 1.0
    """Sampling temperature, by which logits are divided: below 1 is safer, above 1 is wilder."""
    top_k: int | None = None
    """Sample from this many most likely characters only."""
    top_p: float | None = None
    """Sample from the fewest most likely characters that together have this probability."""
    greedy: bool = False
    """Take the most likely character instead of sampling."""
    stop: str = ""
    """Stop right after this string was generated."""
    seed: int = 0
    """Seed of the samples: the same seed generates the same text."""
    num_samples: int = 1
    """Number of samples, generated side by side with the seeds SEED, SEED + 1, ..."""

    def __post_init__(self) -> None:
        """Raise JaxrnnError for the first field that is out of its range."""
        check_types(self)
        check_in(self, "[1, inf)", "length", "top_k")
        check_in(self, "[1, 65536]", "num_samples")
        check_in(self, f"[0, {_UINT32 + 1 - self.num_samples}]", "seed")
        check_in(self, "(0, inf)", "temperature")
        check_in(self, "(0, 1]", "top_p")

    def __repr__(self) -> str:
        """Leave out most fields that have their default values."""
        return of_config(self, "prompt", "length", "temperature", "seed")


Config = TypeVar("Config", ModelConfig, OptimizerConfig, TrainConfig, SampleConfig)


def to_json(config: Config) -> str:
    """Return the config as indented JSON; `from_json` returns an equal config, except for a user-defined cell.

    That is written as "custom"; restore the cell by `dataclasses.replace(config.model, cell=CELL)`.

    Example:
        >>> from_json(SampleConfig, to_json(SampleConfig(temperature=0.7))) == SampleConfig(temperature=0.7)
        True
    """
    return json.dumps(_values(config), indent=2, allow_nan=False)


def _values(config: Any) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    nested = {name: _values(value) for name, value in values.items() if _is_config(type(value))}
    custom = {"cell": "custom"} if isinstance(values.get("cell"), Cell) else {}
    return {**values, **nested, **custom}


def from_json(kind: type[Config], text: str) -> Config:
    """Return a config of class `kind` from JSON; absent fields have their default values.

    Raises:
        JaxrnnError: the text is no JSON object, has an unknown field, or a value is out of range.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JaxrnnError(f"not JSON: {error}; expected the config.json of a run") from None
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

"""The configuration of a run: frozen dataclasses that check their fields.

The defaults are min-char-rnn's. The flags of the command line are these fields, and the docstring below a field is its
help text.
"""

import dataclasses
import math
from typing import Annotated, Literal

from jaxrnn.config.cell import Cell
from jaxrnn.config.fields import Checked, check_in, is_traced
from jaxrnn.config.texts import Normalization, Unknown, VocabularyKind, check_split, check_text_options
from jaxrnn.errors import JaxrnnError

CellName = Literal["tanh", "relu", "gru", "lstm"]
Products = Literal["full", "bfloat16"]
OptimizerName = Literal["adagrad", "adam", "adamw", "rmsprop", "sgd"]

Count = Annotated[int, "[1, inf)"]
CountOrZero = Annotated[int, "[0, inf)"]
StepsOrZero = Annotated[int, "[0, 2147483647]"]  # int32 on the device
Steps = Annotated[int, "[1, 2147483647]"]
Seed = Annotated[int, "[0, 4294967295]"]  # uint32
Positive = Annotated[float, "(0, inf)"]
BelowOne = Annotated[float, "[0, 1)"]


@dataclasses.dataclass(frozen=True, repr=False)
class ModelConfig(Checked):
    """The network: cell, size and initialization."""

    cell: CellName | Literal["custom"] | Cell = "tanh"
    """Recurrent cell: a name, or a user-defined `jaxrnn.Cell`, written as custom in files."""
    hidden_size: Annotated[int, "[1, 65536]"] = 100
    """Units per layer (H)."""
    num_layers: Annotated[int, "[1, 1000]"] = 1
    """Stacked recurrent layers (L)."""
    dropout: BelowOne = 0.0
    """Probability of dropping a hidden state that a layer hands upward, in training."""
    input_dropout: BelowOne = 0.0
    """Probability of dropping an input character, in training."""
    state_dropout: BelowOne = 0.0
    """Probability of dropping a unit from the recurrent product, for all time steps of a training step."""
    output_dropout: Annotated[float | None, "[0, 1)"] = None
    """Probability of dropping a hidden state of the last layer, in training; by default that of --dropout."""
    weight_dropout: BelowOne = 0.0
    """Probability of dropping an entry of the hidden-to-hidden matrices Whh, in training."""
    init: Literal["normal", "uniform", "fan_in"] = "normal"
    """Initial weights. normal: standard deviation init_scale; uniform: within +-init_scale; fan_in: 1/sqrt(inputs)."""
    init_scale: Positive = 0.01
    """Scale of the initial weights, for normal and uniform."""
    dtype: Literal["float32", "float64"] = "float32"
    """Data type of the parameters and of all arithmetic."""
    products: Products = "full"
    """Precision of the factors of matrix products: full is dtype's; bfloat16 is faster for large networks."""
    vocab_size: Annotated[int | None, "[2, inf)"] = None
    """Distinct symbols (V); None until a corpus is known."""

    _shown = ("cell", "hidden_size", "num_layers", "vocab_size")

    @property
    def output_rates(self) -> tuple[float, ...]:
        """The dropout rate of the hidden states that each layer hands upward."""
        last = self.dropout if self.output_dropout is None else self.output_dropout
        return (self.dropout,) * (self.num_layers - 1) + (last,)

    @property
    def has_dropout(self) -> bool:
        """Whether a training step drops anything."""
        return any((self.input_dropout, self.state_dropout, self.weight_dropout, *self.output_rates))

    def _check(self) -> None:
        cell = self.cell
        if isinstance(cell, str):
            return
        if not (
            isinstance(cell.gates, int) and cell.gates >= 1 and callable(cell.init_carry) and callable(cell.update)
        ):
            raise JaxrnnError(f"cell must be a jaxrnn.Cell: a number of gates and two functions, got {cell!r}")
        if len(cell.init_bias) not in (0, cell.gates):
            values = f"0 or {cell.gates} values of init_bias, one per gate"
            raise JaxrnnError(f"cell must be one with {values}, got {cell.init_bias}")
        try:
            hash(cell)
        except TypeError as error:
            raise JaxrnnError(f"cell must be hashable, as an argument of compilation, got {cell!r} ({error})") from None


_LEARNING_RATES = {"adagrad": 0.1, "adam": 0.002, "adamw": 0.002, "rmsprop": 0.002, "sgd": 0.001}


@dataclasses.dataclass(frozen=True, repr=False)
class OptimizerConfig(Checked):
    """How a gradient becomes an update: clipping, an update rule of optax's, and a learning-rate schedule.

    Under `jit`, `vmap` and `grad` its floats may be traced JAX values, so that a vmapped training step has one learning
    rate per model.
    """

    name: Literal[OptimizerName, "custom"] = "adagrad"
    """Update rule. custom: a user-defined optax optimizer; the other fields then keep their defaults."""
    learning_rate: Annotated[float | None, "(0, inf)"] = None
    """Learning rate, the peak of any schedule; by default 0.1 for adagrad, 0.001 for sgd, 0.002 for the others."""
    momentum: BelowOne = 0.9
    """Momentum of sgd; 0 is plain gradient descent."""
    rms_decay: BelowOne = 0.95
    """Decay factor per step of rmsprop's mean squared gradient (alpha)."""
    beta1: BelowOne = 0.9
    """Decay factor per step of adam's and adamw's mean gradient."""
    beta2: BelowOne = 0.999
    """Decay factor per step of adam's and adamw's mean squared gradient."""
    weight_decay: Annotated[float | None, "[0, inf)"] = None
    """Weight decay of matrices, not biases, times the learning rate; by default 0.01 for adamw, else 0."""
    clip: Literal["value", "norm", "none"] = "value"
    """Gradient clipping. value: each entry; norm: the global norm; none: no clipping."""
    clip_value: Positive = 5.0
    """Gradient clipping threshold."""
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """Learning-rate schedule. cosine: falls to final_fraction; exponential: falls by decay_rate at intervals."""
    warmup_steps: StepsOrZero = 0
    """Steps of linear warm-up, under any schedule."""
    final_fraction: Annotated[float, "[0, 1]"] = 0.1
    """Final learning rate of the cosine schedule, as a fraction of the peak."""
    decay_from: StepsOrZero = 0
    """First step at which the exponential schedule applies decay_rate."""
    decay_every: Steps = 1000
    """Steps between the decays of the exponential schedule."""
    decay_rate: Annotated[float, "(0, 1]"] = 0.97
    """Decay factor of the exponential schedule."""

    _shown = ("name",)

    def _check(self) -> None:
        for field in dataclasses.fields(self) if self.name == "custom" else ():
            value = getattr(self, field.name)
            if field.name != "name" and (is_traced(value) or value != field.default):
                raise JaxrnnError(f"{field.name} has no effect on a user-defined optimizer; leave it out")

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
class TrainConfig(Checked):
    """A training run: it determines every training step, together with the corpus and the number of the step."""

    corpus: str = "python-docs"
    """Text file, folder or pattern, several one per line, - for stdin; or the name of a corpus: python-docs (built in)
    or tinyshakespeare (downloaded once)."""
    vocabulary: VocabularyKind = "characters"
    """Unit of text. characters: Unicode code points; bytes: the bytes of any file."""
    encoding: str = "utf-8"
    """Encoding of the text, one of Python's, such as cp1252, gbk or utf-16. Of bytes: how samples are shown."""
    normalize: tuple[Normalization, ...] = ()
    """Changes. newlines: no byte-order mark, LF for CRLF and CR; nfc: composed accents; quotes: straight."""
    join: str = "\n"
    """String between the files of a corpus that has several."""
    min_count: Count = 1
    """Replace symbols that occur less often than this with one unknown symbol, written as U+FFFD."""
    symbols: str = ""
    """Symbols to add to those of the text in the vocabulary, such as those of future texts."""
    split: tuple[float, ...] = (1.0,)
    """Fractions of the text for training, validation and test, in this order: 0.9,0.1 or 0.8,0.1,0.1."""
    reset_on: str = ""
    """String that separates independent documents: the state is reset at its last symbol. Empty: no resets."""
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The network."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    """The optimizer."""
    sequence_length: Annotated[int, "[1, 2147483647]"] = 25
    """Time steps of truncated backpropagation (T): symbols of each lane per training step."""
    batch_size: Annotated[int, "[1, 2147483647]"] = 1
    """Contiguous lanes of the text that are trained on side by side (B)."""
    steps: Steps = 40_000
    """Training steps."""
    seed: Seed = 0
    """Seed of the initial weights, dropout and samples."""
    prompt: str = ""
    """Prompt of the sample at the end of training."""
    sample_every: Annotated[int | None, "[0, inf)"] = None
    """Steps between samples; 0: only at the end. By default about eight, most of them early, shown cut short."""
    sample_length: Annotated[int, "[1, 10000000]"] = 200
    """Characters per sample."""
    log_every: Count = 100
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: CountOrZero = 10_000
    """Steps between checkpoints; 0: only at the end."""
    keep: Count = 3
    """Number of newest checkpoints to keep."""
    validate_every: CountOrZero = 0
    """Steps between validations; 0: only at the end, if there is a validation slice."""
    average_decay: BelowOne = 0.0
    """Decay factor per step of an average of the parameters, which predicts in their place; 0: no average."""
    patience: CountOrZero = 0
    """Stop after this many validations without improvement; 0: never."""
    parent: str = ""
    """Checkpoint that the run began from; empty: it began with weights drawn from its seed, or imported."""
    chunk_length: Annotated[int, "[1, 100000]"] = 100
    """Maximum training steps per dispatch (K); a large model gets fewer, so that a dispatch takes seconds."""

    _shown = ("corpus", "model", "optimizer", "sequence_length", "batch_size", "steps", "seed")

    def _check(self) -> None:
        check_text_options(self.vocabulary, self.encoding, self.normalize)
        check_split(self.split)
        if self.validate_every and len(self.split) < 2:
            raise JaxrnnError("validate_every needs a validation slice; set split, for example to 0.9,0.1")
        if self.patience and not self.validate_every:
            raise JaxrnnError("patience counts validations; set validate_every, the steps between them")
        for name, value in {**vars(self.model), **vars(self.optimizer)}.items():
            would_be_lost = isinstance(value, float) and value and not 1.2e-38 <= value <= 3.4e38  # as 0 or infinity
            if would_be_lost and self.model.dtype == "float32":
                raise JaxrnnError(f"{name} must be 1.2e-38 to 3.4e+38 in float32, got {value}; or use dtype float64")

    def has_sample(self, step: int) -> bool:
        """Return whether a sample is due after a step, apart from the one at the end.

        By default one is due before the first step, and at six logged steps that grow in geometric progression.

        Example:
            >>> config = TrainConfig()
            >>> [step for step in range(40_000) if config.has_sample(step)]
            [0, 100, 300, 700, 2000, 5400, 14700]
        """
        if self.sample_every is not None:
            return self.sample_every > 0 and step % self.sample_every == 0
        lines, last = math.ceil(self.steps / self.log_every), 0
        for number in range(6):  # distinct, also in a short run
            last = max(last + 1, round(lines ** (number / 6)))
            if step == last * self.log_every:
                return True
        return step == 0

    @property
    def loss_unit(self) -> str:
        """The unit in which losses are shown: bits per character, or bits per byte."""
        return f"bits per {self.vocabulary[:-1]}"


@dataclasses.dataclass(frozen=True, repr=False)
class SampleConfig(Checked):
    """How text is sampled from a trained network."""

    prompt: str = ""
    """Text to continue; by default a newline."""
    length: Count = 1000
    """Characters to generate."""
    temperature: Annotated[float, "[0, inf)"] = 1.0
    """Sampling temperature, by which logits are divided: below 1 is safer, 0 is greedy, above 1 is wilder."""
    top_k: Annotated[int | None, "[1, inf)"] = None
    """Sample from this many most likely characters only."""
    top_p: Annotated[float | None, "(0, 1]"] = None
    """Sample from the fewest most likely characters that together have this probability."""
    greedy: bool = False
    """Take the most likely character instead of sampling."""
    stop: str = ""
    """Stop right after this string was generated."""
    seed: int = 0
    """Seed of the samples: the same seed generates the same text."""
    num_samples: Annotated[int, "[1, 65536]"] = 1
    """Number of samples, generated side by side with the seeds SEED, SEED + 1, ..."""
    unknown: Unknown = "error"
    """Characters of the prompt that the network lacks. map: to straight quotes, the other case, ...; drop: left out."""

    _shown = ("prompt", "length", "temperature", "seed")

    def _check(self) -> None:
        name = "seed" if self.num_samples == 1 else f"seed, the first of {self.num_samples},"
        check_in(self.seed, f"[0, {2**32 - self.num_samples}]", name)

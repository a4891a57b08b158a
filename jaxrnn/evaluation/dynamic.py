"""Dynamic evaluation: the network goes on learning from a text while it reads it.

T symbols are scored, then the parameters are updated once by their gradient, then the next T symbols are scored: no
symbol is scored by parameters that have seen it. This is min-char-rnn's own loop, on a text that is read once. See
Krause et al. 2018, "Dynamic evaluation of neural sequence models" (arXiv 1709.07432).
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn.config import Count, ModelConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError, counted
from jaxrnn.evaluation.score import Nats, score
from jaxrnn.evaluation.stream import Reader, read_in_parts
from jaxrnn.network import Carry, Params, initial_carry
from jaxrnn.text import Batch, Tokens
from jaxrnn.text.documents import Starts, check_starts
from jaxrnn.text.vocabulary import check_tokens

SAMPLE = 8192  # symbols of training text for the mean squares of gradients, and as many others to choose numbers by
RATES = {"rms": 1e-4, "sgd": 1e-3}  # where the search for a rate begins
LENGTHS = {"rms": 16, "sgd": 32}  # T
PARTS = 64  # K
_MOST_FACTORS = 6  # of 3, in a search
_EPSILON = 1e-2  # times the mean root: limits the step of parameters whose gradients are tiny


class Learner(NamedTuple):
    """A network that learns as it reads: its parameters, the statistics of its rule (an optax state), its carry."""

    params: Params
    statistics: optax.OptState
    carry: Carry


def dynamic_step(
    learner: Learner, batch: Batch, config: ModelConfig, update: Callable[..., Any]
) -> tuple[Learner, jax.Array]:
    """Score T symbols, then learn from them once; return the learner after that, and the surprisals, nats [T, B].

    `update` is that of an optax transformation. Its gradient is that of the training loss: the sum over T, the mean
    over B. Targets below 0 are padding and score 0. Under jit, `config` and `update` are static.
    """

    def loss(params: Params) -> tuple[jax.Array, tuple[jax.Array, Carry]]:
        targets = jnp.maximum(batch.targets, 0)
        nats, carry = score(params, learner.carry, batch._replace(targets=targets), config)
        nats = jnp.where(jnp.asarray(batch.targets) < 0, 0, nats)
        return nats.sum(axis=0).mean(), (nats, carry)

    gradient, (nats, carry) = jax.grad(loss, has_aux=True)(learner.params)
    updates, statistics = update(gradient, learner.statistics, learner.params)
    return Learner(optax.apply_updates(learner.params, updates), statistics, carry), nats


@jax.jit(static_argnames=("config", "update", "length"))
def _read(
    learner: Learner, batch: Batch, *, config: ModelConfig, update: Callable[..., Any], length: int
) -> tuple[jax.Array, Learner]:
    """Scan `dynamic_step` over the parts of T symbols of a batch, [K * T, B]; return nats [K * T, B]."""
    resets = jnp.zeros(len(batch.inputs), bool)  # `score` ignores them
    parts = jax.tree.map(lambda array: array.reshape(-1, length, *array.shape[1:]), batch._replace(reset=resets))
    learner, nats = lax.scan(partial(dynamic_step, config=config, update=update), learner, parts)
    return nats.reshape(batch.inputs.shape), learner


class Pull(NamedTuple):
    """The statistics of `pulled`: the trained parameters, what gradients are multiplied by, and how strong the pull is.

    `scale` and `strength` are trees like the parameters, of arrays that broadcast with them.
    """

    trained: Params
    scale: Params
    strength: Params
    rate: jax.Array
    decay: jax.Array


def pulled(rate: float, decay: float = 0.0, squares: Params | None = None) -> optax.GradientTransformation:
    """Return the rule of Krause et al. 2018: gradient descent with a pull back to the trained parameters.

        theta += -rate * g / (rms + epsilon) + min(decay * rms / mean(rms), 1) * (theta_trained - theta)

    rms is the root of `squares`, from `mean_squares`; without them it is 1 everywhere: plain SGD.
    """

    def init(params: Params) -> Pull:
        roots = jax.tree.map(jnp.sqrt, squares or jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), params))
        mean = sum(root.sum() for root in jax.tree.leaves(roots)) / sum(map(jnp.size, jax.tree.leaves(roots)))
        scale = jax.tree.map(lambda root: 1 / (root + _EPSILON * mean * bool(squares)), roots)
        numbers = (jnp.asarray(number, params.by.dtype) for number in (rate, decay))
        return Pull(params, scale, jax.tree.map(lambda root: root / mean, roots), *numbers)

    return optax.GradientTransformation(init, _pull)


def _pull(gradient: Params, pull: Pull, params: Params) -> tuple[Params, Pull]:
    def move(g: jax.Array, theta: jax.Array, trained: jax.Array, scale: jax.Array, strength: jax.Array) -> jax.Array:
        return jnp.minimum(pull.decay * strength, 1) * (trained - theta) - pull.rate * scale * g

    return jax.tree.map(move, gradient, params, *pull[:3]), pull


def mean_squares(
    params: Params, tokens: Tokens, config: ModelConfig, length: int, starts: Starts | None = None
) -> Params:
    """Return the mean square of each gradient over the parts of T = `length` symbols of a text, int [N]."""
    rule = optax.GradientTransformation(partial(jax.tree.map, jnp.zeros_like), _add_square)
    learner = _read_all(reader(params, config, rule, length), tokens, config, starts)[1]
    count = -(-(len(tokens) - 1) // length)
    return jax.tree.map(lambda total: total / count, learner.statistics)


def _add_square(gradient: Params, sums: Params, _: Params) -> tuple[Params, Params]:
    """Learn nothing, and add the square of the gradient to the statistics."""
    return jax.tree.map(jnp.zeros_like, gradient), jax.tree.map(lambda s, g: s + g * g, sums, gradient)


def reader(
    params: Params, config: ModelConfig, rule: optax.GradientTransformation, length: int, parts: int = PARTS
) -> Reader:
    """Return a reader that scores a text in one lane, and learns from `parts` times `length` symbols at a time."""
    learner = Learner(params, rule.init(params), initial_carry(1, config))
    return Reader(partial(_read, config=config, update=rule.update, length=length), learner, parts * length)


def adapt(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    rule: optax.GradientTransformation,
    length: int,
    starts: Starts | None = None,
) -> Params:
    """Return the parameters after they have learned from a text, int [N]; arguments as in `dynamic_surprisals`."""
    # With more parts, padding after the text would be learned from.
    return _read_all(reader(params, config, rule, length, parts=1), tokens, config, starts)[1].params


def dynamic_surprisals(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    rule: optax.GradientTransformation,
    *,
    length: Count = 16,
    starts: Starts | None = None,
) -> Nats:
    """Return the surprisal of every symbol of a text but the first, nats [N - 1], of a network that learns as it reads.

    Example:
        >>> from jaxrnn import init_params
        >>> config = ModelConfig(vocab_size=3)
        >>> params, text = init_params(jax.random.key(0), config), np.arange(300) % 3
        >>> nats = dynamic_surprisals(params, text, config, pulled(rate=0.1))
        >>> bool(nats[:10].mean() > 1), bool(nats[-10:].mean() < 0.1)
        (True, True)

    The rule is `pulled(...)` or any optax transformation, such as optax.adam(1e-4); T = `length` symbols are scored
    before each update. `starts` are those of `surprisals`.
    """
    check_arguments(dynamic_surprisals, locals())
    return _read_all(reader(params, config, rule, length), tokens, config, starts)[0]


def _read_all(start: Reader, tokens: Tokens, config: ModelConfig, starts: Starts | None) -> tuple[Nats, Learner]:
    check_tokens(tokens, config.vocab_size)
    check_starts(starts, tokens)
    if len(tokens) < 2:
        raise JaxrnnError(f"the text has {counted(len(tokens), 'symbols')}; 2 are needed to score one")
    nats = np.empty(len(tokens) - 1, np.dtype(config.dtype))
    for indices, part, state in read_in_parts(start, tokens, starts):
        nats[indices], learner = part, state
    return nats, learner


class Dynamic(NamedTuple):
    """How a network learns as it reads: the rule, "rms" or "sgd", its rate and decay, and T."""

    rule: str
    rate: float
    decay: float
    length: int

    def __str__(self) -> str:
        """Describe it.

        Example:
            >>> str(Dynamic("rms", 1e-4, 0.001, 16))
            'dynamic: learned after every 16 symbols, rms, rate 0.0001, decay 0.001'
        """
        rule = f"{self.rule}, rate {self.rate:.4g}, decay {self.decay:.4g}"
        return f"dynamic: learned after every {counted(self.length, 'symbols')}, {rule}"


def choose_rule(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    *,
    rule: str = "rms",
    rate: float | None = None,
    decay: float | None = None,
    length: int | None = None,
    starts: Starts | None = None,
) -> tuple[Dynamic, optax.GradientTransformation]:
    """Return a rule; where rate and decay are None, choose those with the least loss on the end of a training text.

    The text is int [N], its `starts` are those of `surprisals`. A number is multiplied or divided by 3 as long as that
    helps: first the rate, then the decay, which may be 0. With both given, "sgd" needs no text.
    """
    length = length or LENGTHS[rule]
    end = slice(-SAMPLE, None)
    before = slice(-2 * SAMPLE, -SAMPLE) if len(tokens) > SAMPLE + 1 else end
    text, begins = tokens[end], None if starts is None else starts[end]
    squares = None
    if rule == "rms":
        squares = mean_squares(params, tokens[before], config, length, None if starts is None else starts[before])

    @functools.cache
    def loss(rate: float, decay: float) -> float:
        nats = dynamic_surprisals(params, text, config, pulled(rate, decay, squares), length=length, starts=begins)
        return float(np.nan_to_num(nats.mean(dtype=np.float64), nan=np.inf))

    def best(number: float, loss: Callable[[float], float]) -> float:
        factor = 3.0 if loss(3 * number) < loss(number) else 1 / 3
        for _ in range(_MOST_FACTORS):
            if not loss(number * factor) < loss(number):
                break
            number *= factor
        return number

    if rate is None:
        rate = best(RATES[rule], lambda rate: loss(rate, decay or 0.0))
    if decay is None:
        decay = best(1e-3, lambda decay: loss(rate, decay))
        decay = decay if loss(rate, decay) < loss(rate, 0.0) else 0.0
    return Dynamic(rule, rate, decay, length), pulled(rate, decay, squares)

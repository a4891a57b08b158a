"""The optimizer: an optax chain of clipping and Adagrad, or Adam."""

import optax

from jaxrnn.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Return the optimizer; min-char-rnn's clips every entry of the gradient, then Adagrad (Duchi et al. 2011) updates.

        g = clip(g, -clip_value, clip_value),    m += g * g,    theta -= learning_rate * g / sqrt(m + 1e-8)

    with the memory m from zero (optax's own defaults begin at 0.1 and use 1e-7). Adam (Kingma and Ba 2014) has optax's
    and everybody's defaults, 0.9, 0.999 and 1e-8.
    """
    rules = {
        "adagrad": lambda: optax.adagrad(config.learning_rate, initial_accumulator_value=0.0, eps=1e-8),
        "adam": lambda: optax.adam(config.learning_rate),
    }
    return optax.chain(optax.clip(config.clip_value), rules[config.name]())

"""The optimizer: an optax chain of clipping and Adagrad."""

import optax

from jaxrnn.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Return min-char-rnn's optimizer: clip every entry of the gradient, then Adagrad (Duchi et al. 2011).

        g = clip(g, -clip_value, clip_value),    m += g * g,    theta -= learning_rate * g / sqrt(m + 1e-8)

    with the memory m from zero (optax's own defaults begin at 0.1 and use 1e-7).
    """
    adagrad = optax.adagrad(config.learning_rate, initial_accumulator_value=0.0, eps=1e-8)
    return optax.chain(optax.clip(config.clip_value), adagrad)

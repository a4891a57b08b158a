"""The learning rate over a run: a number, or a function of the step."""

import jax
import jax.numpy as jnp
import optax

from jaxrnn.config import OptimizerConfig
from jaxrnn.errors import JaxrnnError


def learning_rate(config: OptimizerConfig, steps: int | None = None) -> float | optax.Schedule:
    """Return the learning rate: a number, or a function of the updates done before this one, n = 0, 1, ...

        peak * min(1, (n + 1) / (warmup_steps + 1)) * shape(n)

        cosine         final_fraction + (1 - final_fraction) * (1 + cos(pi (n - warmup_steps) / (steps - warmup_steps)))
                       / 2, from the end of the warm-up on
        exponential    decay_rate^k, where k counts decay_from, decay_from + decay_every, ... up to n

    An epoch of N symbols in B lanes of T characters is about N / (B T) steps. For char-rnn's decay after ten epochs,
    set `decay_from` to ten times that number and `decay_every` to that number.
    """
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    if config.schedule == "constant" and not warmup:
        return peak
    falling_steps = (steps or 0) - warmup
    if config.schedule == "cosine" and falling_steps < 1:
        needed = f"more steps in all than warmup_steps {warmup}, got {steps}"
        raise JaxrnnError(f"a cosine schedule needs {needed}; give more steps or fewer warmup_steps")

    def rate(count: jax.Array) -> jax.Array:
        shaped = jnp.asarray(peak)
        if config.schedule == "cosine":
            fall = optax.cosine_decay_schedule(peak, falling_steps, config.final_fraction)
            shaped = jnp.asarray(fall(jnp.maximum(jnp.asarray(count - warmup, float), 0)))
        elif config.schedule == "exponential":
            falls = jnp.maximum((count - config.decay_from) // config.decay_every + 1, 0)
            shaped = peak * jnp.power(config.decay_rate, falls)
        return shaped * jnp.minimum(jnp.asarray(count + 1, float) / (warmup + 1), 1)

    return rate

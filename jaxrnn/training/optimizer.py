"""The optimizer: an optax chain of clipping, a rule, weight decay and a learning rate that may change."""

from functools import partial

import jax
import optax

from jaxrnn.config import OptimizerConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError
from jaxrnn.training.schedule import learning_rate


def make_optimizer(config: OptimizerConfig, *, steps: int | None = None) -> optax.GradientTransformation:
    """Return the optimizer; min-char-rnn's clips every entry of the gradient, then Adagrad (Duchi et al. 2011) updates.

        g = clip(g, -clip_value, clip_value),    m += g * g,    theta -= learning_rate * g / sqrt(m + 1e-8)

    with the memory m from zero (optax's own defaults begin at 0.1 and use 1e-7). The other rules:

        adam       m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g * g,    at step n = 1, 2, ...
                   theta -= learning_rate * m / (1 - beta1^n) / (sqrt(v / (1 - beta2^n)) + 1e-8)
        rmsprop    v = rms_decay v + (1 - rms_decay) g * g,    theta -= learning_rate * g / (sqrt(v) + 1e-8)
        sgd        m = momentum m + g,    theta -= learning_rate * m

    Adam is Kingma and Ba's (2014), RMSprop torch's and char-rnn's. Weight decay is decoupled from the gradient
    (Loshchilov and Hutter 2017), whatever the rule: `theta -= learning_rate * weight_decay * theta` beside the update,
    for matrices only, never for biases. adamw is adam with a weight decay by default.

    The optimizer's memory, including the step count of a schedule, is in its state, whose leaves depend on `name` and
    on whether the learning rate changes at all. `steps` is the length of the whole run, where the cosine ends; the
    other schedules do not need it.

    Raises JaxrnnError if the schedule is a cosine, and `steps` is missing or not above `warmup_steps`; or if the name
    is "custom", which is all that a file says of a user-defined optimizer.
    """
    check_arguments(make_optimizer, locals())
    if config.name == "custom":
        raise JaxrnnError(
            "the optimizer is user-defined, which no file holds; hand it over again: optimizer=MINE, or --optimizer "
            "FILE.py:NAME"
        )
    clips = {
        "value": lambda: optax.clip(config.clip_value),
        "norm": lambda: optax.clip_by_global_norm(config.clip_value),
        "none": optax.identity,
    }
    rules = {
        "adagrad": lambda: optax.scale_by_rss(initial_accumulator_value=0.0, eps=1e-8),
        "adam": lambda: optax.scale_by_adam(config.beta1, config.beta2),
        "rmsprop": lambda: optax.scale_by_rms(config.rms_decay, eps_in_sqrt=False),
        "sgd": lambda: optax.trace(config.momentum),
    }
    rules["adamw"] = rules["adam"]
    decay = optax.identity()
    if config.decays:
        decay = optax.add_decayed_weights(config.decay, mask=partial(jax.tree.map, lambda leaf: leaf.ndim > 1))
    rate = optax.scale_by_learning_rate(learning_rate(config, steps))
    clip = clips[config.clip]()
    clip = clip._replace(update=jax.named_scope("clip")(clip.update))
    return optax.chain(clip, optax.chain(rules[config.name](), decay, rate))

"""`--minutes`: measure this machine, and choose the network and the schedule that fit a text and a time."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import jaxrnn
from jaxrnn.cli.arguments import ProcessFlags
from jaxrnn.config import Products, TrainConfig, with_settings
from jaxrnn.config.dial import MOST_EPOCHS, SHAPES, VALIDATIONS, Choice, choose_network
from jaxrnn.errors import JaxrnnError, counted

if TYPE_CHECKING:
    import jax
    from jax.sharding import Mesh

    from jaxrnn.bench.timing import Contender

_STARTUP = 2.0  # seconds of a process before and after what is measured: imports, the first and the last sample
_COMPILATION = 1.5  # times as long as in a measurement: the run also compiles programs for samples, side by side
_SAVED = 1.5e8  # bytes of a checkpoint per second; the newest and the best one are saved after each validation
_AS_FAST = 0.95  # part of the measured speed that a run reaches, with its lines and samples
_MEASURED = 0.025  # part of the time that a measurement takes, beside compilation
_LONGEST_MEASURED = 20.0  # seconds that a measurement takes at most: longer makes it no better
_MOST_MEASURING = 0.2  # part of the time after which no other shape is measured


def dialed(
    minutes: float,
    corpus: "jaxrnn.Corpus",
    settings: Mapping[str, Any],
    began: float,
    device: ProcessFlags,
    optimizer: Any = None,
) -> tuple[TrainConfig, list[str]]:
    """Return the configuration for a text and a time, and three lines that say what was chosen and why.

    Its products are those that are faster here. The shape expected to be best is measured, and the choice is made
    again, until it falls on a measured shape or a fifth of the time is over. `settings` are the user's; `began` is the
    `time.perf_counter` from which the minutes count.
    """
    import jax

    if jax.process_count() > 1:  # each would measure another speed
        raise JaxrnnError("--minutes is for one process; choose by --minutes M --dry-run in one, and give --config")
    speeds: dict[int, float] = {}
    dropped: dict[int, bool] = {}  # whether the measured shape had dropout
    overhead, sizes = 0.0, (len(corpus.tokens), len(corpus.vocabulary))
    if "products" not in settings:
        settings = {**settings, "products": "full" if settings.get("dtype") == "float64" else _faster_products()}
    while True:
        past = time.perf_counter() - began
        left = max(1.0, _AS_FAST * (60 * minutes - past - overhead - _STARTUP))
        choice = choose_network(*sizes, left, speeds, settings)
        config = with_settings(choice.config, {"vocab_size": None})
        drops = config.model.has_dropout
        if dropped.get(choice.shape) == drops or (speeds and past > _MOST_MEASURING * 60 * minutes):
            return config, _lines(choice, minutes, corpus, len(speeds))
        mesh = device.set_up_training(config).mesh("batch_size", config.batch_size)
        seconds = min(_LONGEST_MEASURED, _MEASURED * 60 * minutes)
        speed, overhead = _measure(choice.config, corpus, seconds, optimizer, mesh)
        if choice.shape in dropped:  # the masks of dropout take time: there is some only if that leaves epochs for it
            again = choose_network(*sizes, left, speeds | {choice.shape: speed}, settings)
            if again.config.model.has_dropout != drops:
                settings = {"dropout": 0.0, "state_dropout": 0.0, "weight_dropout": 0.0, **settings}
                if drops:
                    continue
        speeds[choice.shape], dropped[choice.shape] = speed, drops


def _faster_products() -> Products:
    """Return which products of a step of a GRU are faster here; some processors round to bfloat16 by software."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from jaxrnn.bench.timing import race, repeated
    from jaxrnn.kernels.matmul import times_matrix

    h, W = jnp.zeros((16, 256)), jnp.zeros((256, 3 * 256))

    @jax.jit(static_argnames="products")
    def multiply(count: int, products: Products) -> "jax.Array":
        times = times_matrix(W, len(h), products)
        return lax.fori_loop(0, count, lambda _, h: times(h)[:, :256] + 1, h)

    def contender(products: Products) -> "Contender":
        return repeated(lambda count: multiply(100 * count, products).block_until_ready(), seconds=0.01)

    times = race({products: contender(products) for products in get_args(Products)}, rounds=5)
    return min(get_args(Products), key=lambda products: times[products].median)


def _measure(
    config: TrainConfig, corpus: "jaxrnn.Corpus", seconds: float, optimizer: Any, mesh: "Mesh | None"
) -> tuple[float, float]:
    """Return the symbols per second of training, measured for `seconds`, and the seconds that a run needs besides."""
    import jax

    from jaxrnn.runs.checkpoint import checkpoint_size
    from jaxrnn.runs.programs import ChunkLimit, spread
    from jaxrnn.text import batches
    from jaxrnn.training import init_train_state, make_train_chunk

    symbols = config.sequence_length * config.batch_size
    steps = ChunkLimit(config).steps  # of a call, as in the run: its memory is new to the process, which takes time
    state = init_train_state(jax.random.key(config.seed), config, optimizer=optimizer)
    chunk = make_train_chunk(config, optimizer=optimizer, mesh=mesh)
    feed = batches(corpus.tokens, 0, steps, config)
    state, begin, done = spread(state, mesh) if mesh else state, time.perf_counter(), 0
    state, _ = jax.block_until_ready(chunk(state, feed))
    compiled = time.perf_counter()
    while (elapsed := time.perf_counter() - compiled) < seconds or not done:
        state, _ = jax.block_until_ready(chunk(state, feed))
        done += steps
    saving = 2 * VALIDATIONS * checkpoint_size(config, optimizer) / _SAVED
    return symbols * done / elapsed, _COMPILATION * (compiled - begin) + saving


def _lines(choice: Choice, minutes: float, corpus: "jaxrnn.Corpus", measured: int) -> list[str]:
    """Return what was chosen and why, in three lines."""
    config, kind = choice.config, corpus.vocabulary.kind
    model, optimizer = config.model, config.optimizer
    rule = optimizer.name if optimizer.name == "custom" else f"{optimizer.name} at {optimizer.peak_learning_rate:g}"
    held_out = ", ".join(f"{100 * part:.3g} %" for part in config.split[1:]) or "nothing"
    cell = model.cell if isinstance(model.cell, str) else "user-defined cell"
    dropout = f"{model.products} products, " + (f"dropout {model.dropout:g}" if model.has_dropout else "no dropout")
    ends = f"ends after about {choice.seconds / 60:.2g} minutes"
    if choice.epochs >= MOST_EPOCHS - 1:
        ends += f", as more than {MOST_EPOCHS} epochs help too little"
    return [
        f"text: {len(corpus):,} {kind}, vocabulary of {len(corpus.vocabulary):,}; held out to validate: {held_out}",
        f"network: {cell}, {model.num_layers} x {model.hidden_size}, {dropout}: lowest expected loss of {len(SHAPES)} "
        f"sizes with --minutes {minutes:g}, at {choice.speed:,.0f} {kind} per second here "
        f"({counted(measured, 'sizes')} measured)",
        f"schedule: {counted(config.steps, 'steps')} of {config.batch_size} x {config.sequence_length} {kind}, "
        f"{choice.epochs:.3g} epochs, {rule}; {ends}",
    ]

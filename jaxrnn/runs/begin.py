"""A run that begins from parameters that are there already."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jaxrnn.config import TrainConfig
from jaxrnn.network.model import Params
from jaxrnn.runs.data import prepare
from jaxrnn.runs.directory import RunDirectory
from jaxrnn.text import Corpus
from jaxrnn.training.optimizer import make_optimizer
from jaxrnn.training.step import init_train_state


def begin_run(
    params: Params, config: TrainConfig, corpus: Corpus, run_dir: str | Path, *, overwrite: bool = False
) -> TrainConfig:
    """Make a run directory whose checkpoint, of step 0, has these parameters; `fit(..., resume=True)` goes on from it.

    Args:
        params: the parameters, such as those of `load_weights`; arrays of JAX or NumPy.
        config: the run.
        corpus: the text.
        run_dir: where.
        overwrite: replace the run that is there.

    Returns:
        The config, with what the corpus gives.

    Raises:
        JaxrnnError: config and corpus don't fit together, or the run directory can't be used.
    """
    config, _ = prepare(config, corpus)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, config.model.dtype), params)
    state = init_train_state(jax.random.key(config.seed), config)
    state = state._replace(params=params, opt_state=make_optimizer(config.optimizer, steps=config.steps).init(params))
    run = RunDirectory(Path(run_dir), corpus, config)
    run.open(resume=False, overwrite=overwrite)
    try:
        run.save(state, None, seconds=0.0)
    finally:
        run.close()
    return config

"""What goes on inside the network while it reads: every hidden state, memory and gate."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.cells import CELLS, CellCarry
from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.model import Layer, Params, initial_carry
from jaxrnn.recurrence import product

Activations = tuple[dict[str, jax.Array], ...]  # one layer each, from the input upwards

# What a cell's carry holds, in its order; and its gates, in the order of the columns of Wxh.
CARRY_NAMES = {"tanh": ("h",), "gru": ("h",), "lstm": ("h", "c")}
GATE_NAMES: dict[str, tuple[str, ...]] = {"tanh": (), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
SATURABLE: dict[str, tuple[str, ...]] = {
    "tanh": (),
    "gru": ("r", "z"),
    "lstm": ("i", "f", "o"),
}  # the gates between 0 and 1


@partial(jax.jit, static_argnames="config")
def activations(params: Params, tokens: jax.Array, config: ModelConfig) -> Activations:
    """Return every hidden state and gate of the network while it reads a text, from a zero carry.

    Example:
        >>> from jaxrnn.model import init_params
        >>> config = ModelConfig(cell="gru", num_layers=2, vocab_size=5)
        >>> params = init_params(jax.random.key(0), config)
        >>> layers = activations(params, jnp.array([3, 1, 4, 1]), config)
        >>> len(layers), sorted(layers[1]), layers[1]["h"].shape
        (2, ['h', 'n', 'r', 'z'], (4, 100))

    Args:
        params: the parameters.
        tokens: int [T], one text; or [T, B], lanes side by side.
        config: the network's configuration; static under jit.

    Returns:
        For each layer, by name, arrays [T, H] (or [T, B, H]), at t after the character tokens[t]:

        - "h": the hidden state; of an LSTM also "c", its memory;
        - GRU: the gates "r" (reset) and "z" (keep), in (0, 1), and "n" (new), in (-1, 1);
        - LSTM: the gates "i" (input), "f" (forget) and "o" (output), in (0, 1), and "g" (new), in (-1, 1).

    Raises:
        JaxrnnError: `tokens` has another number of axes.
    """
    if tokens.ndim not in (1, 2):
        raise JaxrnnError(f"tokens must be [T] or [T, B], got shape {tokens.shape}")
    dtype = None if config.products == "full" else config.products
    lanes = tokens if tokens.ndim == 2 else tokens[:, None]
    carries = initial_carry(config, lanes.shape[1])
    layers: list[dict[str, jax.Array]] = []
    for layer, carry in zip(params.layers, carries, strict=True):
        if layers:
            below = layers[-1]["h"]
            projected = product(below.reshape(-1, config.hidden_size), layer.Wxh, dtype)
            projected = projected.reshape(*lanes.shape, -1) + layer.bh[None, None]
        else:
            projected = layer.Wxh[lanes] + layer.bh[None, None]
        layers.append(_read(layer, projected, carry, config, dtype))
    return tuple(layers) if tokens.ndim == 2 else jax.tree.map(lambda values: values[:, 0], tuple(layers))


def _read(
    layer: Layer, projected: jax.Array, carry: CellCarry, config: ModelConfig, dtype: str | None
) -> dict[str, jax.Array]:
    """Return what one layer does, by name, [T, B, H]: the carry from its cell, the gates from the carry."""
    update, bhh = CELLS[config.cell].update, getattr(layer, "bhh", None)

    def recurrent(h_tm1: jax.Array) -> jax.Array:
        times_Whh = product(h_tm1, layer.Whh, dtype)
        return times_Whh if bhh is None else times_Whh + bhh[None]

    def step(carry_tm1: CellCarry, projected_t: jax.Array) -> tuple[CellCarry, tuple[CellCarry, jax.Array]]:
        from_hidden = recurrent(carry_tm1[0])
        carry_t = update(projected_t, from_hidden, carry_tm1)
        return carry_t, (carry_t, from_hidden)

    _, (carries, from_hidden) = lax.scan(step, carry, projected)
    return {
        **dict(zip(CARRY_NAMES[config.cell], carries, strict=True)),
        **_gates(config.cell, projected, from_hidden),
    }


def _gates(cell: str, projected: jax.Array, recurrent: jax.Array) -> dict[str, jax.Array]:
    """Return the gates of a cell, whose formulas stand in its update, from [T, B, G*H] each."""
    if cell == "tanh":
        return {}
    names = GATE_NAMES[cell]
    from_input = dict(zip(names, jnp.split(projected, len(names), axis=-1), strict=True))
    from_hidden = dict(zip(names, jnp.split(recurrent, len(names), axis=-1), strict=True))
    gates: dict[str, jax.Array] = {}
    for name in names:
        if name == "n":  # the only one that another gate, r, has a say in
            gates[name] = jnp.tanh(from_input[name] + gates["r"] * from_hidden[name])
        else:
            squash = jnp.tanh if name == "g" else jax.nn.sigmoid
            gates[name] = squash(from_input[name] + from_hidden[name])
    return gates

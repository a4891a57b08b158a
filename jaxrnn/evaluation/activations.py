"""What goes on inside the network while it reads: every hidden state, memory and gate."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.config import ModelConfig
from jaxrnn.errors import JaxrnnError
from jaxrnn.kernels.matmul import product
from jaxrnn.network.cells import CELLS, Cell, CellCarry, get_cell
from jaxrnn.network.model import Layer, Params, initial_carry

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
def activations(params: Params, tokens: jax.Array, config: ModelConfig, starts: jax.Array | None = None) -> Activations:
    """Return every hidden state and gate of the network while it reads a text, from a zero carry.

    Example:
        >>> from jaxrnn.network.model import init_params
        >>> config = ModelConfig(cell="gru", num_layers=2, vocab_size=5)
        >>> params = init_params(jax.random.key(0), config)
        >>> layers = activations(params, jnp.array([3, 1, 4, 1]), config)
        >>> len(layers), sorted(layers[1]), layers[1]["h"].shape
        (2, ['h', 'n', 'r', 'z'], (4, 100))

    Args:
        params: the parameters.
        tokens: int [T], one text; or [T, B], lanes side by side.
        config: the network's configuration; static under jit.
        starts: bool, as `tokens`: the characters before which the carry becomes the initial one; None: nowhere.

    Returns:
        For each layer, by name, arrays [T, H] (or [T, B, H]), at t after the character tokens[t]:

        - "h": the hidden state; of an LSTM also "c", its memory;
        - GRU: the gates "r" (reset) and "z" (keep), in (0, 1), and "n" (new), in (-1, 1);
        - a cell of the user's own: no gates, and what its carry holds beside "h" as "carry1", "carry2", ...;
        - LSTM: the gates "i" (input), "f" (forget) and "o" (output), in (0, 1), and "g" (new), in (-1, 1).

    Raises:
        JaxrnnError: `tokens` has another number of axes, or `starts` another shape.
    """
    if tokens.ndim not in (1, 2):
        raise JaxrnnError(f"tokens must be [T] or [T, B], got shape {tokens.shape}")
    if starts is not None and starts.shape != tokens.shape:
        raise JaxrnnError(f"starts must have the shape of tokens, {tokens.shape}, got {starts.shape}")
    dtype = None if config.products == "full" else config.products
    lanes = tokens if tokens.ndim == 2 else tokens[:, None]
    starts = starts if starts is None else starts.reshape(lanes.shape)
    layers: list[dict[str, jax.Array]] = []
    for layer, carry in zip(params.layers, initial_carry(config, lanes.shape[1]), strict=True):
        if layers:
            below = layers[-1]["h"]
            projected = product(below.reshape(-1, config.hidden_size), layer.Wxh, dtype)
            projected = projected.reshape(*lanes.shape, -1) + layer.bh[None, None]
        else:
            projected = layer.Wxh[lanes] + layer.bh[None, None]
        layers.append(_read(get_cell(config.cell), layer, projected, carry, starts, dtype))
    return tuple(layers) if tokens.ndim == 2 else jax.tree.map(lambda values: values[:, 0], tuple(layers))


def _read(
    cell: Cell, layer: Layer, projected: jax.Array, initial: CellCarry, starts: jax.Array | None, dtype: str | None
) -> dict[str, jax.Array]:
    """Return what one layer does, by name, [T, B, H]: the carry from its cell, the gates from what went into it."""

    def step(
        carry_tm1: CellCarry, at_t: tuple[jax.Array, jax.Array | None]
    ) -> tuple[CellCarry, tuple[CellCarry, jax.Array]]:
        projected_t, starts_t = at_t
        if starts_t is not None:
            carry_tm1 = jax.tree.map(lambda a, b: jnp.where(starts_t[:, None], a, b), initial, carry_tm1)
        recurrent_t = product(carry_tm1[0], layer.Whh, dtype)
        if layer.bhh is not None:
            recurrent_t += layer.bhh[None]
        carry_t = cell.update(projected_t, recurrent_t, carry_tm1)
        return carry_t, (carry_t, recurrent_t)

    _, (carries, recurrent) = lax.scan(step, initial, (projected, starts))
    name = next((name for name, known in CELLS.items() if known == cell), None)
    if name is None:
        return {f"carry{place}" if place else "h": entry for place, entry in enumerate(carries)}
    return {**dict(zip(CARRY_NAMES[name], carries, strict=True)), **_gates(name, projected, recurrent)}


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

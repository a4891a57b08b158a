"""What goes on inside the network while it reads a text: every hidden state, memory and gate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.config import ModelConfig
from jaxrnn.config.fields import check_arguments
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import Carry, Cell, CellCarry, Params, forward, initial_carry
from jaxrnn.network.cells import built_in_name, get_cell, gru_gates, lstm_gates
from jaxrnn.text import Array
from jaxrnn.text.vocabulary import check_tokens

Activations = tuple[dict[str, jax.Array], ...]  # one per layer, from the input upwards

CARRY_NAMES = {"tanh": ("h",), "relu": ("h",), "gru": ("h",), "lstm": ("h", "c")}
GATE_NAMES = {"tanh": "", "relu": "", "gru": "rzn", "lstm": "ifgo"}
SATURABLE = {"tanh": "", "relu": "", "gru": "rz", "lstm": "ifo"}  # gates in (0, 1)
_GATES = {"gru": gru_gates, "lstm": lstm_gates}


def activations(params: Params, tokens: Array, config: ModelConfig, starts: Array | None = None) -> Activations:
    """Return every hidden state and gate of the network while it reads a text from the initial carry.

    Example:
        >>> from jaxrnn.network.model import init_params
        >>> config = ModelConfig(cell="gru", num_layers=2, vocab_size=5)
        >>> params = init_params(jax.random.key(0), config)
        >>> layers = activations(params, jnp.array([3, 1, 4, 1]), config)
        >>> len(layers), sorted(layers[1]), layers[1]["h"].shape
        (2, ['h', 'n', 'r', 'z'], (4, 100))

    The tokens are int [T], one text, or [T, B], B texts side by side. `starts`, bool of the same shape, has the
    characters before which the carry is reset; None: nowhere.

    Returns:
        For each layer, by name, arrays [T, H] (or [T, B, H]) whose entry t is the value after the network has read
        tokens[t]:

        - "h": the hidden state; for an LSTM also "c", its memory;
        - GRU: the gates "r" (reset) and "z" (keep), in (0, 1), and "n" (new), in (-1, 1);
        - LSTM: the gates "i" (input), "f" (forget) and "o" (output), in (0, 1), and "g" (new), in (-1, 1);
        - a user-defined cell: no gates; the entries of its carry after "h" are "carry1", "carry2", ...
    """
    check_arguments(activations, locals())
    if tokens.ndim not in (1, 2):
        raise JaxrnnError(f"tokens must be [T] or [T, B], got shape {tokens.shape}")
    if starts is not None and starts.shape != tokens.shape:
        raise JaxrnnError(f"starts must have the shape of tokens, {tokens.shape}, got {starts.shape}")
    if isinstance(tokens, np.ndarray):
        check_tokens(tokens.ravel(), params.by.size)
    if tokens.ndim == 2:
        return _activations(params, tokens, config, starts)
    layers = _activations(params, tokens[:, None], config, None if starts is None else starts[:, None])
    return jax.tree.map(lambda values: values[:, 0], layers)


@jax.jit(static_argnames="config")
def _activations(params: Params, tokens: Array, config: ModelConfig, starts: Array | None) -> Activations:
    cell, name = get_cell(config.cell), built_in_name(config.cell)
    observed = dataclasses.replace(config, cell=_with_gates(cell, name) if name in _GATES else cell)

    def step(carry: Carry, at_t: tuple[Array, Array | None]) -> tuple[Carry, Carry]:
        tokens_t, starts_t = jax.tree.map(lambda entry: entry[None], at_t)
        _, carry = forward(params, carry, tokens_t, observed, starts=starts_t)
        return carry, carry

    _, carries = lax.scan(step, initial_carry(tokens.shape[1], observed), (tokens, starts))
    if name is None:
        return tuple({f"carry{i}" if i else "h": entry for i, entry in enumerate(carry)} for carry in carries)
    return tuple(dict(zip((*CARRY_NAMES[name], *GATE_NAMES[name]), carry, strict=True)) for carry in carries)


def _with_gates(cell: Cell, name: str) -> Cell:
    """Return a cell that computes the same and also hands its gates on, at the end of its carry."""
    size = len(CARRY_NAMES[name])

    def init_carry(batch_size: int, hidden_size: int, dtype: jax.typing.DTypeLike) -> CellCarry:
        gates = [jnp.zeros((batch_size, hidden_size), dtype) for _ in GATE_NAMES[name]]
        return (*cell.init_carry(batch_size, hidden_size, dtype), *gates)

    def update(projected: jax.Array, recurrent: jax.Array, carry: CellCarry) -> CellCarry:
        return (*cell.update(projected, recurrent, carry[:size]), *_GATES[name](projected, recurrent))

    return cell._replace(init_carry=init_carry, update=update)

"""The interface of a recurrent cell: its elementwise update, and what it says of itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import jax

CellCarry: TypeAlias = tuple["jax.Array", ...]


class Cell(NamedTuple):
    """A recurrent cell; a user-defined one trains and samples as a built-in one does, but a page can't compute it.

    Example:
        >>> import jax
        >>> from jaxrnn import TANH, ModelConfig
        >>> def update(projected, recurrent, carry):
        ...     return (jax.nn.relu(projected + recurrent),)
        >>> model = ModelConfig(cell=Cell(gates=1, init_carry=TANH.init_carry, update=update, additive=True))

    Attributes:
        gates: G, how many values each unit gets from the input and from the previous hidden state.
        init_carry: (batch_size, hidden_size, dtype) -> carry before the first step, a tuple of entries [B, H] whose
            first is h.
        update: (projected [B, G*H], recurrent [B, G*H], carry) -> carry, where projected = x_t Wxh + bh and
            recurrent = h_tm1 Whh (+ bhh). It must treat each lane by itself, with or without the axis B. The built-in
            cells treat each unit by itself too (elementwise).
        recurrent_bias: whether the layer has a bias bhh for the recurrent product, beside bh. Only a cell that is not
            additive can tell them apart.
        init_bias: initial value of bh, one number per gate; empty: zero.
        additive: whether the update uses `projected + recurrent` only: both then have one gradient, which is computed
            and stored once.
    """

    gates: int
    init_carry: Callable[[int, int, "jax.typing.DTypeLike"], CellCarry]
    update: Callable[["jax.Array", "jax.Array", CellCarry], CellCarry]
    recurrent_bias: bool = False
    init_bias: tuple[float, ...] = ()
    additive: bool = False

    def __repr__(self) -> str:
        """Name the update, without the addresses of functions."""
        return f"Cell(gates={self.gates}, update={getattr(self.update, '__name__', self.update)})"

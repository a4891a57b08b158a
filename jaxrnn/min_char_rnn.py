"""min-char-rnn in plain JAX: the whole algorithm on one page, from a text to a network that writes like it.

    python -m jaxrnn.min_char_rnn input.txt

A recurrent network reads a text one character at a time and learns to predict the next one. It remembers what it has
read in a vector h, the hidden state. The algorithm is Andrej Karpathy's (2015); the rest of this package is this page
made general, fast, safe and visible. V: characters in the vocabulary; H: hidden units; T: characters per training step.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from optax import GradientTransformation as Optimizer

SEQUENCE_LENGTH = 25  # T


class Params(NamedTuple):
    """What the network learns."""

    Wxh: Array  # [V, H], input to hidden
    Whh: Array  # [H, H], hidden to hidden
    bh: Array  # [H]
    Why: Array  # [H, V], hidden to output
    by: Array  # [V]


class State(NamedTuple):
    """What a training step changes."""

    params: Params
    memory: optax.OptState  # Adagrad's sums of squared gradients
    h: Array  # [H], carried over from the step before
    smooth_loss: Array  # [], the running mean of the loss


def init_params(key: Array, vocab_size: int, hidden_size: int = 100) -> Params:
    """Draw small random weights; biases are zero."""
    V, H = vocab_size, hidden_size
    keys, shapes = jax.random.split(key, 3), [(V, H), (H, H), (H, V)]
    Wxh, Whh, Why = (0.01 * jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True))
    return Params(Wxh, Whh, jnp.zeros(H), Why, jnp.zeros(V))


def forward(params: Params, h: Array, inputs: Array) -> tuple[Array, Array]:
    """Read characters, int [T], starting from the hidden state h; return the logits y [T, V] and the last hidden state.

    h_t = tanh(x_t Wxh + h_{t-1} Whh + bh)        y_t = h_t Why + by        x_t is the one-hot vector of inputs[t]
    """
    x = jax.nn.one_hot(inputs, len(params.by), dtype=h.dtype)

    def step(h: Array, projected: Array) -> tuple[Array, Array]:
        h = jnp.tanh(projected + h @ params.Whh)
        return h, h

    h, hidden = lax.scan(step, h, x @ params.Wxh + params.bh)
    return hidden @ params.Why + params.by, h


def loss(params: Params, h: Array, inputs: Array, targets: Array) -> tuple[Array, Array]:
    """Return the cross entropy, sum_t -ln softmax(y_t)[targets[t]] in nats, and the last hidden state."""
    logits, h = forward(params, h, inputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).sum(), h


def make_optimizer(learning_rate: float = 0.1) -> Optimizer:
    """Return the optimizer: clip each entry g of the gradient to [-5, 5], then Adagrad, whose memory m begins at 0.

    m += g^2        theta -= learning_rate * g / sqrt(m + 1e-8)
    """
    return optax.chain(optax.clip(5.0), optax.adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-8))


def init_state(params: Params, optimizer: Optimizer) -> State:
    """Return the state before the first step; a network that knows nothing loses ln V nats on every character."""
    smooth_loss = jnp.asarray(SEQUENCE_LENGTH * math.log(len(params.by)))
    return State(params, optimizer.init(params), jnp.zeros_like(params.bh), smooth_loss)


@jax.jit(static_argnames="optimizer", donate_argnames="state")
def train_step(state: State, inputs: Array, targets: Array, optimizer: Optimizer) -> tuple[State, Array]:
    """Learn from T characters, each with the one that follows it, int [T]; return the new state and the loss.

    The gradient goes back through these T characters only: the h of the step before is a constant to it.
    The old state is donated: the new one is written over its memory, so it can't be used again.
    """
    (nats, h), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, state.h, inputs, targets)
    updates, memory = optimizer.update(gradient, state.memory, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, memory, h, 0.999 * state.smooth_loss + 0.001 * nats), nats


@jax.jit(static_argnames=("length", "greedy"))
def sample(key: Array, params: Params, h: Array, first: Array, length: int, greedy: bool = False) -> Array:
    """Write `length` characters, int [length], after `first`: each drawn from softmax(y_t), then fed back one-hot."""

    def step(state: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        h, token = state
        logits, h = forward(params, h, token[None])
        token = (logits[0].argmax() if greedy else jax.random.categorical(key, logits[0])).astype(token.dtype)
        return (h, token), token

    return lax.scan(step, (h, jnp.asarray(first)), jax.random.split(key, length))[1]


def main() -> None:
    """Train on a text file; print a sample every 100 steps and at the end."""
    parser = argparse.ArgumentParser(description="min-char-rnn in plain JAX, on one page.")
    parser.add_argument("file", type=Path, help="a text in UTF-8")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        text, T = arguments.file.read_text("utf-8"), SEQUENCE_LENGTH
    except (OSError, UnicodeError) as error:
        parser.error(f"can't read {arguments.file} ({error}); give a text in UTF-8")
    if len(text) < T + 2:
        parser.error(f"{arguments.file} is too short, {len(text)} of {T + 2} characters; give a longer text")
    vocabulary = sorted(set(text))
    index = {character: token for token, character in enumerate(vocabulary)}
    tokens = np.array([index[character] for character in text], np.int32)
    print(f"data has {len(text)} characters, {len(vocabulary)} unique; the loss is in nats per {T} characters")

    params_key, sample_key = jax.random.split(jax.random.key(arguments.seed))
    optimizer = make_optimizer()
    state, p = init_state(init_params(params_key, len(vocabulary)), optimizer), 0
    for step in range(arguments.steps + 1):
        if p + T + 1 >= len(tokens):  # the end of the text: begin again, remembering nothing
            p, state = 0, state._replace(h=jnp.zeros_like(state.h))
        if step % 100 == 0 or step == arguments.steps:
            written = sample(jax.random.fold_in(sample_key, step), state.params, state.h, tokens[p], length=200)
            print(f"----\n{''.join(vocabulary[token] for token in np.asarray(written))}\n----")
            print(f"step {step}, smooth loss {state.smooth_loss:.4f}", flush=True)
        if step < arguments.steps:
            state, _ = train_step(state, tokens[p : p + T], tokens[p + 1 : p + T + 1], optimizer)
            p += T


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main()

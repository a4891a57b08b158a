"""Training and sampling in NumPy alone, float64, as in the original min-char-rnn: what a user has without JAX.

Written from the formulas; it imports nothing of jaxrnn. Weight gradients are summed step by step while going back in
time. One thing is faster than in the original: a one-hot input is a row to look up, not a product with all of Wxh.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Carry = tuple[Any, ...]  # entries [B, H], h first; a gradient that is zero may be the number 0
# From the gradient of the carry after: those of the projected input and of the recurrent product, and of the carry
# before, by way of the elementwise update alone.
Backward = Callable[[Carry], tuple[np.ndarray, np.ndarray, Carry]]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _tanh(projected: np.ndarray, recurrent: np.ndarray, carry: Carry) -> tuple[Carry, Backward]:
    h_t = np.tanh(projected + recurrent)

    def backward(d_carry: Carry) -> tuple[np.ndarray, np.ndarray, Carry]:
        d_sum = d_carry[0] * (1 - h_t * h_t)
        return d_sum, d_sum, (0.0,)

    return (h_t,), backward


def _gru(projected: np.ndarray, recurrent: np.ndarray, carry: Carry) -> tuple[Carry, Backward]:
    (h_tm1,) = carry
    projected_r, projected_z, projected_n = np.split(projected, 3, axis=1)
    recurrent_r, recurrent_z, recurrent_n = np.split(recurrent, 3, axis=1)
    r = _sigmoid(projected_r + recurrent_r)
    z = _sigmoid(projected_z + recurrent_z)
    n = np.tanh(projected_n + r * recurrent_n)

    def backward(d_carry: Carry) -> tuple[np.ndarray, np.ndarray, Carry]:
        (d_h,) = d_carry
        d_n = d_h * (1 - z) * (1 - n * n)
        d_r = d_n * recurrent_n * r * (1 - r)
        d_z = d_h * (h_tm1 - n) * z * (1 - z)
        return np.hstack([d_r, d_z, d_n]), np.hstack([d_r, d_z, d_n * r]), (d_h * z,)

    return (n + z * (h_tm1 - n),), backward


def _lstm(projected: np.ndarray, recurrent: np.ndarray, carry: Carry) -> tuple[Carry, Backward]:
    _, c_tm1 = carry
    a_i, a_f, a_g, a_o = np.split(projected + recurrent, 4, axis=1)
    i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
    c_t = f * c_tm1 + i * g
    squashed = np.tanh(c_t)

    def backward(d_carry: Carry) -> tuple[np.ndarray, np.ndarray, Carry]:
        d_h, d_c = d_carry
        d_c = d_c + d_h * o * (1 - squashed * squashed)
        d_i, d_f, d_g, d_o = d_c * g * i * (1 - i), d_c * c_tm1 * f * (1 - f), d_c * i * (1 - g * g), d_h * squashed
        d_sum = np.hstack([d_i, d_f, d_g, d_o * o * (1 - o)])
        return d_sum, d_sum, (0.0, d_c * f)

    return (o * squashed, c_t), backward


_CELLS = {"tanh": _tanh, "gru": _gru, "lstm": _lstm}


def loss_and_gradient(
    params: dict[str, np.ndarray], inputs: np.ndarray, targets: np.ndarray, carry: Carry, cell: str
) -> tuple[float, dict[str, np.ndarray], Carry]:
    """Return the loss of a batch, its gradient and the carry after it.

    Args:
        params: Wxh [V, G*H], Whh [H, G*H], bh [G*H], Why [H, V], by [V]; and bhh [G*H], the GRU's second bias.
        inputs: int [T, B].
        targets: int [T, B].
        carry: before the batch, entries [B, H].
        cell: "tanh", "gru" or "lstm".

    Returns:
        Nats summed over T and averaged over B; the gradient by name; the carry.
    """
    Wxh, Whh, bh, Why, by = (params[name] for name in ("Wxh", "Whh", "bh", "Why", "by"))
    bhh, update = params.get("bhh"), _CELLS[cell]
    steps, lanes = inputs.shape
    hidden, backwards, probabilities = [carry[0]], [], np.empty((steps, lanes, len(by)))
    for t in range(steps):
        recurrent = np.dot(carry[0], Whh)
        if bhh is not None:
            recurrent += bhh
        carry, backward = update(Wxh[inputs[t]] + bh, recurrent, carry)
        p = np.exp(np.dot(carry[0], Why) + by)
        probabilities[t] = p / p.sum(axis=1, keepdims=True)
        hidden.append(carry[0])
        backwards.append(backward)
    target = np.arange(steps)[:, None], np.arange(lanes), targets
    loss = -float(np.log(probabilities[target]).sum()) / lanes
    probabilities[target] -= 1
    if lanes > 1:
        probabilities /= lanes
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    d_carry: Carry = tuple(np.zeros_like(entry) for entry in carry)
    for t in reversed(range(steps)):
        d_logits = probabilities[t]
        gradient["Why"] += np.dot(hidden[t + 1].T, d_logits)  # np.dot: the operator @ takes twice as long at B = 1
        gradient["by"] += d_logits.sum(axis=0)
        d_projected, d_recurrent, d_carry = backwards[t]((d_carry[0] + np.dot(d_logits, Why.T), *d_carry[1:]))
        gradient["Whh"] += np.dot(hidden[t].T, d_recurrent)
        gradient["bh"] += d_projected.sum(axis=0)
        if bhh is not None:
            gradient["bhh"] += d_recurrent.sum(axis=0)
        if lanes == 1:
            gradient["Wxh"][inputs[t, 0]] += d_projected[0]
        else:
            np.add.at(gradient["Wxh"], inputs[t], d_projected)  # lanes may share a character
        d_carry = (np.dot(d_recurrent, Whh.T) + d_carry[0], *d_carry[1:])
    return loss, gradient, carry


@dataclasses.dataclass
class Reference:
    """A training run over a chunk of batches, again and again; inputs, targets [K, T, B] and reset [K]."""

    params: dict[str, np.ndarray]
    batches: tuple[np.ndarray, np.ndarray, np.ndarray]
    cell: str
    optimizer: str
    learning_rate: float
    clip_value: float

    def __post_init__(self) -> None:
        """Begin with a copy of the parameters and the first batch."""
        self.params = {name: np.array(value) for name, value in self.params.items()}
        self.first, self.second = ({name: 0.0 * value for name, value in self.params.items()} for _ in range(2))
        self.steps, self.random = 0, np.random.default_rng(0)
        self.carry = self._zero_carry(self.batches[0].shape[2])

    def _zero_carry(self, lanes: int) -> Carry:
        return (np.zeros((lanes, len(self.params["Whh"]))),) * (2 if self.cell == "lstm" else 1)

    def train(self, steps: int) -> list[float]:
        """Train for `steps` steps; return their losses."""
        losses = []
        for _ in range(steps):
            inputs, targets, reset = (part[self.steps % len(part)] for part in self.batches)
            if reset:
                self.carry = self._zero_carry(inputs.shape[1])
            loss, gradient, self.carry = loss_and_gradient(self.params, inputs, targets, self.carry, self.cell)
            self.update(gradient)
            losses.append(loss)
        return losses

    def update(self, gradient: dict[str, np.ndarray]) -> None:
        """Clip every entry of the gradient and move the parameters by Adagrad or Adam."""
        self.steps += 1
        for name, value in self.params.items():
            g = gradient[name]
            np.clip(g, -self.clip_value, self.clip_value, out=g)
            m, v = self.first[name], self.second[name]
            if self.optimizer == "adagrad":
                m += g * g
                value -= self.learning_rate * g / np.sqrt(m + 1e-8)
            else:
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                unbiased_m, unbiased_v = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
                value -= self.learning_rate * unbiased_m / (np.sqrt(unbiased_v) + 1e-8)

    def sample(self, length: int, token: int = 0) -> tuple[list[int], float]:
        """Write `length` characters after `token`, from a zero carry; return them and their surprisal in nats.

        As in the original: a probability for every character, and NumPy's own `choice` among them.
        """
        Wxh, Whh, bh, Why, by = (self.params[name] for name in ("Wxh", "Whh", "bh", "Why", "by"))
        update, carry = _CELLS[self.cell], self._zero_carry(1)
        tokens, nats = [], 0.0
        for _ in range(length):
            carry, _ = update((Wxh[token] + bh)[None], np.dot(carry[0], Whh) + self.params.get("bhh", 0.0), carry)
            p = np.exp(np.dot(carry[0][0], Why) + by)
            p /= p.sum()
            token = int(self.random.choice(len(p), p=p))
            tokens.append(token)
            nats -= float(np.log(p[token]))
        return tokens, nats

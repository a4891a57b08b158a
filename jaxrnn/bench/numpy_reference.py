"""Training and sampling in NumPy alone, float64, as in the original min-char-rnn: what a user has without JAX.

Written from the formulas; it imports nothing of jaxrnn. Weight gradients are summed step by step while going back in
time. One thing is faster than in the original: a one-hot input is a row to look up, not a product with all of Wxh.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Carry = tuple[Any, ...]  # entries [B, H], or [H] of one text, h first; a gradient that is zero may be the number 0
# Maps the gradient of the new carry to those of the projected input, of the recurrent product and of the old carry; the
# last only through the elementwise update.
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
    projected_r, projected_z, projected_n = np.split(projected, 3, axis=-1)
    recurrent_r, recurrent_z, recurrent_n = np.split(recurrent, 3, axis=-1)
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
    a_i, a_f, a_g, a_o = np.split(projected + recurrent, 4, axis=-1)
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


@dataclasses.dataclass
class Reference:
    """A training run over a chunk of batches, again and again."""

    params: dict[str, np.ndarray]  # Wxh [V, G*H], Whh [H, G*H], bh, Why [H, V], by; and bhh, the GRU's second bias
    batches: tuple[np.ndarray, np.ndarray, np.ndarray]  # inputs and targets int [K, T, B], reset bool [K]
    cell: str  # "tanh", "gru" or "lstm"
    optimizer: str  # "adagrad" or "adam"
    learning_rates: list[float]  # of the K steps of the chunk
    clip_value: float

    def __post_init__(self) -> None:
        """Begin with a copy of the parameters and the first batch."""
        self.params = {name: np.array(value) for name, value in self.params.items()}
        self.first, self.second = ({name: 0.0 * value for name, value in self.params.items()} for _ in range(2))
        self.steps, self.random, self.carry = 0, np.random.default_rng(0), self.zero_carry()

    def zero_carry(self, *lanes: int) -> Carry:
        """Return the carry before a text, entries [B, H], or [H] without `lanes`."""
        return (np.zeros((*lanes, len(self.params["Whh"]))),) * (2 if self.cell == "lstm" else 1)

    def train(self, steps: int) -> list[float]:
        """Train for `steps` steps; return their losses."""
        losses = []
        for _ in range(steps):
            inputs, targets, reset = (part[self.steps % len(part)] for part in self.batches)
            carry = self.zero_carry(inputs.shape[1]) if reset else self.carry
            loss, gradient, self.carry = self.loss_and_gradient(inputs, targets, carry)
            self.update(gradient)
            losses.append(loss)
        return losses

    def loss_and_gradient(
        self, inputs: np.ndarray, targets: np.ndarray, carry: Carry
    ) -> tuple[float, dict[str, np.ndarray], Carry]:
        """Return the loss of a batch [T, B], in nats summed over T and averaged over B, its gradient, and the carry."""
        steps, lanes = inputs.shape
        hidden, backwards, probabilities = [carry[0]], [], np.empty((steps, lanes, len(self.params["by"])))
        for t in range(steps):
            carry, probabilities[t], backward = self._step(inputs[t], carry)
            hidden.append(carry[0])
            backwards.append(backward)
        target = np.arange(steps)[:, None], np.arange(lanes), targets
        loss = -float(np.log(probabilities[target]).sum()) / lanes
        probabilities[target] -= 1
        probabilities /= lanes  # now the gradients of the logits
        gradient = {name: np.zeros_like(value) for name, value in self.params.items()}
        d_carry: Carry = tuple(np.zeros_like(entry) for entry in carry)
        for t in reversed(range(steps)):
            gradient["Why"] += np.dot(hidden[t + 1].T, probabilities[t])  # at B = 1, the operator @ takes twice as long
            gradient["by"] += probabilities[t].sum(axis=0)
            d_h = d_carry[0] + np.dot(probabilities[t], self.params["Why"].T)
            d_projected, d_recurrent, d_carry = backwards[t]((d_h, *d_carry[1:]))
            gradient["Whh"] += np.dot(hidden[t].T, d_recurrent)
            gradient["bh"] += d_projected.sum(axis=0)
            if "bhh" in gradient:
                gradient["bhh"] += d_recurrent.sum(axis=0)
            if lanes == 1:
                gradient["Wxh"][inputs[t, 0]] += d_projected[0]
            else:
                np.add.at(gradient["Wxh"], inputs[t], d_projected)  # lanes may share a character
            d_carry = (np.dot(d_recurrent, self.params["Whh"].T) + d_carry[0], *d_carry[1:])
        return loss, gradient, carry

    def _step(self, tokens: np.ndarray | int, carry: Carry) -> tuple[Carry, np.ndarray, Backward]:
        """Return the carry after tokens [B], or after one, the probabilities of the next [B, V], and the way back."""
        params = self.params
        recurrent = np.dot(carry[0], params["Whh"])
        if "bhh" in params:
            recurrent += params["bhh"]
        carry, backward = _CELLS[self.cell](params["Wxh"][tokens] + params["bh"], recurrent, carry)
        p = np.exp(np.dot(carry[0], params["Why"]) + params["by"])
        return carry, p / p.sum(axis=-1, keepdims=True), backward

    def update(self, gradient: dict[str, np.ndarray]) -> None:
        """Clip every entry of the gradient and move the parameters by Adagrad or Adam."""
        learning_rate = self.learning_rates[self.steps % len(self.learning_rates)]
        self.steps += 1
        for name, value in self.params.items():
            g = gradient[name]
            np.clip(g, -self.clip_value, self.clip_value, out=g)
            m, v = self.first[name], self.second[name]
            if self.optimizer == "adagrad":
                m += g * g
                value -= learning_rate * g / np.sqrt(m + 1e-8)
            else:
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                unbiased_m, unbiased_v = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
                value -= learning_rate * unbiased_m / (np.sqrt(unbiased_v) + 1e-8)

    def sample(self, length: int) -> tuple[list[int], float]:
        """Write `length` characters after character 0, from a zero carry; return them and their surprisal in nats."""
        carry, tokens, nats = self.zero_carry(), [0], 0.0
        for _ in range(length):
            carry, p, _ = self._step(tokens[-1], carry)
            tokens.append(int(self.random.choice(len(p), p=p)))  # as in the original
            nats -= float(np.log(p[tokens[-1]]))
        return tokens[1:], nats

"""min-char-rnn in NumPy, written from the formulas without jaxrnn: the reference that tests compare the core with.

The network, for one-hot x_t, t = 0 .. T-1, row vectors:

    a_t = Wxh[x_t] + h_{t-1} Whh + bh      h_t = tanh(a_t)
    y_t = h_t Why + by                     p_t = softmax(y_t)      loss = -sum_t ln p_t[target_t]

Its gradient, from the last step to the first, with delta_t = dloss/da_t and delta_T = 0:

    dy_t    = p_t - onehot(target_t)
    dh_t    = dy_t Why^T + delta_{t+1} Whh^T
    delta_t = dh_t * (1 - h_t^2)
    dWhy = sum_t outer(h_t, dy_t)     dby = sum_t dy_t
    dWhh = sum_t outer(h_{t-1}, delta_t)     dbh = sum_t delta_t     dWxh[x_t] += delta_t

As a program it trains on a text exactly as `jaxrnn train` does by default, samples included:

    python tests/oracle.py FILE --steps 40000 --seed 0
"""

import argparse
import math
from pathlib import Path

import numpy as np

NAMES = ("Wxh", "Whh", "bh", "Why", "by")


def init(rng, vocab_size, hidden_size=100):
    """Return normal weights times 0.01 and zero biases, float64."""
    V, H = vocab_size, hidden_size
    shapes = {"Wxh": (V, H), "Whh": (H, H), "bh": (H,), "Why": (H, V), "by": (V,)}
    return {name: 0.01 * rng.standard_normal(shape) * (len(shape) > 1) for name, shape in shapes.items()}


def softmax(y):
    e = np.exp(y - y.max())
    return e / e.sum()


def loss_and_gradient(params, inputs, targets, h):
    """Return the loss of one lane in nats over T steps, its gradient by name, and the last hidden state."""
    Wxh, Whh, bh, Why, by = (params[name] for name in NAMES)
    hidden, probabilities, loss = [h], [], 0.0
    for x, target in zip(inputs, targets, strict=True):
        hidden.append(np.tanh(Wxh[x] + hidden[-1] @ Whh + bh))
        probabilities.append(softmax(hidden[-1] @ Why + by))
        loss -= math.log(probabilities[-1][target])
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    delta = np.zeros_like(h)
    for t in reversed(range(len(inputs))):
        h_tm1, h_t = hidden[t], hidden[t + 1]
        dy = probabilities[t]
        dy[targets[t]] -= 1
        gradient["Why"] += np.outer(h_t, dy)
        gradient["by"] += dy
        delta = (dy @ Why.T + delta @ Whh.T) * (1 - h_t * h_t)
        gradient["Whh"] += np.outer(h_tm1, delta)
        gradient["bh"] += delta
        gradient["Wxh"][inputs[t]] += delta
    return loss, gradient, hidden[-1]


def sample(params, h, token, length, rng):
    """Draw `length` tokens; each is the next input."""
    Wxh, Whh, bh, Why, by = (params[name] for name in NAMES)
    tokens = []
    for _ in range(length):
        h = np.tanh(Wxh[token] + h @ Whh + bh)
        token = rng.choice(len(by), p=softmax(h @ Why + by))
        tokens.append(int(token))
    return tokens


class Trainer:
    """Reads a text, lane by lane, and updates with Adagrad on clipped gradients."""

    def __init__(self, tokens, params, sequence_length=25, lanes=1, learning_rate=0.1, clip=5.0):
        self.params = {name: value.copy() for name, value in params.items()}
        self.memory = {name: np.zeros_like(value) for name, value in params.items()}
        self.T, self.lanes, self.learning_rate, self.clip = sequence_length, lanes, learning_rate, clip
        size = len(tokens) // lanes
        self.texts = [tokens[lane * size : (lane + 1) * size] for lane in range(lanes)]
        self.position = None
        self.hidden = None
        self.smooth_loss = sequence_length * math.log(len(params["by"]))
        self.wraps = 0
        self.begin_step()

    def begin_step(self):
        """Start a new sweep if the text is at its end."""
        at_end = self.position is not None and self.position + self.T + 1 >= len(self.texts[0])
        if self.position is None or at_end:
            self.position, self.wraps = 0, self.wraps + at_end
            self.hidden = [np.zeros(len(self.params["bh"])) for _ in self.texts]

    def step(self):
        """Train on the next T characters of every lane; return the loss, nats, mean over the lanes."""
        self.begin_step()
        p, T = self.position, self.T
        loss, gradient = 0.0, dict.fromkeys(NAMES, 0.0)
        for lane, text in enumerate(self.texts):
            nats, g, self.hidden[lane] = loss_and_gradient(
                self.params, text[p : p + T], text[p + 1 : p + T + 1], self.hidden[lane]
            )
            loss += nats / self.lanes
            for name in NAMES:
                gradient[name] = gradient[name] + g[name] / self.lanes
        for name in NAMES:
            g = np.clip(gradient[name], -self.clip, self.clip)
            self.memory[name] += g * g
            self.params[name] -= self.learning_rate * g / np.sqrt(self.memory[name] + 1e-8)
        self.smooth_loss = 0.999 * self.smooth_loss + 0.001 * loss
        self.position += T
        return loss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    text = Path(arguments.file).read_bytes().decode("utf-8")
    symbols = sorted(set(text))
    place = {symbol: index for index, symbol in enumerate(symbols)}
    rng = np.random.default_rng(arguments.seed)
    trainer = Trainer([place[symbol] for symbol in text], init(rng, len(symbols)))

    def show(token, length=200):
        tokens = sample(trainer.params, trainer.hidden[0], token, length, rng)
        print("----\n" + "".join(symbols[token] for token in tokens) + "\n----")

    for step in range(arguments.steps):
        if step % 100 == 0:
            trainer.begin_step()
            show(trainer.texts[0][trainer.position])
            print(f"step {step}, smooth loss {trainer.smooth_loss:.4f}")
        trainer.step()
    trainer.begin_step()
    show(trainer.texts[0][trainer.position])
    print(f"step {arguments.steps}, smooth loss {trainer.smooth_loss:.4f}")


if __name__ == "__main__":
    main()

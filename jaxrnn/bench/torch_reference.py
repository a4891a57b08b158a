"""The same training step in PyTorch: nn.RNN, nn.GRU or nn.LSTM, its optimizer, its clipping.

The input takes the cheaper of two equal forms: a one-hot vector times `weight_ih`, or a row of an embedding of width
G*H with `weight_ih` the identity. `bias_hh` stays zero and is not trained, so that there is one bias per layer, except
in the GRU, whose new gate multiplies it by the reset gate.
"""

import timeit
from typing import Any

import numpy as np
import torch
from torch import nn

# Adagrad divides by sqrt(m) + eps in PyTorch and by sqrt(m + 1e-8) in jaxrnn: with these options the two are equal.
_OPTIMIZERS: dict[str, tuple[Any, dict[str, float]]] = {
    "adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 1e-8, "eps": 0.0}),
    "adam": (torch.optim.Adam, {}),
}


class Reference:
    """A training run over a chunk of batches, again and again."""

    def __init__(
        self,
        params: dict[str, np.ndarray],
        batches: tuple[np.ndarray, np.ndarray, np.ndarray],
        cell: str,
        optimizer: str,
        learning_rate: float,
        clip_value: float,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        """Begin with these parameters and the first batch of inputs int [K, T, B], targets and reset bool [K]."""
        if device != "cpu":
            torch.set_float32_matmul_precision("high")  # as in JAX there by default
        self.inputs, self.targets = (torch.as_tensor(part, dtype=torch.int64, device=device) for part in batches[:2])
        self.reset, self.clip_value, self.steps = batches[2], clip_value, 0
        self.carry: Any = None
        (vocab_size, width), options = params["Wxh"].shape, {"dtype": getattr(torch, dtype), "device": device}
        self.looks_up = width < vocab_size  # products of T*B*V*G*H against T*B*(G*H)^2
        input_size = width if self.looks_up else vocab_size
        self.rnn = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](input_size, len(params["Whh"]), **options)
        self.readout = nn.Linear(*params["Why"].shape, **options)
        # The row of an input token: of the weights, which `weight_ih` leaves as it is, or a one-hot vector.
        self.rows = nn.Parameter(torch.eye(vocab_size, input_size, **options))
        self.weights = {  # by jaxrnn's names and in its layout; they share the memory of the trained ones
            "Wxh": self.rows.detach() if self.looks_up else self.rnn.weight_ih_l0.detach().T,
            "Whh": self.rnn.weight_hh_l0.detach().T,
            "bh": self.rnn.bias_ih_l0.detach(),
            "bhh": self.rnn.bias_hh_l0.detach(),
            "Why": self.readout.weight.detach().T,
            "by": self.readout.bias.detach(),
        }
        self.rnn.weight_ih_l0.detach().copy_(torch.eye(width, input_size))
        self.rnn.bias_hh_l0.detach().zero_()
        for name, value in params.items():
            self.weights[name].copy_(torch.as_tensor(value))
        self.rows.requires_grad_(self.looks_up)
        self.rnn.weight_ih_l0.requires_grad_(not self.looks_up)
        self.rnn.bias_hh_l0.requires_grad_("bhh" in params)
        weights = (self.rows, *self.rnn.parameters(), *self.readout.parameters())
        self.trained = [weight for weight in weights if weight.requires_grad]
        kind, constants = _OPTIMIZERS[optimizer]
        try:  # the fastest, but not on every device and version
            self.optimizer = kind(self.trained, learning_rate, fused=True, **constants)
        except (RuntimeError, TypeError):
            self.optimizer = kind(self.trained, learning_rate, **constants)

    def train(self, steps: int) -> list[float]:
        """Train for `steps` steps; return their losses."""
        losses = []
        for _ in range(steps):
            k = self.steps % len(self.reset)
            if self.reset[k]:
                self.carry = None
            self.optimizer.zero_grad(set_to_none=True)
            hidden, carry = self.rnn(nn.functional.embedding(self.inputs[k], self.rows), self.carry)
            self.carry = tuple(entry.detach() for entry in carry) if isinstance(carry, tuple) else carry.detach()
            logits = self.readout(hidden).flatten(0, 1)
            loss = nn.functional.cross_entropy(logits, self.targets[k].flatten(), reduction="sum") / hidden.shape[1]
            loss.backward()
            nn.utils.clip_grad_value_(self.trained, self.clip_value)
            self.optimizer.step()
            self.steps += 1
            losses.append(loss.detach())
        return torch.stack(losses).tolist()  # waits for the device

    def choose_threads(self) -> int:
        """Return the number of threads from now on: as many as PyTorch would use, or one if that trains faster."""
        seconds = {}
        for threads in {torch.get_num_threads(), 1}:
            torch.set_num_threads(threads)
            self.train(2)
            seconds[threads] = min(timeit.repeat(lambda: self.train(1), number=1, repeat=5))
        fastest = min(seconds, key=seconds.__getitem__)
        torch.set_num_threads(fastest)
        return fastest

"""The same training step in PyTorch: nn.RNN, nn.GRU or nn.LSTM, its optimizer, its clipping.

The input takes the cheaper of two equal forms: a one-hot vector times `weight_ih`, or a row of an embedding of width
G*H with `weight_ih` the identity. `bias_hh` stays zero and is not trained, so that there is one bias per layer, except
in the GRU, whose new gate multiplies it by the reset gate.
"""

import time
from typing import Any

import numpy as np
import torch
from torch import nn

# Adagrad divides by sqrt(m) + eps here and by sqrt(m + 1e-8) in ours: this eps keeps the two nearest over all m, within
# 27 % of each other where m is 1e-8 or less, and equal for practical purposes where m is large.
_ADAGRAD_EPS = 0.786e-4


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
        self.device, self.dtype, self.clip_value = torch.device(device), getattr(torch, dtype), clip_value
        if device != "cpu":
            torch.set_float32_matmul_precision("high")  # as in JAX there by default
        inputs, targets, self.reset = batches
        self.inputs, self.targets = (
            torch.as_tensor(part, dtype=torch.int64, device=self.device) for part in (inputs, targets)
        )
        self.lanes, self.steps, self.carry = inputs.shape[2], 0, None
        self._build(params, cell)
        self.trained = [weight for weight, _ in self.weights.values()]
        self.optimizer = _make_optimizer(optimizer, self.trained, learning_rate)

    def _build(self, params: dict[str, np.ndarray], cell: str) -> None:
        vocab_size, width = params["Wxh"].shape
        options = {"dtype": self.dtype, "device": self.device}
        self.looks_up = width < vocab_size  # products of T*B*V*G*H against T*B*(G*H)^2
        input_size = width if self.looks_up else vocab_size
        self.rnn = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](input_size, len(params["Whh"]), **options)
        self.readout = nn.Linear(*params["Why"].shape, **options)
        # The row of an input token: of the weights, which `weight_ih` leaves as it is, or a one-hot vector.
        self.rows = nn.Parameter(torch.eye(vocab_size, input_size, **options), requires_grad=self.looks_up)
        # The trained weights by jaxrnn's names, and whether they are transposed.
        self.weights: dict[str, tuple[Any, bool]] = {
            "Wxh": (self.rows, False) if self.looks_up else (self.rnn.weight_ih_l0, True),
            "Whh": (self.rnn.weight_hh_l0, True),
            "bh": (self.rnn.bias_ih_l0, False),
            **({"bhh": (self.rnn.bias_hh_l0, False)} if "bhh" in params else {}),
            "Why": (self.readout.weight, True),
            "by": (self.readout.bias, False),
        }
        with torch.no_grad():
            self.rnn.weight_ih_l0.copy_(torch.eye(width, input_size))
            self.rnn.bias_hh_l0.zero_()
            for name, (weight, transposed) in self.weights.items():
                weight.copy_(torch.as_tensor(params[name].T if transposed else params[name]))
        self.rnn.weight_ih_l0.requires_grad_(not self.looks_up)
        self.rnn.bias_hh_l0.requires_grad_("bhh" in params)

    def named(self, gradient: bool = False) -> dict[str, np.ndarray]:
        """Return the parameters, or their gradient, in jaxrnn's names and layout."""
        arrays = {
            name: (weight.grad if gradient else weight.detach()).double().cpu().numpy()
            for name, (weight, _) in self.weights.items()
        }
        return {name: array.T if self.weights[name][1] else array for name, array in arrays.items()}

    def _loss_and_carry(self, inputs: torch.Tensor, targets: torch.Tensor, carry: Any) -> tuple[torch.Tensor, Any]:
        hidden, carry = self.rnn(nn.functional.embedding(inputs, self.rows), carry)
        logits = self.readout(hidden).flatten(0, 1)
        nats = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum") / self.lanes
        return nats, tuple(entry.detach() for entry in carry) if isinstance(carry, tuple) else carry.detach()

    def train(self, steps: int) -> list[float]:
        """Train for `steps` steps; return their losses."""
        losses = []
        for _ in range(steps):
            place = self.steps % len(self.reset)
            if self.reset[place]:
                self.carry = None
            self.optimizer.zero_grad(set_to_none=True)
            loss, self.carry = self._loss_and_carry(self.inputs[place], self.targets[place], self.carry)
            loss.backward()
            nn.utils.clip_grad_value_(self.trained, self.clip_value)
            self.optimizer.step()
            self.steps += 1
            losses.append(loss.detach())
        return torch.stack(losses).tolist()  # waits for the device

    def choose_threads(self) -> int:
        """Train for a moment with as many threads as PyTorch would use and with one; keep and return the faster."""
        seconds = {}
        for threads in {torch.get_num_threads(), 1}:
            torch.set_num_threads(threads)
            self.train(2)
            times: list[float] = []
            while len(times) < 3 or (sum(times) < 0.2 and len(times) < 100):
                begin = time.perf_counter()
                self.train(1)
                times.append(time.perf_counter() - begin)
            seconds[threads] = float(np.median(times))
        fastest = min(seconds, key=seconds.__getitem__)
        torch.set_num_threads(fastest)
        return fastest


def _make_optimizer(name: str, weights: list[Any], learning_rate: float) -> Any:
    options = {"adagrad": {"eps": _ADAGRAD_EPS}, "adam": {}}[name]
    kind = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[name]
    try:
        return kind(weights, learning_rate, fused=True, **options)  # the fastest, but not on every device and version
    except (RuntimeError, TypeError):
        return kind(weights, learning_rate, **options)

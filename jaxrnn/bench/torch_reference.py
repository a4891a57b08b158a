"""The same training step in PyTorch: nn.RNN, nn.GRU or nn.LSTM, its optimizer, its clipping; eager or compiled.

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
        compiled: bool = False,
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
        self.trained = [weight for weight in self.parameters() if weight.requires_grad]
        self.optimizer = _make_optimizer(optimizer, self.trained, learning_rate)
        self.loss_and_carry = torch.compile(self._loss_and_carry) if compiled else self._loss_and_carry

    def _build(self, params: dict[str, np.ndarray], cell: str) -> None:
        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.tensor(array, dtype=self.dtype, device=self.device)

        vocab_size, width = params["Wxh"].shape
        self.looks_up = width < vocab_size  # products of T*B*V*G*H against T*B*(G*H)^2
        kind = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        options = {"dtype": self.dtype, "device": self.device}
        self.rnn = kind(width if self.looks_up else vocab_size, len(params["Whh"]), **options)
        self.readout = nn.Linear(*params["Why"].shape, **options)
        # What an input token is looked up in: the weights themselves, or one-hot vectors.
        rows = tensor(params["Wxh"]) if self.looks_up else torch.eye(vocab_size, **options)
        self.rows = nn.Parameter(rows, requires_grad=self.looks_up)
        weight_ih = torch.eye(width, **options) if self.looks_up else tensor(params["Wxh"].T)
        with torch.no_grad():
            self.rnn.weight_ih_l0.copy_(weight_ih)
            self.rnn.weight_hh_l0.copy_(tensor(params["Whh"].T))
            self.rnn.bias_ih_l0.copy_(tensor(params["bh"]))
            self.rnn.bias_hh_l0.copy_(tensor(params.get("bhh", np.zeros_like(params["bh"]))))
            self.readout.weight.copy_(tensor(params["Why"].T))
            self.readout.bias.copy_(tensor(params["by"]))
        self.rnn.weight_ih_l0.requires_grad_(not self.looks_up)
        self.rnn.bias_hh_l0.requires_grad_("bhh" in params)

    def parameters(self) -> list[Any]:
        """Return every weight, trained or not."""
        return [self.rows, *self.rnn.parameters(), *self.readout.parameters()]

    def named(self, gradient: bool = False) -> dict[str, np.ndarray]:
        """Return the parameters, or their gradient, in jaxrnn's names and layout."""

        def array(weight: Any) -> np.ndarray:
            return (weight.grad if gradient else weight.detach()).double().cpu().numpy()

        two_biases = self.rnn.bias_hh_l0.requires_grad
        return {
            "Wxh": array(self.rows) if self.looks_up else array(self.rnn.weight_ih_l0).T,
            "Whh": array(self.rnn.weight_hh_l0).T,
            "bh": array(self.rnn.bias_ih_l0),
            **({"bhh": array(self.rnn.bias_hh_l0)} if two_biases else {}),
            "Why": array(self.readout.weight).T,
            "by": array(self.readout.bias),
        }

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
            loss, self.carry = self.loss_and_carry(self.inputs[place], self.targets[place], self.carry)
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

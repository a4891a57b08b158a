"""The same training step in PyTorch: nn.RNN, nn.GRU or nn.LSTM, its optimizer, its clipping.

The input takes the cheaper of two equal forms: a one-hot vector times `weight_ih`, or a row of an embedding of width
G*H with `weight_ih` the identity. `bias_hh` stays zero and is not trained, so that a layer has one bias, except in
the GRU, whose new gate multiplies it by the reset gate.
"""

import timeit
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn


class Reference:
    """A training run over a chunk of batches, again and again."""

    def __init__(
        self,
        params: dict[str, np.ndarray],
        batches: tuple[np.ndarray, np.ndarray, np.ndarray],
        cell: str,
        optimizer: str,
        learning_rates: list[float],
        clip_value: float,
        numbers: dict[str, float],
        dtype: str = "float32",
        device: str = "cpu",
        autocast: bool = False,
        rounds: bool = False,
    ) -> None:
        """Begin with these parameters and the first batch of inputs int [K, T, B], targets and reset bool [K].

        `numbers` are beta1, beta2, rms_decay, momentum and decay (of weights); `autocast` rounds products to bfloat16,
        `rounds` those of float32 to TensorFloat-32, where the device can.
        """
        torch.set_float32_matmul_precision("high" if rounds else "highest")
        torch.backends.cudnn.allow_tf32 = rounds
        self.inputs, self.targets = (torch.as_tensor(part, dtype=torch.int64, device=device) for part in batches[:2])
        self.reset, self.learning_rates, self.clip_value, self.steps = batches[2], learning_rates, clip_value, 0
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=autocast)
        self.carry: Any = None
        (vocab_size, width), options = params["Wxh"].shape, {"dtype": getattr(torch, dtype), "device": device}
        self.looks_up = width < vocab_size  # products of T*B*V*G*H against T*B*(G*H)^2
        input_size = width if self.looks_up else vocab_size
        layers = sum(name.startswith("Wxh") for name in params)
        kinds: Any = {"tanh": nn.RNN, "relu": partial(nn.RNN, nonlinearity="relu"), "gru": nn.GRU, "lstm": nn.LSTM}
        self.rnn = kinds[cell](input_size, len(params["Whh"]), layers, **options)
        self.readout = nn.Linear(*params["Why"].shape, **options)
        # The row of an input token: of the weights, which `weight_ih` leaves as it is, or a one-hot vector.
        self.rows = nn.Parameter(torch.eye(vocab_size, input_size, **options))
        # By jaxrnn's names and in its layout; they share the memory of the trained ones.
        self.weights = {"Why": self.readout.weight.detach().T, "by": self.readout.bias.detach()}
        for index in range(layers):
            ours = f"_l{index}" if index else ""
            for name, theirs in (("Wxh", "weight_ih"), ("Whh", "weight_hh"), ("bh", "bias_ih"), ("bhh", "bias_hh")):
                self.weights[name + ours] = getattr(self.rnn, f"{theirs}_l{index}").detach().t()
            bias_hh = getattr(self.rnn, f"bias_hh_l{index}")
            bias_hh.detach().zero_()
            bias_hh.requires_grad_("bhh" in params)
        if self.looks_up:
            self.weights["Wxh"] = self.rows.detach()
            self.rnn.weight_ih_l0.detach().copy_(torch.eye(width))
        for name, value in params.items():
            self.weights[name].copy_(torch.as_tensor(value))
        self.rows.requires_grad_(self.looks_up)
        self.rnn.weight_ih_l0.requires_grad_(not self.looks_up)
        weights = (self.rows, *self.rnn.parameters(), *self.readout.parameters())
        self.trained = [weight for weight in weights if weight.requires_grad]
        self.optimizer = _optimizer(self.trained, optimizer, numbers)

    def train(self, steps: int) -> list[float]:
        """Train for `steps` steps; return their losses."""
        losses = []
        for _ in range(steps):
            k = self.steps % len(self.reset)
            if self.reset[k]:
                self.carry = None
            self.optimizer.zero_grad(set_to_none=True)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rates[k]
            with self.autocast:
                hidden, carry = self.rnn(nn.functional.embedding(self.inputs[k], self.rows), self.carry)
                logits = self.readout(hidden).flatten(0, 1).to(self.rows.dtype)  # else a sum of many is rounded too
            self.carry = tuple(entry.detach() for entry in carry) if isinstance(carry, tuple) else carry.detach()
            loss = nn.functional.cross_entropy(logits, self.targets[k].flatten(), reduction="sum") / hidden.shape[1]
            loss.backward()
            nn.utils.clip_grad_value_(self.trained, self.clip_value)
            self.optimizer.step()
            self.steps += 1
            losses.append(loss.detach())
        return torch.stack(losses).tolist()  # waits for the device

    def choose_threads(self) -> int:
        """Set and return the number of threads that trains fastest, of 1, 2, 4, ... up to PyTorch's own."""
        seconds, most = {}, torch.get_num_threads()
        for threads in sorted({2**power for power in range(most.bit_length())} | {most}):
            torch.set_num_threads(threads)
            self.train(2)
            seconds[threads] = min(timeit.repeat(lambda: self.train(1), number=1, repeat=5))
        fastest = min(seconds, key=seconds.__getitem__)
        torch.set_num_threads(fastest)
        return fastest


def _optimizer(trained: list[Any], name: str, numbers: dict[str, float]) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay is for matrices only, as in jaxrnn."""
    adam: dict[str, Any] = {"betas": (numbers["beta1"], numbers["beta2"]), "weight_decay": numbers["decay"]}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        # Adagrad divides by sqrt(m) + eps in PyTorch and by sqrt(m + 1e-8) in jaxrnn: with these two they are equal.
        "adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 1e-8, "eps": 0.0}),
        "adam": (torch.optim.AdamW, adam),
        "adamw": (torch.optim.AdamW, adam),
        "rmsprop": (torch.optim.RMSprop, {"alpha": numbers["rms_decay"]}),
        "sgd": (torch.optim.SGD, {"momentum": numbers["momentum"]}),
    }
    kind, constants = kinds[name]
    matrices, vectors = ([weight for weight in trained if (weight.ndim > 1) == matrix] for matrix in (True, False))
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    fused = None if name == "adagrad" and trained[0].device.type != "cpu" else True  # it would fail at its first step
    try:  # the fastest, but not on every device and version
        return kind(groups, fused=fused, **constants)
    except (RuntimeError, TypeError):
        return kind(groups, **constants)

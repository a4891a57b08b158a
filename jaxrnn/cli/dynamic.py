"""The flags of dynamic evaluation, which `evaluate` and `sample` share."""

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import jaxrnn
from jaxrnn.cli.arguments import training_slice
from jaxrnn.errors import JaxrnnError

if TYPE_CHECKING:
    from optax import GradientTransformation

    from jaxrnn.evaluation.dynamic import Dynamic


@dataclasses.dataclass(frozen=True)
class DynamicFlags:
    """Let the network learn as it reads (Krause et al. 2018)."""

    dynamic: bool = False
    """Learn while reading: score T symbols, then train on them. RUN itself is not changed."""
    dynamic_rule: Literal["rms", "sgd"] = "rms"
    """Update rule. rms: gradients divided by their root mean square over training text; sgd: plain gradients."""
    dynamic_rate: Annotated[float | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Learning rate; by default chosen on training text."""
    dynamic_decay: Annotated[float | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Fraction of the way back to the trained parameters, per update; by default chosen on training text."""
    dynamic_length: Annotated[int | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Symbols per update (T); by default 16 with rms, 32 with sgd."""

    @property
    def chosen(self) -> str:
        """A clause that names what `choose` chooses."""
        numbers = {"rate": self.dynamic_rate, "decay": self.dynamic_decay}
        names = " and ".join(name for name, value in numbers.items() if value is None)
        return f"; {names} chosen on training text" if names else ""

    def choose(
        self, checkpoint: "jaxrnn.Checkpoint", *, scores_training: bool = False
    ) -> "tuple[Dynamic, GradientTransformation] | None":
        """Return how to learn, or None; what is not given is chosen on the text that the run was trained on.

        Raises JaxrnnError if that text is also to be scored: nothing may be chosen on the text that is scored.
        """
        import numpy as np

        from jaxrnn.evaluation.dynamic import choose_rule

        rate, decay, length = self.dynamic_rate, self.dynamic_decay, self.dynamic_length
        if not self.dynamic:
            if self != DynamicFlags():
                raise JaxrnnError("the flags --dynamic-... need --dynamic; give it too")
            return None
        largest = 3.4e38  # float32 holds no more
        ranges = ("rate", rate, 0, largest), ("decay", decay, 0, largest), ("length", length, 1, 2**31 - 1)
        for flag, value, least, most in ranges:
            if value is not None and not least <= value <= most:
                raise JaxrnnError(f"--dynamic-{flag} must be from {least} to {most}, got {value}")
        if self.chosen and scores_training:
            raise JaxrnnError(
                "the training text is scored here, and --dynamic must not choose on the text that it scores; give "
                "--dynamic-rate and --dynamic-decay, or another text as FILE"
            )
        needs_text = self.chosen or self.dynamic_rule == "rms"
        part = training_slice(checkpoint, "--dynamic") if needs_text else jaxrnn.Slice("train", 0, 0, np.zeros(0, int))
        if self.chosen and sys.stderr.isatty():
            print("choosing how fast to learn, on training text", file=sys.stderr)
        numbers: dict[str, Any] = {"rate": rate, "decay": decay, "length": length}
        params, model = checkpoint.state.params, checkpoint.config.model
        return choose_rule(params, part.tokens, model, rule=self.dynamic_rule, starts=part.starts, **numbers)


DYNAMIC = tyro.conf.arg(name="dynamic evaluation", help="Let the network learn as it reads (Krause et al. 2018).")

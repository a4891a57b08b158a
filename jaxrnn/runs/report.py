"""What the training loop tells of a moment between two steps."""

import dataclasses

from jaxrnn.config import TrainConfig
from jaxrnn.config.reprs import of_fields
from jaxrnn.runs.validation import Best
from jaxrnn.training.step import TrainState


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `fit` tells between two training steps.

    Attributes:
        step: training steps done.
        loss: of the last batch, nats per T characters; None before the first step.
        smooth_loss: its running mean, nats per T characters.
        bits_per_character: the smooth loss in bits per character.
        seconds: since `fit` began (the first chunk compiles, which takes a second or two of them); of a run that was
            resumed also those up to the checkpoint that it went on from.
        sample: what the network writes now; None where no sample is due.
        validation_loss: on the validation slice, nats per character; None where no validation is due.
        best: the best validation so far; None before the first.
        finished: whether the run is over: all steps are done, or `patience` validations brought nothing better.
        config: the run's configuration with what the corpus gives: `config.model` is the network's.
        state: the state after `step` steps. The next step reuses its memory: copy what you keep beyond this report
            (`jax.tree.map(jnp.copy, report.state.params)`); the last report's state stays.
    """

    step: int
    loss: float | None
    smooth_loss: float
    bits_per_character: float
    seconds: float
    sample: str | None
    validation_loss: float | None
    best: Best | None
    finished: bool
    config: TrainConfig
    state: TrainState

    def __repr__(self) -> str:
        """Give what there is to tell, but for the configuration and the state."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del told["config"], told["state"]
        return of_fields(self, **told)


def sample_title(report: Report) -> str:
    """Return the line above a sample."""
    return (
        f"---- step {report.step}, smooth loss {report.smooth_loss:.4f}, {report.bits_per_character:.4f} bits/char ----"
    )

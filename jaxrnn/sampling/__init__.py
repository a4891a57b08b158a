"""Drawing tokens from the network, and text from tokens."""

from jaxrnn.sampling.generate import write, write_many
from jaxrnn.sampling.sample import sample

__all__ = ["sample", "write", "write_many"]

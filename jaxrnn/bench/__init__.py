"""Step time under jit, against references that do the same work and against the machine's own limits."""

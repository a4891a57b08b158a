"""The errors that a user can cause; the command line prints their message and ends with their exit code."""


class JaxrnnError(ValueError):
    """A mistake of the user: the message says what was expected, what was given, and what to do."""

    exit_code = 2


class StorageError(JaxrnnError):
    """A file could not be written."""

    exit_code = 1


class TakenError(JaxrnnError):
    """The run directory already holds a run, or another process trains in it."""


class CheckpointError(JaxrnnError):
    """The checkpoint can't be used: it is damaged, can't be read now, or is of another version, cell or optimizer."""

    exit_code = 3


class DamagedError(CheckpointError):
    """The checkpoint can be read, but it is incomplete or its SHA-256 differs."""


class NonFiniteError(JaxrnnError):
    """The loss or the parameters became infinite or NaN."""

    exit_code = 4

"""The one class of errors that a user can cause; the command line turns it into a line and an exit code."""


class JaxrnnError(ValueError):
    """A user's mistake: the message says what was expected, what was got, and what to do."""

    exit_code = 2


class StorageError(JaxrnnError):
    """The disk would not take what a run has to keep."""

    exit_code = 1


class TakenError(JaxrnnError):
    """A run directory that holds a run already, or in which somebody trains."""


class CheckpointError(JaxrnnError):
    """A checkpoint that can't be used: damaged, incomplete, or of another format."""

    exit_code = 3


class NonFiniteError(JaxrnnError):
    """The loss or the parameters became infinite or not a number."""

    exit_code = 4

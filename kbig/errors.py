"""What kbig raises: a caller's mistake, or a gate that did not hold."""

import os
import pathlib

_REMEDY = (
    "Make room there, or pass a path that is free and can be written; "
    "temporary files go where TMPDIR says."
)


class KbigError(Exception):
    """Base of every error that kbig raises on purpose."""


class UsageError(KbigError, ValueError):
    """The caller's mistake: the command line prints it and exits with 2.

    The message says what was wrong, what was expected, what was received
    and what to do about it.
    """


class DataError(UsageError):
    """Data that cannot be used; the message names the file and the row."""


class WriteError(UsageError):
    """No room, no right to write, or something in the way.

    Args:
        path: what could not be written.
        reason: in the words of the system.
        left: a sentence about what is there now.
    """

    def __init__(self, path: str | os.PathLike, reason: str, left: str = ""):
        self.path = pathlib.Path(path)
        self.reason = reason
        self.left = left
        said = [f"Cannot write into {path}: {reason}.", left, _REMEDY]
        super().__init__(" ".join(filter(None, said)))


class ServingError(KbigError):
    """A server gave no answer, or a useless one: the command exits with 1."""


class GateError(KbigError):
    """It ran and a gate failed: the command line exits with 1.

    Args:
        message: what was measured and what it had to be.
        report: the report of the action that failed, with every number.
    """

    def __init__(self, message: str, report=None):
        super().__init__(message)
        self.report = report

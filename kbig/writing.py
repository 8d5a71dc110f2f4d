"""What cannot be written, said in one line that names the path."""

import contextlib
import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

from kbig.errors import WriteError

_OF_WRITING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)
# Of a rename to a final name, where something else is.
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)

_REASON = "|".join(re.escape(os.strerror(x)) for x in _OF_WRITING)
_BY_PYTHON = re.compile(
    rf"\[Errno \d+\] (?P<reason>{_REASON})(: '(?P<path>[^']+)')?"
)
_BY_TENSORFLOW = re.compile(
    rf"(^|\s)(?P<path>/[^;]*); (?P<reason>{_REASON})( \[Op:|$)"
)


def write_error(
    error: Exception,
    path: str | os.PathLike,
    aside: str | os.PathLike | None = None,
) -> WriteError | None:
    """Finds out whether an error is that something cannot be written.

    Args:
        error: of the system, or of TensorFlow.
        path: what was being written; it counts where the error names none.
        aside: the file or folder that stands for it until it is renamed.

    Returns:
        The same as a WriteError, None for an error of another kind.

    Example:
    ```python
    write_error(OSError(errno.ENOSPC, "No space left on device"), "models")
    ```
    """
    if isinstance(error, WriteError):
        failed = error
    elif isinstance(error, OSError):
        failed = _of_system(error, path)
    else:
        failed = said_error(str(getattr(error, "message", "")), path)
    if failed and aside and failed.path.is_relative_to(aside):
        return WriteError(path, failed.reason, failed.left)
    return failed


def _of_system(error: OSError, path) -> WriteError | None:
    renamed_to = error.filename2
    if error.errno in _OF_WRITING or (
        error.errno in _IN_THE_WAY and renamed_to
    ):
        named = renamed_to or error.filename
        # What was opened by a descriptor is named by a number.
        named = path if named is None or isinstance(named, int) else named
        return WriteError(os.fsdecode(named), os.strerror(error.errno))
    return None


def said_error(text: str, path: str | os.PathLike) -> WriteError | None:
    """Finds the same in what Python or TensorFlow printed of an error.

    Args:
        text: a line.
        path: what was being written; it counts where the line names none.

    Returns:
        A WriteError, None for a line that says something else.
    """
    found = _BY_PYTHON.search(text) or _BY_TENSORFLOW.search(text)
    if found is None:
        return None
    return WriteError(found["path"] or path, found["reason"])


@contextlib.contextmanager
def writing(
    path: str | os.PathLike, aside: str | os.PathLike | None = None
) -> Iterator[None]:
    """Turns what the system says inside into a WriteError.

    Args:
        path: what is written inside; errors of another path name that.
        aside: the file or folder that stands for it until it is renamed.

    Returns:
        A context manager.

    Raises:
        WriteError: no room, no right to write, or something in the way.

    Example:
    ```python
    with writing("notes.txt"):
        pathlib.Path("notes.txt").write_text("Learning rate halved.")
    ```
    """
    try:
        yield
    except Exception as error:
        failed = write_error(error, path, aside)
        if failed is None or failed is error:
            raise
        raise failed from error


def make_directory(directory: pathlib.Path) -> None:
    """Makes a directory and its parents; a WriteError says why not."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(directory, error.strerror) from error


@contextlib.contextmanager
def scratch() -> Iterator[pathlib.Path]:
    """Yields a temporary folder, removed at the end.

    It is on another disk than what is exported, as a rule: when that is full,
    the error should name it.

    Returns:
        A context manager of the folder's path.

    Raises:
        WriteError: it cannot be made, or fills up.
    """
    try:
        folder = tempfile.TemporaryDirectory(
            prefix="kbig-", ignore_cleanup_errors=True
        )
    except OSError as error:
        where = error.filename or "a temporary directory"
        raise WriteError(where, error.strerror) from error
    with folder, writing(folder.name):
        yield pathlib.Path(folder.name)

"""Write aside, verify, rename: nothing half-made under a final name."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from kbig.errors import UsageError

_OF_WRITING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)

# What the names of hidden folders begin with.
PART = ".part-"


@contextlib.contextmanager
def staging(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new hidden folder inside `directory`, removed at the end.

    What should stay is renamed out of it: on one file system a rename is
    atomic.

    Args:
        directory: where the final names will be, made when missing.

    Returns:
        A context manager of the hidden folder's path.

    Raises:
        UsageError: the directory cannot be made or written, also when its
            disk fills up meanwhile.

    Example:
    ```python
    with staging(pathlib.Path("models")) as aside:
        (aside / "m.tflite").write_bytes(content)
        publish_file(aside / "m.tflite", pathlib.Path("models"))
    ```
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = pathlib.Path(tempfile.mkdtemp(prefix=PART, dir=directory))
    except OSError as error:
        raise _cannot_write(directory, error.strerror) from error
    try:
        yield aside
    except Exception as error:
        reason = _failed_write(error, aside)
        if not reason:
            raise
        raise _cannot_write(directory, reason) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _cannot_write(directory: pathlib.Path, reason: str) -> UsageError:
    return UsageError(
        f"Cannot write into {directory}: {reason}. Nothing was left there. "
        "Pass a directory that can be written and has room."
    )


def _failed_write(error: Exception, aside: pathlib.Path) -> str:
    """Why `aside` could not be written; empty for an error of another kind."""
    if isinstance(error, OSError):
        return error.strerror if error.errno in _OF_WRITING else ""
    message = str(getattr(error, "message", ""))
    if str(aside) not in message:
        return ""
    # TensorFlow says the path, then the system's reason, then the op.
    reason = message.rpartition("; ")[2].partition(" [Op:")[0]
    known = [os.strerror(number) for number in _OF_WRITING]
    return reason if reason in known else ""


def publish_version(folder: pathlib.Path, base: pathlib.Path) -> pathlib.Path:
    """Renames `folder` to the next free `base/<version>`, atomically.

    Versions are 1, 2, ... and none is ever replaced: when another process
    takes the number first, the rename fails and the next one is tried.

    Args:
        folder: what to publish, on the file system of `base`.
        base: the folder of one served model's versions.

    Returns:
        The final path.

    Raises:
        OSError: the rename failed though the version is free.
    """
    version = latest_version(base) + 1
    while True:
        target = base / str(version)
        try:
            os.rename(folder, target)
            return target
        except OSError:
            if not target.exists():
                raise
            version += 1


def publish_file(file: pathlib.Path, directory: pathlib.Path) -> pathlib.Path:
    """Renames `file` into `directory`, in place of one of the same name.

    Args:
        file: what to publish, on the file system of `directory`.
        directory: where to.

    Returns:
        The final path.
    """
    target = directory / file.name
    os.replace(file, target)
    return target


def latest_version(base: pathlib.Path) -> int:
    """Finds the highest version of a served model.

    Args:
        base: the folder of its versions.

    Returns:
        The number, 0 when there is none; other names are passed over.
    """
    return max(
        (int(p.name) for p in base.iterdir() if p.name.isdecimal()), default=0
    )

"""Files of numbered steps: written aside, the newest that can be read."""

import os
import pathlib
import re
import warnings
import zipfile
from collections.abc import Mapping

import numpy as np

from kbig.errors import UsageError

_KEPT = 2
_NAME = "step-{:09d}.npz"
_PATTERN = re.compile(r"step-(\d{9,})\.npz")


def read_newest(directory: pathlib.Path) -> dict[str, np.ndarray] | None:
    """Reads the file of the last step that can be read, without pickle.

    Args:
        directory: that `write_step` wrote to; need not exist.

    Returns:
        Arrays by name, or None where there is no file.

    Raises:
        UsageError: when there are files, and none can be read.

    Example:
    ```python
    read_newest(pathlib.Path("runs/first/resume"))
    ```
    """
    files = _files(directory)
    for path in reversed(files):
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(
                f"{path} cannot be read and is passed over: {error}",
                stacklevel=3,
            )
    if files:
        raise UsageError(
            f"No file in {directory} can be read. Received: "
            f"{[path.name for path in files]}. Delete them to begin anew."
        )
    return None


def write_step(
    directory: pathlib.Path, step: int, arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes a file whole or not at all; the two newest stay.

    Args:
        directory: made where it is missing.
        step: the file's number.
        arrays: what to write, by name.

    Example:
    ```python
    write_step(pathlib.Path("resume"), 100, {"step": np.int64(100)})
    ```
    """
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / ".part.npz"
    with open(aside, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, directory / _NAME.format(step))
    for old in _files(directory)[:-_KEPT]:
        old.unlink()


def _files(directory) -> list[pathlib.Path]:
    """Oldest first."""
    found = (p for p in directory.glob("step-*") if _PATTERN.fullmatch(p.name))
    return sorted(found, key=lambda path: int(_PATTERN.match(path.name)[1]))

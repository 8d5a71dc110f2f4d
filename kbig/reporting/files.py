"""Writing a file in one step."""

import contextlib
import os
import pathlib
import uuid

from kbig.errors import UsageError
from kbig.writing import make_directory
from kbig.writing import writing


def write_text(path: str | os.PathLike, text: str) -> pathlib.Path:
    """Writes a text file aside and renames it, so no reader sees half of it.

    Args:
        path: the file to write or replace; missing directories are made.
        text: its content, written as UTF-8.

    Returns:
        The path written.

    Raises:
        UsageError: if `path` is a directory, or cannot be written.

    Example:
        ```python
        write_text("runs/first/notes.txt", "Learning rate halved.")
        ```
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UsageError(
            "The path to write must name a file, and it is a directory. "
            f"Received: path={os.fspath(path)!r}. Add a file name to it."
        )
    make_directory(path.parent)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with writing(path, aside):
            _write(aside, text)
            os.replace(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return path


def _write(aside: pathlib.Path, text: str) -> None:
    # Texts out of data sets may hold lone surrogates, which have no UTF-8.
    aside.write_text(
        text, encoding="utf-8", errors="backslashreplace", newline="\n"
    )

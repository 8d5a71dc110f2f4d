"""Write aside, verify, rename: nothing half-made under a final name."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from kbig.errors import WriteError
from kbig.export.leftovers import in_use
from kbig.export.leftovers import remove
from kbig.export.leftovers import remove_abandoned
from kbig.writing import make_directory
from kbig.writing import write_error

# What the names of hidden folders begin with.
PART = ".part-"


@contextlib.contextmanager
def staging(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new hidden folder inside `directory`, removed at the end.

    What should stay is renamed out of it: on one file system a rename is
    atomic. Folders that killed processes left there are removed first.

    Args:
        directory: where the final names will be, made when missing.

    Returns:
        A context manager of the hidden folder's path.

    Raises:
        WriteError: the directory cannot be made or written, also when its
            disk fills up meanwhile, or that of another path that it names.

    Example:
    ```python
    with staging(pathlib.Path("models")) as aside:
        (aside / "m.tflite").write_bytes(content)
        publish_file(aside / "m.tflite", pathlib.Path("models"))
    ```
    """
    make_directory(directory)
    remove_abandoned(directory, PART)
    try:
        aside = pathlib.Path(tempfile.mkdtemp(prefix=PART, dir=directory))
    except OSError as error:
        raise WriteError(directory, error.strerror) from error
    with in_use(aside):
        try:
            yield aside
        except Exception as error:
            failed = write_error(error, directory, aside)
            if failed is None or failed.left:
                raise
            left = f"Nothing was left in {directory}."
            raise WriteError(failed.path, failed.reason, left) from error
        finally:
            remove(aside)


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

"""Write aside, verify, rename: nothing half-made under a final name."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from kbig.errors import UsageError


@contextlib.contextmanager
def staging(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new hidden folder inside `directory`, removed at the end.

    What should stay is renamed out of it: on one file system a rename is
    atomic.

    Raises:
        UsageError: the directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=directory))
    except OSError as error:
        raise UsageError(
            f"Cannot write into {directory}: {error.strerror}. Pass a "
            "directory that can be written."
        ) from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def publish_version(folder: pathlib.Path, base: pathlib.Path) -> pathlib.Path:
    """Renames `folder` to the next free `base/<version>`, atomically.

    Versions are 1, 2, ... and none is ever replaced: when another process
    takes the number first, the rename fails and the next one is tried.
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
    """Renames `file` into `directory`, in place of one of the same name."""
    target = directory / file.name
    os.replace(file, target)
    return target


def latest_version(base: pathlib.Path) -> int:
    """Returns the highest version under `base`, 0 when there is none."""
    return max(
        (int(p.name) for p in base.iterdir() if p.name.isdecimal()), default=0
    )

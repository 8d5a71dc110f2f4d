"""Hidden folders of killed processes, told from those in use by a lock.

The lock is the kernel's, on a file in the folder: it ends with the process
that holds it, however that ends. A process number would not do, as containers
that share a folder count processes each for itself. Where locks are not to be
had nothing is ever taken for abandoned.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

_LOCK = ".lock"


@contextlib.contextmanager
def in_use(folder: pathlib.Path) -> Iterator[None]:
    """Marks a folder as in use, until the end or that of this process.

    Args:
        folder: a new one.

    Returns:
        A context manager.
    """
    held = _hold(folder)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _hold(folder: pathlib.Path) -> int | None:
    aside = folder / f"{_LOCK}-new"
    descriptor = None
    try:
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under its name nobody ever sees it without the lock.
        os.rename(aside, folder / _LOCK)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def remove_abandoned(directory: pathlib.Path, prefix: str) -> None:
    """Removes folders that were in use by processes which are no more.

    Args:
        directory: where they are.
        prefix: of their names. What `in_use` never marked stays.
    """
    with contextlib.suppress(OSError):
        for folder in sorted(directory.iterdir()):
            if folder.name.startswith(prefix):
                _remove_unless_used(folder)


def _remove_unless_used(folder: pathlib.Path) -> None:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        remove(folder)
    finally:
        os.close(descriptor)


def remove(folder: pathlib.Path) -> None:
    """Removes a folder, its lock last: whoever is killed meanwhile, it shows.

    Args:
        folder: it need not be there; what cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)

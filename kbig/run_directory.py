"""What may be replaced in a run directory, and what never is."""

import itertools
import json
import os
import pathlib
import shutil

from kbig.errors import UsageError
from kbig.export.staging import PART
from kbig.writing import writing

ARTEFACTS = "artefacts"
# config.json is replaced in one step instead: it says that this is a run.
_RESULTS = (
    "metrics.json",
    "history.csv",
    "model.keras",
    "vocabulary.txt",
    "class_names.json",
    "samples.npz",
    "part.safetensors",
    "seeds",
    "control",
    "report.html",
    "logs",
)


def check_free(directory: str | os.PathLike, overwrite: bool = False) -> None:
    """Makes sure that a run may be made in a directory.

    Args:
        directory: it need not be there.
        overwrite: whether an earlier run in it may be replaced.

    Raises:
        UsageError: it holds a run with a model, numbers or artefacts and
            `overwrite` is False, or holds something that is not a run.
    """
    directory = pathlib.Path(directory)
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"--out must be a directory. Received: {directory}")
    is_run = recorded_in(directory) is not None
    found = _found(directory)
    if is_run and not overwrite and found:
        raise UsageError(
            f"{directory} holds a run, with {' and '.join(found)}. Pass "
            "--overwrite to replace it, or another --out."
        )
    if not is_run and any(directory.iterdir()):
        raise UsageError(
            f"{directory} is not empty and holds no run. Pass another --out."
        )


def _found(directory: pathlib.Path) -> list[str]:
    """Names of what took time to make."""
    files = ("model.keras", "metrics.json")
    found = [name for name in files if (directory / name).is_file()]
    return found + ([ARTEFACTS] if _published(directory) else [])


def _published(directory: pathlib.Path) -> bool:
    """Whether anything was exported; what a killed export left is nothing."""
    artefacts = directory / ARTEFACTS
    return artefacts.is_dir() and any(
        not path.name.startswith(PART) for path in artefacts.iterdir()
    )


def recorded_in(directory: pathlib.Path) -> dict | None:
    """What config.json records, None when no recipe of kbig wrote it."""
    try:
        text = (directory / "config.json").read_text("utf-8")
        recorded = json.loads(text)
    except (OSError, ValueError):
        return None
    is_ours = isinstance(recorded, dict) and {"recipe", "kbig"} <= set(recorded)
    return recorded if is_ours else None


def remove_results(directory: pathlib.Path, shards: bool = False) -> None:
    """Removes what an earlier run left, but for what it exported.

    Args:
        directory: of the run.
        shards: whether tokenized text goes, too.

    Raises:
        WriteError: something cannot be removed.
    """
    for name in (*_RESULTS, *(("shards",) if shards else ())):
        path = directory / name
        with writing(directory):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def set_artefacts_aside(directory: pathlib.Path) -> None:
    """Renames `artefacts` to the first free `artefacts-earlier-<number>`.

    Args:
        directory: of the run; nothing is done where nothing was exported.
    """
    if not _published(directory):
        return
    names = (f"{ARTEFACTS}-earlier-{i}" for i in itertools.count(1))
    free = next(x for x in names if not (directory / x).exists())
    os.rename(directory / ARTEFACTS, directory / free)

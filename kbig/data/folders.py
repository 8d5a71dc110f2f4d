"""Folders whose first level may be the splits."""

import pathlib

from kbig.data.splits import SPLIT_NAMES


def split_folders(
    folder: pathlib.Path,
) -> list[tuple[str | None, pathlib.Path]]:
    """Finds the folders of the splits.

    Args:
        folder: a folder that may hold `train` and, beside it, `validation`
            (or `val`, `valid`, `dev`) and `test`.

    Returns:
        Pairs of a split and its folder; `[(None, folder)]` when nothing is
        split yet.
    """
    if not (folder / "train").is_dir():
        return [(None, folder)]
    return [
        (SPLIT_NAMES[child.name], child)
        for child in sorted(folder.iterdir())
        if child.is_dir() and child.name in SPLIT_NAMES
    ]


def visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists a folder in order, without hidden entries.

    Args:
        folder: the folder to list.

    Returns:
        Its entries, sorted by name.
    """
    return sorted(
        child for child in folder.iterdir() if not child.name.startswith(".")
    )

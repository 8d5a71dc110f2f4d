"""Unlabelled text: documents of paragraphs."""

import pathlib

import numpy as np

from kbig.data.dataset import SPLITS
from kbig.data.dataset import Dataset
from kbig.data.dataset import DatasetInfo
from kbig.data.dataset import from_columns
from kbig.data.folders import split_folders
from kbig.data.reading import read_text
from kbig.data.reading import suffix_of
from kbig.data.splits import assign_splits
from kbig.errors import DataError

_FEWEST_DOCUMENTS = 10  # A tenth of them is one.
_BY_PARAGRAPH = (
    f" There were fewer than {_FEWEST_DOCUMENTS} documents, so each "
    "paragraph is a document."
)


def read_corpus(path: pathlib.Path) -> Dataset:
    """Reads documents, one paragraph a line, an empty line after each.

    Where there are fewer than ten documents to split into training,
    validation and test, each paragraph becomes a document.

    Args:
        path: a `.txt` file, which may be compressed (`.gz`, `.xz`), or a
            folder of them, which may have `train`, `validation` and `test`
            folders. The end of a file ends a document.

    Returns:
        A `Dataset` of kind `"corpus"`.

    Raises:
        DataError: naming the file and the line, or if there are too few
            paragraphs to split.

    Example:
    ```python
    data = kbig.data.load("novels/")
    ```
    """
    found = [
        (split, document)
        for split, file in corpus_files(path)
        for document in split_documents(read_text(file))
    ]
    by_paragraph = _too_few_to_split(found)
    if by_paragraph:
        found = _paragraphs(found)
    given, documents = zip(*found)
    splits, rule = assign_splits(
        [document.encode() for document in documents],
        None if given[0] is None else given,
        source=str(path),
    )
    if by_paragraph:
        rule += _BY_PARAGRAPH
    return from_columns(
        (np.array(documents, dtype=object),),
        splits,
        name=str(path),
        kind="corpus",
        class_names=(),
        licence="unknown",
        source=str(path),
        split=rule,
    )


def made_of_paragraphs(info: DatasetInfo) -> bool:
    """Tells whether `read_corpus` took paragraphs for documents.

    Args:
        info: of a corpus.

    Returns:
        Whether there were too few documents to split.
    """
    return info.split.endswith(_BY_PARAGRAPH)


def split_documents(text: str) -> list[str]:
    """Splits a text at its empty lines.

    Args:
        text: paragraphs, one a line.

    Returns:
        One string a document, its paragraphs joined by newlines.

    Example:
    ```python
    split_documents("One.\\nTwo.\\n\\nThree.\\n")  # ["One.\\nTwo.", "Three."]
    ```
    """
    documents = [[]]
    for line in text.split("\n"):
        if line.strip():
            documents[-1].append(line.strip())
        elif documents[-1]:
            documents.append([])
    return ["\n".join(paragraphs) for paragraphs in documents if paragraphs]


def holds_corpus(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds text files, at any depth.

    Args:
        folder: the folder to look into.

    Returns:
        Whether there is a `.txt` file, compressed or not.
    """
    return any(suffix_of(file) == ".txt" for file in folder.rglob("*"))


def _too_few_to_split(found):
    splits = [split or "train" for split, _ in found]
    complete = set(splits) == set(SPLITS)
    return not complete and splits.count("train") < _FEWEST_DOCUMENTS


def _paragraphs(found):
    return [
        (split, paragraph)
        for split, document in found
        for paragraph in document.split("\n")
    ]


def corpus_files(
    path: pathlib.Path,
) -> list[tuple[str | None, pathlib.Path]]:
    """Finds the files of a corpus.

    Args:
        path: a file, or a folder as of `read_corpus`.

    Returns:
        Pairs of a split, or None where nothing is split yet, and a file.

    Raises:
        DataError: if the file is no text file, or the folder holds none.
    """
    if path.is_file():
        if suffix_of(path) != ".txt":
            raise DataError(
                "A corpus is a `.txt`, `.txt.gz` or `.txt.xz` file, or a "
                f"folder of them. Received: {path}. Rename it if it is text; "
                "of a table `kbig.data.load` reads the texts."
            )
        return [(None, path)]
    files = [
        (split, file)
        for split, folder in split_folders(path)
        for file in sorted(folder.rglob("*"))
        if suffix_of(file) == ".txt" and file.is_file()
    ]
    if not files:
        raise DataError(f"{path} holds no `.txt`, `.txt.gz` or `.txt.xz` file.")
    return files

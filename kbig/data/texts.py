"""Labelled texts of a table."""

import pathlib

import numpy as np

from kbig.data.dataset import Dataset
from kbig.data.dataset import from_columns
from kbig.data.labels import encode_labels
from kbig.data.splits import SPLIT_NAMES
from kbig.data.splits import assign_splits
from kbig.data.tables import Table
from kbig.data.tables import read_table
from kbig.errors import DataError


def read_texts(
    path: pathlib.Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    split_column: str | None = None,
) -> Dataset:
    """Reads texts and their labels from a table.

    Args:
        path: a `.csv`, `.tsv` or `.jsonl` file.
        text_column: column of the texts.
        label_column: column of the labels, strings or integers.
        split_column: column that says train, validation (or val, valid,
            dev) or test; `None` takes the column `split` if there is one.

    Returns:
        A `Dataset` of kind `"text"`.

    Raises:
        DataError: naming the file and the line.

    Example:
    ```python
    data = kbig.data.load("reviews.csv", text_column="review")
    ```
    """
    table = read_table(path)
    texts = _texts(table, text_column)
    labels = _labels(table, label_column)
    given = None
    if split_column or "split" in table.columns:
        given = _splits(table, split_column or "split")
    contents = [text.encode() for text in texts]
    splits, rule = assign_splits(contents, given, labels, source=str(path))
    numbers, class_names = encode_labels(labels, splits, table.where)
    return from_columns(
        (np.array(texts, dtype=object), numbers),
        splits,
        name=str(path),
        kind="text",
        class_names=class_names,
        licence="unknown",
        source=str(path),
        split=rule,
    )


def _texts(table: Table, name):
    texts = table.column(name)
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"{table.where(row)}: {name!r} must be text that is not "
                f"empty. Received: {name}={text!r}"
            )
    return texts


def _labels(table: Table, name):
    labels = table.column(name)
    for row, label in enumerate(labels):
        valid = isinstance(label, str | int) and not isinstance(label, bool)
        if not valid or not str(label).strip():
            raise DataError(
                f"{table.where(row)}: {name!r} must be a string or an "
                f"integer. Received: {name}={label!r}"
            )
    return [str(label).strip() for label in labels]


def _splits(table: Table, name):
    splits = table.column(name)
    for row, split in enumerate(splits):
        if not isinstance(split, str) or split not in SPLIT_NAMES:
            raise DataError(
                f"{table.where(row)}: {name!r} must be one of "
                f"{', '.join(SPLIT_NAMES)}. Received: {name}={split!r}"
            )
    return [SPLIT_NAMES[split] for split in splits]

"""Texts of a table: labelled ones, pairs of them, or documents."""

import json
import math
import pathlib

import numpy as np

from kbig.data.corpora import split_documents
from kbig.data.dataset import Dataset
from kbig.data.dataset import from_columns
from kbig.data.labels import encode_label_sets
from kbig.data.labels import encode_labels
from kbig.data.splits import SPLIT_NAMES
from kbig.data.splits import assign_splits
from kbig.data.tables import Table
from kbig.data.tables import read_table
from kbig.errors import DataError
from kbig.errors import UsageError

_LARGEST = float(np.finfo(np.float32).max)


def read_texts(
    path: pathlib.Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    split_column: str | None = None,
    pair_column: str | None = None,
    task: str = "classification",
) -> Dataset:
    """Reads texts, or pairs of texts, and their labels from a table.

    Args:
        path: a `.csv`, `.tsv` or `.jsonl` file.
        text_column: column of the texts.
        label_column: column of the labels.
        split_column: column that says train, validation (or val, valid,
            dev) or test; `None` takes the column `split` if there is one.
        pair_column: column of the second texts, where there are pairs.
        task: what labels are: `"classification"`, a string or an integer
            that names a class; `"multilabel"`, any number of them with `|`
            between them, or as a list in JSON; `"regression"`, a number.

    Returns:
        A `Dataset` of kind `"text"`.

    Raises:
        UsageError: if the task is not known.
        DataError: naming the file and the line.

    Example:
    ```python
    data = kbig.data.load("reviews.csv", text_column="review")
    data = kbig.data.load(
        "pairs.tsv",
        text_column="first",
        pair_column="second",
        label_column="similarity",
        task="regression",
    )
    ```
    """
    if task not in _LABELS:
        raise UsageError(
            f"`task` must be one of {', '.join(_LABELS)}. Received: "
            f"task={task!r}"
        )
    table = read_table(path)
    names = [text_column, pair_column] if pair_column else [text_column]
    texts = list(zip(*(_texts(table, name) for name in names)))
    read, encode = _LABELS[task]
    labels = read(table, label_column)
    given = _splits(table, split_column)
    splits, rule = assign_splits(
        ["\0".join(several).encode() for several in texts],
        given,
        None if task == "regression" else labels,
        source=str(path),
    )
    numbers, class_names = encode(labels, splits, table.where)
    texts = np.array(texts, dtype=object)
    return from_columns(
        (texts if pair_column else texts[:, 0], numbers),
        splits,
        name=str(path),
        kind="text",
        class_names=class_names,
        licence="unknown",
        source=str(path),
        split=rule,
        task=task,
    )


def read_documents(
    path: pathlib.Path,
    *,
    text_column: str = "text",
    split_column: str | None = None,
) -> Dataset:
    """Reads texts without labels from a table, each row a document.

    The lines of a text are its paragraphs; empty ones are left out.

    Args:
        path: a `.csv`, `.tsv` or `.jsonl` file.
        text_column: column of the texts.
        split_column: as of `read_texts`.

    Returns:
        A `Dataset` of kind `"corpus"`.

    Raises:
        DataError: naming the file and the line, or if there are too few
            texts to split.

    Example:
    ```python
    data = kbig.data.load("reviews.csv", kind="corpus", text_column="review")
    ```
    """
    table = read_table(path)
    documents = [
        "\n".join(split_documents(text)) for text in _texts(table, text_column)
    ]
    splits, rule = assign_splits(
        [document.encode() for document in documents],
        _splits(table, split_column),
        source=str(path),
    )
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
        if not _is_label(label):
            raise DataError(
                f"{table.where(row)}: {name!r} must be a string or an "
                f"integer. Received: {name}={label!r}"
            )
    return [str(label).strip() for label in labels]


def _is_label(label):
    valid = isinstance(label, str | int) and not isinstance(label, bool)
    return valid and bool(str(label).strip())


def _label_sets(table: Table, name):
    return [
        _label_set(value, name, table.where(row))
        for row, value in enumerate(table.column(name))
    ]


def _label_set(value, name, where):
    labels = _listed(value)
    if not isinstance(labels, list) or not all(map(_is_label, labels)):
        raise DataError(
            f"{where}: {name!r} must be labels with '|' between them, or a "
            f"list of strings or integers in JSON. Received: {name}={value!r}"
        )
    return tuple(dict.fromkeys(str(label).strip() for label in labels))


def _listed(value):
    if value is None:
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, str):
        return value.split("|") if value.strip() else []
    return value if isinstance(value, list) else [value]


def _values(table: Table, name):
    return [
        _value(value, name, table.where(row))
        for row, value in enumerate(table.column(name))
    ]


def _value(value, name, where):
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise DataError(
            f"{where}: {name!r} must be a finite number. Received: "
            f"{name}={value!r}"
        )
    return number


def _encode_values(values, splits, where):
    train = np.array(values)[splits == "train"]
    if len(np.unique(train)) < 2:
        raise DataError(
            f"{where(0)}: training must show two values or more. Received: "
            f"only {train[0]}"
        )
    return np.array(values, np.float32), ()


def _splits(table: Table, name):
    """The split of each row; None where no column tells."""
    if not name and "split" not in table.columns:
        return None
    name = name or "split"
    splits = table.column(name)
    for row, split in enumerate(splits):
        if not isinstance(split, str) or split not in SPLIT_NAMES:
            raise DataError(
                f"{table.where(row)}: {name!r} must be one of "
                f"{', '.join(SPLIT_NAMES)}. Received: {name}={split!r}"
            )
    return [SPLIT_NAMES[split] for split in splits]


# By task: how labels are read, and how they become numbers.
_LABELS = {
    "classification": (_labels, encode_labels),
    "multilabel": (_label_sets, encode_label_sets),
    "regression": (_values, _encode_values),
}

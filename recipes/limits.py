"""Fewer training rows, drawn at random and the same at every run."""

import dataclasses

import numpy as np

from kbig.errors import UsageError


def limited(dataset, limit: int, every_class: bool):
    """Keeps some of the training rows.

    Args:
        dataset: of `kbig.data.load`.
        limit: rows to keep.
        every_class: whether those kept must show each class of texts.

    Returns:
        The dataset, with at most `limit` rows to train on.

    Raises:
        UsageError: there are more classes than rows to keep.
    """
    if 0 <= dataset.info.sizes["train"] <= limit:
        return dataset
    by_class = every_class and dataset.info.kind == "text"
    train = (_of_every_class if by_class else _drawn)(dataset, limit)
    sizes = {**dataset.info.sizes, "train": int(train.cardinality())}
    info = dataclasses.replace(dataset.info, sizes=sizes)
    return dataclasses.replace(dataset, train=train, info=info)


def drawn_rows(labels: np.ndarray, classes: int, limit: int) -> np.ndarray:
    """Draws rows at random, at least one of each class.

    Args:
        labels: int `(rows,)`, 0 or 1 `(rows, classes)`, or values
            `(rows,)` where there are no classes.
        classes: their number.
        limit: rows to draw, as many as classes or more.

    Returns:
        Numbers of rows, `(limit,)`, the same at every call.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    shown = labels[order].astype(bool)
    if labels.ndim == 1:
        shown = labels[order, np.newaxis] == np.arange(classes)
    first = np.unique(shown.argmax(axis=0))
    return np.concatenate([order[first], np.delete(order, first)])[:limit]


def _drawn(dataset, limit: int):
    shuffled = dataset.train.shuffle(
        100_000, seed=0, reshuffle_each_iteration=False
    )
    return shuffled.take(limit)


def _of_every_class(dataset, limit: int):
    import tensorflow as tf

    classes = len(dataset.info.class_names)
    if limit < classes:
        raise UsageError(
            f"--limit must keep a row of each of the {classes} classes. "
            f"Received: --limit {limit}."
        )
    texts, labels = dataset.arrays("train")
    rows = drawn_rows(labels, classes, limit)
    return tf.data.Dataset.from_tensor_slices((texts[rows], labels[rows]))

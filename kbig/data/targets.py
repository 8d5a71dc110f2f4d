"""Labels as batches take them, checked."""

from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError


def check_counts(
    what: str, num_texts: int, num_labels: int, batch_size: int, least: int
) -> None:
    """Makes sure that there is one label a text, and enough of them.

    Args:
        what: what texts are called.
        num_texts: how many there are.
        num_labels: likewise.
        batch_size: texts a batch.
        least: texts that there must be.

    Raises:
        UsageError: naming the numbers.
    """
    if not 0 < num_texts == num_labels or batch_size < 1:
        raise UsageError(
            f"There must be {what}, one label for each, and `batch_size` must "
            f"be above zero. Received: {num_texts} {what}, {num_labels} "
            f"labels, batch_size={batch_size}"
        )
    if num_texts < least:
        raise UsageError(
            f"With `drop_remainder` there must be {what} for one batch. "
            f"Received: {num_texts} {what}, batch_size={batch_size}. Lower "
            "`batch_size`, or keep the remainder."
        )


def checked_labels(labels) -> np.ndarray:
    """Makes sure that labels are classes, or finite numbers.

    Args:
        labels: ints or floats, one or several a text.

    Returns:
        Them, floats as float32.

    Raises:
        UsageError: naming the first label that is neither.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu":
        wrong, wanted = labels < 0, "not negative, where they are classes"
    elif labels.dtype.kind == "f":
        labels = labels.astype(np.float32)
        wrong, wanted = ~np.isfinite(labels), "finite"
    else:
        raise UsageError(
            "`labels` must be integers for classes, or floats. Received: "
            f"dtype={labels.dtype}"
        )
    if wrong.any():
        row = np.argwhere(wrong)[0][0]
        raise UsageError(
            f"`labels` must be {wanted}. Received: labels[{row}]="
            f"{labels[row]}. Leave out texts that have no label."
        )
    return labels


def check_classes(labels: np.ndarray, num_classes: int) -> None:
    """Makes sure that labels are of a number of classes.

    Args:
        labels: what `checked_labels` returned.
        num_classes: that a model has.

    Raises:
        UsageError: naming the first label that is of no class.
    """
    if labels.dtype.kind in "iu":
        wrong, wanted = labels >= num_classes, f"below {num_classes}"
        fits = labels.ndim == 1
    else:
        wrong, wanted = (labels != 0) & (labels != 1), "0 or 1 for each class"
        fits = labels.ndim == 2 and labels.shape[1] == num_classes
    if not fits:
        raise UsageError(
            "With `num_classes` labels are int (n,), or float (n, "
            f"num_classes). Received: labels of shape {labels.shape}, "
            f"dtype={labels.dtype}, num_classes={num_classes}"
        )
    if wrong.any():
        row = np.argwhere(wrong)[0][0]
        raise UsageError(
            f"`labels` must be {wanted}. Received: labels[{row}]="
            f"{labels[row]}, num_classes={num_classes}"
        )


def sample_weights(labels: np.ndarray, class_weights) -> np.ndarray:
    """Gives every text the weight of its class.

    Args:
        labels: what `checked_labels` returned.
        class_weights: one a class, above zero.

    Returns:
        float32 `(n,)`.

    Raises:
        UsageError: if labels are no classes, or have no such weights.
    """
    weights = np.asarray(class_weights, np.float32)
    if labels.ndim != 1 or labels.dtype.kind == "f":
        raise UsageError(
            "`class_weights` are for labels that are classes, int (n,). "
            f"Received: labels of shape {labels.shape}, dtype={labels.dtype}"
        )
    valid = weights.ndim == 1 and np.isfinite(weights).all()
    if not valid or (weights <= 0).any() or labels.max() >= len(weights):
        raise UsageError(
            "`class_weights` must be one number above zero for each of the "
            f"{labels.max() + 1} classes or more. Received: "
            f"class_weights={class_weights}"
        )
    return weights[labels]


def check_tags(
    words: Sequence, tags: Sequence, num_classes: int | None
) -> None:
    """Makes sure that every word has a tag.

    Args:
        words: sentences.
        tags: int `(words,)` for each.
        num_classes: that a model has; `None` is any.

    Raises:
        UsageError: naming the first sentence that has not.
    """
    limit = np.inf if num_classes is None else num_classes
    for index, (sentence, row) in enumerate(zip(words, tags)):
        if np.shape(row) != (len(sentence),):
            raise UsageError(
                "There must be one tag for each word. Received: "
                f"{len(sentence)} words in words[{index}], and tags of shape "
                f"{np.shape(row)}"
            )
        row = np.asarray(row)
        valid = row.dtype.kind in "iu" and np.all((row >= 0) & (row < limit))
        if not valid:
            raise UsageError(
                "Tags must be integers from 0 on, and below `num_classes`. "
                f"Received: tags[{index}]={row}, num_classes={num_classes}"
            )

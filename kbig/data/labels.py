"""From the labels in a file to class numbers and class names."""

import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence

import numpy as np

from kbig.errors import DataError
from kbig.errors import UsageError

_INTEGER = re.compile(r"[+-]?\d+")


def sort_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Sorts class names, numerically when all of them are integers.

    Args:
        names: distinct names.

    Returns:
        The sorted names.

    Example:
    ```python
    sort_class_names(["10", "9"])  # ("9", "10")
    ```
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def encode_labels(
    labels: Sequence[str], splits: np.ndarray, where: Callable[[int], str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes that the training examples show.

    Args:
        labels: the label of every example.
        splits: string array, the split of every example.
        where: names an example, by index, for an error message.

    Returns:
        int32 class numbers of all examples, and the class names.

    Raises:
        DataError: if training shows fewer than two classes, or validation
            or test one that training does not.
    """
    seen = {label for label, s in zip(labels, splits) if s == "train"}
    check_seen([(label,) for label in labels], seen, splits, where)
    if len(seen) < 2:
        raise DataError(
            f"{where(0)}: there must be two classes or more. Received: "
            f"only {labels[0]!r}"
        )
    names = sort_class_names(seen)
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[label] for label in labels], np.int32), names


def encode_label_sets(
    label_sets: Sequence[Sequence[str]],
    splits: np.ndarray,
    where: Callable[[int], str],
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes of examples that have any number of them.

    Args:
        label_sets: the labels of every example, none or more.
        splits: string array, the split of every example.
        where: names an example, by index, for an error message.

    Returns:
        float32 `(examples, classes)`, 1 where an example has a class, else
        0; and the class names.

    Raises:
        DataError: if training shows no label, or validation or test one
            that training does not.
    """
    train = [s for s, split in zip(label_sets, splits) if split == "train"]
    seen = {label for labels in train for label in labels}
    if not seen:
        raise DataError(f"{where(0)}: no training example has a label.")
    check_seen(label_sets, seen, splits, where)
    names = sort_class_names(seen)
    number = {name: index for index, name in enumerate(names)}
    encoded = np.zeros((len(label_sets), len(names)), np.float32)
    for row, labels in enumerate(label_sets):
        encoded[row, [number[label] for label in labels]] = 1
    return encoded, names


def check_seen(
    label_sets: Sequence[Sequence[str]],
    seen: Collection[str],
    splits: np.ndarray,
    where: Callable[[int], str],
) -> None:
    """Makes sure that training shows every label.

    Args:
        label_sets: the labels of every example.
        seen: the labels of the training examples.
        splits: string array, the split of every example.
        where: names an example, by index, for an error message.

    Raises:
        DataError: naming the first label that training does not show.
    """
    for index, labels in enumerate(label_sets):
        for label in labels:
            if label not in seen:
                raise DataError(
                    f"{where(index)}: label {label!r} is only in the "
                    f"{splits[index]} split; every label must be seen in "
                    "training. Training has: "
                    f"{', '.join(sort_class_names(seen))}"
                )


def balanced_class_weights(
    labels: np.ndarray, num_classes: int
) -> tuple[float, ...]:
    """Weighs classes so that each counts as much as any other.

    Args:
        labels: int `(examples,)`.
        num_classes: number of classes.

    Returns:
        For each class `examples / (num_classes * examples of the class)`.

    Raises:
        UsageError: if a class has no example, or a label is out of range.

    Example:
    ```python
    balanced_class_weights([0, 0, 0, 1], 2)  # (2 / 3, 2.0)
    ```

    Reference:
        scikit-learn's `class_weight="balanced"`.
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels, minlength=num_classes)
    if len(counts) != num_classes or not counts.all():
        raise UsageError(
            f"`labels` must show each of the classes 0 to {num_classes - 1}, "
            f"and no other. Received: classes {np.unique(labels).tolist()}"
        )
    return tuple((len(labels) / (num_classes * counts)).tolist())

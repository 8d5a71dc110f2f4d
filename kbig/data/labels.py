"""From the labels in a file to class numbers and class names."""

import re
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from kbig.errors import DataError

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
    for index, label in enumerate(labels):
        if label not in seen:
            raise DataError(
                f"{where(index)}: label {label!r} is only in the "
                f"{splits[index]} split; every label must be seen in "
                f"training. Training has: {', '.join(sort_class_names(seen))}"
            )
    if len(seen) < 2:
        raise DataError(
            f"{where(0)}: there must be two classes or more. Received: "
            f"only {labels[0]!r}"
        )
    names = sort_class_names(seen)
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[label] for label in labels], np.int32), names

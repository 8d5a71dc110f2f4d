"""Precision, recall and F1 from counts that add up over rows.

scikit-learn's work on one array of decisions, and take one column of them
for two classes.
"""

import numpy as np


def scores(counts: np.ndarray) -> list[tuple[float, float, float, int]]:
    """Precision, recall, F1 and support of each class.

    Args:
        counts: int `(classes, 3)`: what was found rightly, found at all,
            and there.

    Returns:
        One tuple a class.
    """
    right, found, there = np.moveaxis(np.asarray(counts), -1, 0)
    columns = (
        right / np.maximum(found, 1),
        right / np.maximum(there, 1),
        f1(counts),
        there,
    )
    return list(zip(*(column.tolist() for column in columns)))


def f1(counts: np.ndarray) -> np.ndarray:
    """F1, 0 where there is nothing to count.

    Args:
        counts: `(..., 3)`: what was found rightly, found at all, and there;
            or their means.

    Returns:
        `(...)`.
    """
    right, found, there = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return 2 * right / np.maximum(found + there, np.finfo(float).tiny)

"""Weights as integers, with a step for each channel."""

import numpy as np

_LARGEST = 127


def rounded_weight(
    weight: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rounds to integers from -127 to 127, symmetric around zero.

    Args:
        weight: float32.
        axis: each entry of which has a scale.

    Returns:
        int8 of the same shape, and the scales, `(entries,)`.

    Example:
    ```python
    rounded_weight(np.float32([[1.27, 0.5], [-254, 127]]), axis=0)
    # [[127, 50], [-127, 64]], [0.01, 2]
    ```
    """
    others = tuple(x for x in range(weight.ndim) if x != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    # All zero is on every grid.
    scale = np.where(largest > 0, largest, 1).astype("float32") / _LARGEST
    return np.round(weight / scale).astype("int8"), scale.ravel()

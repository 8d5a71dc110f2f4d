"""How outputs are compared: pure functions on arrays."""

import numpy as np

# Largest difference allowed, as a share of the range of the output, by what
# the weights are stored as. A model's rounding is 1e-6, 7e-4 and 1.4e-2.
TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-2}


def largest_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Returns max|got - expected| as a share of the range of `expected`.

    NaN when shapes differ or `got` is not finite: no gate lets NaN through.
    """
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("nan")
    spread = float(expected.max() - expected.min())
    scale = spread or float(np.abs(expected).max()) or 1.0
    return float(np.abs(got - expected).max()) / scale


def top1_agreement(got: np.ndarray, expected: np.ndarray) -> float:
    """Returns the share of rows whose largest output is the same one."""
    return float((got.argmax(-1) == expected.argmax(-1)).mean())


def are_classes(labels: np.ndarray | None) -> bool:
    """Integers are classes, floats are values to regress."""
    return labels is not None and labels.dtype.kind in "iu"


def metric_name(labels: np.ndarray | None) -> str | None:
    """Names the metric that suits the labels."""
    if labels is None:
        return None
    return "accuracy" if are_classes(labels) else "mean abs. error"


def task_metric(outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Returns accuracy for integer labels, mean absolute error for floats."""
    if labels is None:
        return None
    if are_classes(labels):
        return float((outputs.argmax(-1) == labels).mean())
    return float(np.abs(outputs - labels.reshape(outputs.shape)).mean())

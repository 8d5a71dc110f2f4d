"""How outputs are compared: pure functions on arrays."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

# Largest difference allowed, as a share of the range of the output, by what
# the weights are stored as. A model's rounding is 1e-6, 7e-4 and 1.4e-2.
TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-2}
# Smallest share of decisions that must be the model's.
AGREEMENTS = {"float32": 0.999, "float16": 0.98, "int8": 0.98}
# Largest difference between `probabilities` and the softmax of the logits.
PROBABILITY_TOLERANCE = 1e-5


def largest_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Measures max|got - expected| as a share of the range of `expected`.

    Args:
        got: outputs of an artefact, `(rows, ...)`.
        expected: outputs of the model, `(rows, ...)`.

    Returns:
        The share; NaN when shapes differ or `got` is not finite, since no
        gate lets NaN through.

    Example:
    ```python
    largest_difference(np.array([0.0, 2.1]), np.array([0.0, 2.0]))  # 0.05
    ```
    """
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("nan")
    spread = float(expected.max() - expected.min())
    scale = spread or float(np.abs(expected).max()) or 1.0
    return float(np.abs(got - expected).max()) / scale


def top1_agreement(got: np.ndarray, expected: np.ndarray) -> float:
    """Measures how often the largest output is the same one.

    Args:
        got: logits of an artefact, `(rows, ..., classes)`.
        expected: logits of the model, of the same shape.

    Returns:
        The share of decisions, 0 to 1; 0 when shapes differ.

    Example:
    ```python
    top1_agreement(np.eye(2), np.array([[3.0, 1.0], [3.0, 1.0]]))  # 0.5
    ```
    """
    if got.shape != expected.shape:
        return 0.0
    return float((got.argmax(-1) == expected.argmax(-1)).mean())


def agreement_suffices(agreement: float, decisions: int, weights: str) -> bool:
    """Tells whether an artefact decides as the model does, often enough.

    Among few samples one tie would be a large share, so a single
    disagreement is always allowed.

    Args:
        agreement: the share of decisions that are the model's.
        decisions: how many were compared.
        weights: a key of `AGREEMENTS`, what the weights are stored as.

    Returns:
        Whether the gate holds.

    Example:
    ```python
    agreement_suffices(0.75, 4, "int8")  # True: one of four
    ```
    """
    disagreements = round((1 - agreement) * decisions)
    return disagreements <= 1 or agreement >= AGREEMENTS[weights]


def decision_faults(
    outputs: Mapping[str, np.ndarray],
    logits: np.ndarray,
    class_names: Sequence[str],
) -> tuple[str, ...]:
    """Checks `probabilities` and `label`, where there are any, against logits.

    Args:
        outputs: of one signature, by name: `probabilities`, floats
            `(rows, classes)`, and `label`, UTF-8 bytes `(rows,)`.
        logits: of the same signature, floats `(rows, classes)`.
        class_names: names of the classes in the order of the logits.

    Returns:
        One sentence a fault, none when all is well.

    Example:
    ```python
    labels = {"label": np.array([b"cat"])}
    decision_faults(labels, np.array([[0.0, 1.0]]), ["cat", "dog"])
    # ("1 of 1 labels do not name the largest logit",)
    ```
    """
    faults = []
    if "probabilities" in outputs:
        got = outputs["probabilities"]
        error = float(np.abs(got - _softmax(logits)).max())
        if not error <= PROBABILITY_TOLERANCE:  # NaN is a fault too.
            faults.append(
                f"probabilities differ from the softmax of the logits by "
                f"{error:.2g}, {PROBABILITY_TOLERANCE:.2g} is allowed"
            )
    if "label" in outputs:
        names = np.array([name.encode() for name in class_names])
        wrong = int((outputs["label"] != names[logits.argmax(-1)]).sum())
        if wrong:
            faults.append(
                f"{wrong} of {len(logits)} labels do not name the largest logit"
            )
    return tuple(faults)


def are_classes(labels: np.ndarray | None) -> bool:
    """Tells classes, which are integers, from values to regress.

    Args:
        labels: integers or floats, `(rows, ...)`, or None.

    Returns:
        Whether there are labels and they are classes.

    Example:
    ```python
    are_classes(np.array([0, 2]))  # True
    ```
    """
    return labels is not None and labels.dtype.kind in "iu"


def metric_name(labels: np.ndarray | None) -> str | None:
    """Names the metric that suits the labels.

    Args:
        labels: integers or floats, `(rows, ...)`, or None.

    Returns:
        "accuracy" or "mean abs. error"; None without labels.

    Example:
    ```python
    metric_name(np.array([0.5]))  # "mean abs. error"
    ```
    """
    if labels is None:
        return None
    return "accuracy" if are_classes(labels) else "mean abs. error"


def task_metric(outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Measures accuracy for integer labels, mean absolute error for floats.

    Args:
        outputs: logits `(rows, classes)` or values `(rows, ...)`.
        labels: integers `(rows,)`, floats that fit `outputs`, or None.

    Returns:
        The metric; None without labels.

    Example:
    ```python
    task_metric(np.array([[0.0, 1.0]]), np.array([1]))  # 1.0
    ```
    """
    if labels is None:
        return None
    if are_classes(labels):
        return float((outputs.argmax(-1) == labels).mean())
    return float(np.abs(outputs - labels.reshape(outputs.shape)).mean())


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(-1, keepdims=True)

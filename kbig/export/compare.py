"""How outputs are compared: pure functions on arrays."""

import numpy as np

# Largest difference allowed, as a share of the range of the output, by what
# the weights are stored as. A model's rounding is 1e-6, 7e-4 and 1.4e-2.
# "integers" compute in int8 as well, "int16" has int16 between operations.
TOLERANCES = {
    "float32": 1e-5,
    "float16": 2e-3,
    "int8": 5e-2,
    "integers": 5e-2,
    "int16": 2e-2,
}
# Of integers whose task metric can be measured, that counts: in a deep model
# every tie that rounds the other way is passed on, and after a few layers two
# kernels differ by as much as either differs from the model.
JUDGED = "judged integers"
TOLERANCES[JUDGED] = 0.2
METRIC_LOSS = 0.01
# What a file is called by what it computes in.
OF_INTEGERS = {"int8": "integers", "int16": "int16"}
# Of integers: a tie that rounds the other way in an early layer of a deep
# model may change a whole row, as a sample of data can.
_LEFT_OUT = {"integers": 0.01, JUDGED: 0.01}
# Steps of float32 that any output may differ by: far from zero they are wide,
# and no two programs round alike.
_ROUNDING_STEPS = 4
# Smallest share of decisions that must be the model's.
AGREEMENTS = {
    "float32": 0.999,
    "float16": 0.98,
    "int8": 0.98,
    "integers": 0.98,
    "int16": 0.98,
    JUDGED: 0.95,
}


def largest_difference(
    got: np.ndarray, expected: np.ndarray, weights: str = "float32"
) -> float:
    """Measures max|got - expected| as a share of the range of `expected`.

    Args:
        got: outputs of an artefact, `(rows, ...)`.
        expected: outputs of the model, `(rows, ...)`.
        weights: a key of `TOLERANCES`; of "integers" the largest one in a
            hundred differences is left out.

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
    share = 1 - _LEFT_OUT.get(weights, 0.0)
    difference = np.quantile(np.abs(got - expected), share)
    return float(difference) / _scale(expected)


def tolerance(expected: np.ndarray, weights: str) -> float:
    """Tells the largest difference allowed, as a share of the range.

    Outputs far from zero, such as years, are coarse beside their range: a
    few steps of float32 are allowed on top of `TOLERANCES`.

    Args:
        expected: outputs of the model, `(rows, ...)`.
        weights: a key of `TOLERANCES`, what the weights are stored as.

    Returns:
        The share.

    Example:
    ```python
    # A step of float32 is 2**-13 from 1024 to 2048, and the range is 1.
    tolerance(np.array([1999.0, 2000.0]), "float32")  # 1e-5 + 4 * 2**-13
    ```
    """
    largest = np.float32(np.abs(expected).max())
    steps = _ROUNDING_STEPS * float(np.spacing(largest))
    return TOLERANCES[weights] + steps / _scale(expected)


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


def _scale(expected: np.ndarray) -> float:
    spread = float(expected.max() - expected.min())
    return spread or float(np.abs(expected).max()) or 1.0

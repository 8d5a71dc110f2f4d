"""How far a metric would wander on other test rows of the same kind."""

from collections.abc import Callable

import numpy as np

_RESAMPLES = 1000
_CONFIDENCE = 0.95


def bootstrap_interval(
    rows: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray],
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Finds the 95 % confidence interval of a metric, by percentiles.

    Rows are drawn with replacement, as many as there are. It works for every
    metric that follows from sums over rows, such as an accuracy, an F1 or a
    correlation.

    Args:
        rows: float `(rows, numbers)`, what each row adds to the sums.
        metric: from the means of resamples, float `(resamples, numbers)`,
            to their metrics, `(resamples,)`. NaN, as where a resample has
            one value only, is left out.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        The lower and the upper end; NaN if no resample has a metric.

    Example:
    ```python
    correct = np.array([[1.0], [0.0], [1.0]])
    bootstrap_interval(correct, lambda means: means[:, 0])
    ```

    Reference:
        Efron and Tibshirani, 1993, An Introduction to the Bootstrap.
    """
    rows = np.asarray(rows, np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, rows.shape[1]))
    for resample in range(resamples):
        drawn = generator.integers(len(rows), size=len(rows))
        counts = np.bincount(drawn, minlength=len(rows))
        means[resample] = counts @ rows / len(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = metric(means)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)

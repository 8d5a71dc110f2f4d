"""Quality of predicted numbers."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError
from kbig.evaluation.bootstrap import bootstrap_interval
from kbig.evaluation.checks import check_rows
from kbig.evaluation.checks import finite_outputs
from kbig.evaluation.classification import interval_rows
from kbig.reporting import Report
from kbig.reporting import Table


@dataclasses.dataclass(frozen=True)
class RegressionReport(Report):
    """Quality of a regression.

    Args:
        pearson: correlation with the targets, NaN where all predictions or
            all targets are one value.
        spearman: likewise, of the ranks.
        mae: mean absolute error, in units of the targets.
        rmse: root of the mean squared error, likewise.
        interval: 95 % confidence interval of `pearson`, by bootstrap.
        rows: number of rows.
    """

    pearson: float
    spearman: float
    mae: float
    rmse: float
    interval: tuple[float, float]
    rows: int

    def tables(self) -> list[Table]:
        """One row a metric."""
        metrics = [
            ("Pearson correlation", self.pearson),
            *interval_rows("Pearson correlation", self.interval, float),
            ("Spearman correlation", self.spearman),
            ("mean absolute error", self.mae),
            ("root mean squared error", self.rmse),
        ]
        note = f"{self.rows:,} rows."
        return [Table("Metrics", ("metric", "value"), metrics, note)]


def regression(
    outputs: np.ndarray,
    targets: np.ndarray,
    class_names: Sequence[str] = (),
) -> RegressionReport:
    """Compares predicted numbers with targets.

    Args:
        outputs: float `(rows,)` or `(rows, 1)`.
        targets: float `(rows,)`.
        class_names: empty; here so that all tasks are evaluated alike.

    Returns:
        A report.

    Raises:
        UsageError: shapes that do not fit each other, targets that are not
            finite, or no rows.
        GateError: outputs that are not finite.

    Example:
    ```python
    regression([[1.0], [2.0]], [1.5, 2.5]).mae  # 0.5
    ```

    Reference:
        Correlations are SciPy's.
    """
    from scipy import stats

    outputs, targets = np.asarray(outputs), np.asarray(targets, np.float64)
    check_rows(len(targets))
    if targets.ndim != 1 or outputs.shape not in (
        targets.shape,
        (*targets.shape, 1),
    ):
        raise UsageError(
            "Targets must be of shape (rows,), outputs the same or (rows, 1). "
            f"Received: {targets.shape} and {outputs.shape}."
        )
    if class_names:
        raise UsageError(
            "A regression has no classes. Received: "
            f"class_names={tuple(class_names)}"
        )
    if not np.isfinite(targets).all():
        row = np.flatnonzero(~np.isfinite(targets))[0]
        raise UsageError(
            f"Targets must be finite. Received: targets[{row}]={targets[row]}"
        )
    outputs = finite_outputs(outputs, "outputs").reshape(targets.shape)
    errors = outputs - targets
    return RegressionReport(
        pearson=pearson(outputs, targets),
        spearman=pearson(stats.rankdata(outputs), stats.rankdata(targets)),
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt((errors**2).mean())),
        interval=_interval(outputs, targets),
        rows=len(targets),
    )


def pearson(predicted: np.ndarray, targets: np.ndarray) -> float:
    """Pearson's correlation, NaN where one side is one value.

    Args:
        predicted: float `(rows,)`.
        targets: float `(rows,)`.

    Returns:
        From -1 to 1.
    """
    from scipy import stats

    if np.ptp(predicted) == 0 or np.ptp(targets) == 0:
        return float("nan")
    return float(stats.pearsonr(predicted, targets).statistic)


def _interval(outputs, targets):
    # Scaled, so that sums of squares stay exact.
    x, y = ((v - v.mean()) / (v.std() or 1) for v in (outputs, targets))
    rows = np.stack([x, y, x * x, y * y, x * y], axis=-1)
    return bootstrap_interval(rows, _correlation)


def _correlation(means):
    x, y, xx, yy, xy = means.T
    variances = (xx - x * x) * (yy - y * y)
    # What rounding leaves of no variance at all.
    variances = np.where(variances > 1e-20, variances, np.nan)
    return (xy - x * y) / np.sqrt(variances)

"""Quality of forecasts."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kbig.reporting import Report
from kbig.reporting import Table


@dataclasses.dataclass(frozen=True)
class ForecastReport(Report):
    """Mean absolute error of forecasts, beside their baselines'.

    Args:
        errors: mean absolute error by the name of the forecaster.
        horizon: steps ahead, over which errors are averaged.
        rows: number of windows.
    """

    errors: Mapping[str, float]
    horizon: int
    rows: int

    def tables(self) -> list[Table]:
        """One row a forecaster, the best first."""
        rows = sorted(self.errors.items(), key=lambda item: item[1])
        note = f"{self.rows:,} windows, averaged over {self.horizon} steps."
        columns = ("forecast by", "mean absolute error")
        return [Table("Forecasts", columns, rows, note)]


def forecasting(
    forecasts: Mapping[str, np.ndarray], targets: np.ndarray
) -> ForecastReport:
    """Compares forecasts of the same targets.

    Args:
        forecasts: float `(rows, horizon)` by the name of the forecaster.
        targets: float `(rows, horizon)`.

    Returns:
        A report.
    """
    errors = {
        name: float(np.abs(values - targets).mean())
        for name, values in forecasts.items()
    }
    return ForecastReport(errors, targets.shape[1], len(targets))

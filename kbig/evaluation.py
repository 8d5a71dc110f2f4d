"""How good a model is on rows that it never saw, as reports."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.reporting import Percent
from kbig.reporting import Report
from kbig.reporting import Table


@dataclasses.dataclass(frozen=True)
class ClassificationReport(Report):
    """Quality of a classifier.

    Args:
        accuracy: share of rows whose largest logit is the label.
        loss: mean cross-entropy in nats.
        macro_f1: unweighted mean of the classes' F1.
        class_names: in the order of the logits.
        confusion: counts `[label][prediction]`.
        per_class: precision, recall, F1 and rows of each class.
    """

    accuracy: float
    loss: float
    macro_f1: float
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[tuple[float, float, float, int], ...]

    def tables(self) -> list[Table]:
        """Precision, recall and F1, a row a class."""
        rows = [
            (name, *map(Percent, numbers), support)
            for name, (*numbers, support) in zip(
                self.class_names, self.per_class
            )
        ]
        columns = ("class", "precision", "recall", "F1", "rows")
        return [Table("Classes", columns, rows)]


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


def classification(
    logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> ClassificationReport:
    """Compares logits with labels.

    Args:
        logits: float `(rows, classes)`.
        labels: int `(rows,)`.
        class_names: one a class.

    Returns:
        A report.

    Raises:
        UsageError: shapes that do not fit each other.
        GateError: logits that are not finite.

    Reference:
        Metrics are scikit-learn's; a class that is never predicted has
        precision 0.
    """
    from sklearn import metrics

    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.shape != (len(labels), len(class_names)):
        raise UsageError(
            f"Logits must have the shape {(len(labels), len(class_names))}: "
            f"a row a label, a column a class. Received: {logits.shape}."
        )
    if not np.isfinite(logits).all():
        raise GateError(
            "The model's logits are not finite: its training diverged. Lower "
            "the learning rate."
        )
    classes = np.arange(len(class_names))
    predicted = logits.argmax(-1)
    per_class = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    confusion = metrics.confusion_matrix(labels, predicted, labels=classes)
    return ClassificationReport(
        accuracy=float(metrics.accuracy_score(labels, predicted)),
        loss=float(
            metrics.log_loss(labels, probabilities(logits), labels=classes)
        ),
        macro_f1=float(per_class[2].mean()),
        class_names=tuple(class_names),
        confusion=tuple(map(tuple, confusion.tolist())),
        per_class=tuple(zip(*(column.tolist() for column in per_class))),
    )


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


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)

"""Quality of a classifier that gives each row any number of classes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError
from kbig.evaluation.bootstrap import bootstrap_interval
from kbig.evaluation.checks import check_rows
from kbig.evaluation.checks import finite_outputs
from kbig.evaluation.classification import class_table
from kbig.evaluation.classification import interval_rows
from kbig.evaluation.counts import f1
from kbig.evaluation.counts import scores
from kbig.reporting import Percent
from kbig.reporting import Report
from kbig.reporting import Table


@dataclasses.dataclass(frozen=True)
class MultilabelReport(Report):
    """Quality of a multi-label classifier, at a probability of one half.

    Args:
        micro_f1: F1 over all decisions together.
        macro_f1: unweighted mean of the classes' F1.
        subset_accuracy: share of rows whose every class is right.
        loss: mean binary cross-entropy in nats.
        interval: 95 % confidence interval of the micro F1, by bootstrap.
        class_names: in the order of the logits.
        per_class: precision, recall, F1 and rows of each class.
        rows: number of rows.
    """

    micro_f1: float
    macro_f1: float
    subset_accuracy: float
    loss: float
    interval: tuple[float, float]
    class_names: tuple[str, ...]
    per_class: tuple[tuple[float, float, float, int], ...]
    rows: int

    def tables(self) -> list[Table]:
        """The metrics, then precision, recall and F1, a row a class."""
        metrics = [
            ("micro F1", Percent(self.micro_f1)),
            *interval_rows("micro F1", self.interval),
            ("macro F1", Percent(self.macro_f1)),
            ("every class right", Percent(self.subset_accuracy)),
            ("binary cross-entropy", self.loss),
        ]
        note = f"{self.rows:,} rows."
        return [
            Table("Metrics", ("metric", "value"), metrics, note),
            class_table("Classes", self.class_names, self.per_class),
        ]


def multilabel(
    logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> MultilabelReport:
    """Compares logits with labels, any number of them a row.

    A class is predicted where its logit is above zero.

    Args:
        logits: float `(rows, classes)`.
        labels: 0 or 1, `(rows, classes)`.
        class_names: one a class.

    Returns:
        A report.

    Raises:
        UsageError: shapes that do not fit each other, labels that are not 0
            or 1, or no rows.
        GateError: logits that are not finite.

    Example:
    ```python
    report = multilabel([[2.0, -1.0]], [[1, 1]], ("dog", "cat"))
    report.micro_f1  # 2 / 3
    ```

    Reference:
        Metrics equal scikit-learn's; a class that is never predicted has
        precision 0.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    check_label_sets(labels, len(class_names))
    if logits.shape != labels.shape:
        raise UsageError(
            f"Logits must have the shape of the labels, {labels.shape}. "
            f"Received: {logits.shape}."
        )
    logits, labels = finite_outputs(logits), labels.astype(int)
    predicted = (logits > 0).astype(int)
    counts = _counts(predicted, labels)
    per_class = scores(counts.sum(0))
    return MultilabelReport(
        micro_f1=micro_f1(predicted, labels),
        macro_f1=float(np.mean([row[2] for row in per_class])),
        subset_accuracy=float((predicted == labels).all(-1).mean()),
        loss=float((np.logaddexp(0, logits) - labels * logits).mean()),
        interval=bootstrap_interval(counts.sum(1), f1),
        class_names=tuple(class_names),
        per_class=tuple(per_class),
        rows=len(labels),
    )


def micro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """F1 over all decisions together, 0 if there is no class anywhere.

    Args:
        predicted: 0 or 1, `(rows, classes)`.
        labels: 0 or 1, `(rows, classes)`.

    Returns:
        From 0 to 1.
    """
    return float(f1(_counts(predicted, labels).sum((0, 1))))


def check_label_sets(labels: np.ndarray, num_classes: int) -> None:
    """Makes sure that labels say 0 or 1 for every class.

    Args:
        labels: `(rows, classes)`.
        num_classes: number of classes.

    Raises:
        UsageError: naming the first row that does not.
    """
    check_rows(len(labels))
    if labels.ndim != 2 or labels.shape[1] != num_classes:
        raise UsageError(
            f"Labels must have the shape (rows, {num_classes}). Received: "
            f"{labels.shape}."
        )
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)).all(-1))
    if len(wrong):
        raise UsageError(
            "Labels must be 0 or 1. Received: "
            f"labels[{wrong[0]}]={labels[wrong[0]]}"
        )


def _counts(predicted, labels):
    """For each row and class: found rightly, found at all, and there."""
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    columns = predicted * labels, predicted, labels
    return np.stack(columns, axis=-1).astype(int)

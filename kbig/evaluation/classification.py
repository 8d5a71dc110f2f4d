"""Quality of a classifier."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError
from kbig.evaluation.bootstrap import bootstrap_interval
from kbig.evaluation.checks import check_rows
from kbig.evaluation.checks import finite_outputs
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
        matthews: Matthews correlation coefficient, from -1 to 1.
        interval: 95 % confidence interval of the accuracy, by bootstrap.
        class_names: in the order of the logits.
        confusion: counts `[label][prediction]`.
        per_class: precision, recall, F1 and rows of each class.
    """

    accuracy: float
    loss: float
    macro_f1: float
    matthews: float
    interval: tuple[float, float]
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[tuple[float, float, float, int], ...]

    def tables(self) -> list[Table]:
        """The metrics, then precision, recall and F1, a row a class."""
        metrics = [
            ("accuracy", Percent(self.accuracy)),
            *interval_rows("accuracy", self.interval),
            ("macro F1", Percent(self.macro_f1)),
            ("Matthews correlation", self.matthews),
            ("cross-entropy", self.loss),
        ]
        return [
            Table("Metrics", ("metric", "value"), metrics),
            class_table("Classes", self.class_names, self.per_class),
        ]


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
        UsageError: shapes that do not fit each other, labels out of range,
            or no rows.
        GateError: logits that are not finite.

    Example:
    ```python
    report = classification([[2.0, 0.0], [0.0, 1.0]], [0, 0], ("no", "yes"))
    report.accuracy  # 0.5
    ```

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
    check_rows(len(labels))
    check_classes(labels, len(class_names))
    logits = finite_outputs(logits)
    classes = np.arange(len(class_names))
    predicted = logits.argmax(-1)
    per_class = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    confusion = metrics.confusion_matrix(labels, predicted, labels=classes)
    correct = (predicted == labels)[:, np.newaxis]
    return ClassificationReport(
        accuracy=float(metrics.accuracy_score(labels, predicted)),
        loss=_cross_entropy(logits, labels),
        macro_f1=float(per_class[2].mean()),
        matthews=float(metrics.matthews_corrcoef(labels, predicted)),
        interval=bootstrap_interval(correct, lambda means: means[:, 0]),
        class_names=tuple(class_names),
        confusion=tuple(map(tuple, confusion.tolist())),
        per_class=tuple(zip(*(column.tolist() for column in per_class))),
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis.

    Args:
        logits: float `(..., classes)`.

    Returns:
        Float `(..., classes)`, summing to 1.
    """
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def check_classes(labels: np.ndarray, num_classes: int) -> None:
    """Makes sure that labels number classes.

    Args:
        labels: int `(rows,)`.
        num_classes: number of classes.

    Raises:
        UsageError: naming the first label out of range.
    """
    if labels.dtype.kind not in "iu":
        raise UsageError(
            f"Labels must be integers. Received: dtype={labels.dtype}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise UsageError(
            f"Labels must be from 0 to {num_classes - 1}. Received: "
            f"labels[{wrong[0]}]={labels[wrong[0]]}"
        )


def class_table(
    title: str,
    names: Sequence[str],
    per_class: Sequence[tuple[float, float, float, int]],
    first: str = "class",
    last: str = "rows",
) -> Table:
    """A row a class: its precision, recall, F1 and support.

    Args:
        title: of the table.
        names: one a class.
        per_class: precision, recall, F1 and support of each class.
        first: heads the names.
        last: heads the supports.

    Returns:
        The table.
    """
    rows = [
        (name, *map(Percent, numbers), support)
        for name, (*numbers, support) in zip(names, per_class)
    ]
    return Table(title, (first, "precision", "recall", "F1", last), rows)


def interval_rows(
    metric: str, interval: tuple[float, float], unit: type = Percent
) -> list[tuple]:
    """The ends of a confidence interval, as rows of a table of metrics.

    Args:
        metric: whose interval it is.
        interval: its lower and its upper end.
        unit: how the ends are shown.

    Returns:
        Two rows.
    """
    return [
        (f"{metric}, 95 % interval {end}", unit(value))
        for end, value in zip(("from", "to"), interval)
    ]


def _cross_entropy(logits, labels):
    shifted = logits - logits.max(-1, keepdims=True)
    own = np.take_along_axis(shifted, labels[:, np.newaxis], -1)[:, 0]
    return float((np.log(np.exp(shifted).sum(-1)) - own).mean())

import numpy as np
import pytest
from sklearn import metrics

from kbig import evaluation
from kbig.errors import GateError
from kbig.errors import UsageError

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
LABELS = np.array([0, 1, 1, 1])


def test_classification_equals_hand_arithmetic():
    report = evaluation.classification(LOGITS, LABELS, ("no", "yes"))
    assert report.accuracy == 3 / 4
    # -log softmax of the label's logit, row by row.
    losses = [
        np.log1p(np.exp(-2.0)),
        np.log1p(np.exp(-1.0)),
        np.log1p(np.exp(3.0)),
        np.log1p(np.exp(-2.0)),
    ]
    assert report.loss == pytest.approx(np.mean(losses))
    assert report.confusion == ((1, 0), (1, 2))
    no, yes = report.per_class
    assert no == pytest.approx((1 / 2, 1.0, 2 / 3, 1))
    assert yes == pytest.approx((1.0, 2 / 3, 0.8, 3))
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    # (TP TN - FP FN) / sqrt((TP+FP) (TP+FN) (TN+FP) (TN+FN))
    assert report.matthews == pytest.approx(2 / np.sqrt(2 * 3 * 1 * 2))
    low, high = report.interval
    assert 0 <= low < 3 / 4 < high <= 1
    shown = dict(report.tables()[0].rows)
    assert shown["accuracy"] == 3 / 4
    assert shown["accuracy, 95 % interval to"] == high


def test_the_loss_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 4)) * 5
    labels = generator.integers(4, size=50)
    report = evaluation.classification(logits, labels, "abcd")
    assert report.loss == pytest.approx(
        metrics.log_loss(labels, evaluation.probabilities(logits))
    )


def test_a_class_without_test_rows_is_kept():
    logits = np.pad(LOGITS, ((0, 0), (0, 1)), constant_values=-9)
    report = evaluation.classification(logits, LABELS, ("no", "yes", "maybe"))
    assert report.per_class[2] == (0.0, 0.0, 0.0, 0)
    assert np.shape(report.confusion) == (3, 3)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"Received: \(4, 2\)"):
        evaluation.classification(LOGITS, LABELS, ("a", "b", "c"))
    with pytest.raises(UsageError, match="Received: none"):
        evaluation.classification(np.zeros((0, 2)), LABELS[:0], ("a", "b"))


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 1, 2, 1], r"0 to 1. Received: labels\[2\]=2"),
        ([-1, 1, 1, 1], r"0 to 1. Received: labels\[0\]=-1"),
        ([0.0, 1.0, 1.0, 1.0], "integers. Received: dtype=float64"),
    ],
)
def test_labels_out_of_range_are_refused(labels, message):
    with pytest.raises(UsageError, match=message):
        evaluation.classification(LOGITS, labels, ("no", "yes"))


def test_probabilities_survive_large_logits():
    np.testing.assert_allclose(
        evaluation.probabilities(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0]]
    )


def test_a_model_that_diverged_is_a_failed_gate():
    with pytest.raises(GateError, match="diverged"):
        evaluation.classification(LOGITS * np.nan, LABELS, ("no", "yes"))

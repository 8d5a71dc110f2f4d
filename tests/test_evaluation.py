import numpy as np
import pytest

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


def test_a_class_without_test_rows_is_kept():
    logits = np.pad(LOGITS, ((0, 0), (0, 1)), constant_values=-9)
    report = evaluation.classification(logits, LABELS, ("no", "yes", "maybe"))
    assert report.per_class[2] == (0.0, 0.0, 0.0, 0)
    assert np.shape(report.confusion) == (3, 3)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"Received: \(4, 2\)"):
        evaluation.classification(LOGITS, LABELS, ("a", "b", "c"))


def test_forecasting_averages_absolute_errors():
    targets = np.array([[1.0, 2.0], [3.0, 5.0]])
    report = evaluation.forecasting(
        {"zero": np.zeros((2, 2)), "right": targets}, targets
    )
    assert report.errors == {"zero": 11 / 4, "right": 0.0}
    assert [row[0] for row in report.tables()[0].rows] == ["right", "zero"]


def test_probabilities_survive_large_logits():
    np.testing.assert_allclose(
        evaluation.probabilities(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0]]
    )


def test_a_model_that_diverged_is_a_failed_gate():
    with pytest.raises(GateError, match="diverged"):
        evaluation.classification(LOGITS * np.nan, LABELS, ("no", "yes"))

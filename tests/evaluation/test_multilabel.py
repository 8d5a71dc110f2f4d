import numpy as np
import pytest
from sklearn import metrics

from kbig import evaluation
from kbig.errors import GateError
from kbig.errors import UsageError

NAMES = ("dog", "cat", "cow")


def test_metrics_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=(80, 3)).astype(np.float32)
    logits = labels * 2 - 1 + generator.normal(size=(80, 3)) * 2
    report = evaluation.multilabel(logits, labels, NAMES)
    predicted = logits > 0
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        expected = metrics.f1_score(labels, predicted, average=average)
        assert getattr(report, name) == pytest.approx(expected)
    assert report.subset_accuracy == metrics.accuracy_score(labels, predicted)
    chance = 1 / (1 + np.exp(-logits))
    expected = np.mean(
        [metrics.log_loss(labels[:, c], chance[:, c]) for c in range(3)]
    )
    assert report.loss == pytest.approx(expected)
    expected = metrics.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose(np.transpose(report.per_class), expected)
    assert report.interval[0] < report.micro_f1 < report.interval[1]
    assert report.rows == 80


def test_multilabel_equals_hand_arithmetic():
    logits = np.array([[2.0, -1.0, 1.0], [-1.0, -1.0, -3.0]])
    labels = np.array([[1, 1, 0], [0, 0, 0]])
    report = evaluation.multilabel(logits, labels, NAMES)
    assert report.micro_f1 == pytest.approx(2 * 1 / (2 + 2))
    assert report.macro_f1 == pytest.approx(1 / 3)
    assert report.subset_accuracy == 0.5
    losses = np.log1p(np.exp([-2.0, 1.0, 1.0, -1.0, -1.0, -3.0]))
    assert report.loss == pytest.approx(losses.mean())
    assert report.per_class[1] == (0.0, 0.0, 0.0, 1)
    shown = dict(report.tables()[0].rows)
    assert shown["every class right"] == 0.5


def test_one_class_and_no_label_at_all():
    report = evaluation.multilabel([[-1.0], [-2.0]], [[0], [0]], ("a",))
    assert report.micro_f1 == report.macro_f1 == 0
    assert report.subset_accuracy == 1
    assert report.per_class == ((0.0, 0.0, 0.0, 0),)


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        (np.zeros((2, 3)), np.full((2, 3), 0.5), r"labels\[0\]=\[0.5"),
        (np.zeros((2, 2)), np.zeros((2, 3)), r"Received: \(2, 2\)"),
        (np.zeros((2, 3)), np.zeros(2), r"Received: \(2,\)"),
        (np.zeros((2, 2)), np.zeros((2, 2)), r"\(rows, 3\). Received"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "Received: none"),
    ],
)
def test_what_does_not_fit(logits, labels, message):
    with pytest.raises(UsageError, match=message):
        evaluation.multilabel(logits, labels, NAMES)


def test_a_model_that_diverged_is_a_failed_gate():
    with pytest.raises(GateError, match="diverged"):
        evaluation.multilabel([[np.inf, 0, 0]], [[1, 0, 0]], NAMES)

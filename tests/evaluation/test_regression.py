import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from kbig import evaluation
from kbig.errors import GateError
from kbig.errors import UsageError


def test_metrics_are_those_of_scipy_and_scikit_learn():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 10, size=60) / 2
    outputs = (targets + generator.normal(size=60)).astype(np.float32)
    report = evaluation.regression(outputs[:, np.newaxis], targets)
    assert report.pearson == pytest.approx(np.corrcoef(outputs, targets)[0, 1])
    expected = stats.spearmanr(outputs, targets).statistic
    assert report.spearman == pytest.approx(expected)
    expected = metrics.mean_absolute_error(targets, outputs)
    assert report.mae == pytest.approx(expected)
    expected = metrics.root_mean_squared_error(targets, outputs)
    assert report.rmse == pytest.approx(expected)
    assert report.rows == 60
    assert dict(report.tables()[0].rows)["mean absolute error"] == report.mae


def test_the_interval_is_that_of_scipy_far_from_zero():
    generator = np.random.default_rng(0)
    targets = 1e6 + generator.normal(size=200)
    outputs = targets + generator.normal(size=200)
    oracle = stats.bootstrap(
        (outputs, targets),
        lambda x, y: stats.pearsonr(x, y).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        rng=0,
    ).confidence_interval
    interval = evaluation.regression(outputs, targets).interval
    np.testing.assert_allclose(interval, oracle, atol=0.012)


def test_one_value_correlates_with_nothing():
    report = evaluation.regression([2.0, 2.0, 2.0], [1.0, 2.0, 3.0])
    assert np.isnan([report.pearson, report.spearman, *report.interval]).all()
    assert report.mae == pytest.approx(2 / 3)
    assert report.to_dict()["pearson"] is None


@pytest.mark.parametrize(
    "outputs, targets, message",
    [
        ([1.0], [1.0, 2.0], r"Received: \(2,\) and \(1,\)"),
        ([[1.0, 2.0]], [1.0], r"Received: \(1,\) and \(1, 2\)"),
        ([1.0], [np.nan], r"Received: targets\[0\]=nan"),
        ([], [], "Received: none"),
    ],
)
def test_what_does_not_fit(outputs, targets, message):
    with pytest.raises(UsageError, match=message):
        evaluation.regression(outputs, targets)


def test_classes_are_refused():
    with pytest.raises(UsageError, match="Received: class_names="):
        evaluation.regression([1.0], [1.0], ("a",))


def test_a_model_that_diverged_is_a_failed_gate():
    with pytest.raises(GateError, match="outputs are not finite"):
        evaluation.regression([np.nan], [1.0])

import numpy as np
import pytest
from scipy import stats

from kbig.evaluation import bootstrap_interval
from kbig.evaluation.counts import f1


def test_the_interval_of_a_share_is_the_binomial_one():
    # The number of right rows in a resample is binomial.
    correct = np.arange(400)[:, np.newaxis] < 340
    interval = bootstrap_interval(correct, lambda means: means[:, 0])
    expected = stats.binom.ppf([0.025, 0.975], 400, 0.85) / 400
    # The error of a quantile of 1,000 draws, four times over: 0.0074 each.
    np.testing.assert_allclose(interval, expected, atol=0.01)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(1).exponential(size=300)
    oracle = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=0, n_resamples=5000
    ).confidence_interval
    own = bootstrap_interval(values[:, np.newaxis], lambda m: m[:, 0])
    np.testing.assert_allclose(own, oracle, atol=0.025)


def test_the_seed_repeats_it():
    rows = np.random.default_rng(0).normal(size=(50, 1))

    def interval(seed):
        return bootstrap_interval(rows, lambda m: m[:, 0], seed=seed)

    assert interval(3) == interval(3) != interval(4)


def test_what_has_no_metric_has_no_interval():
    interval = bootstrap_interval(np.ones((5, 1)), lambda m: m[:, 0] * np.nan)
    assert np.isnan(interval).all()


def test_f1_of_counts():
    sums = np.array([[3, 4, 6], [0, 0, 0], [0, 2, 0]])
    assert f1(sums).tolist() == pytest.approx([2 * 3 / 10, 0, 0])

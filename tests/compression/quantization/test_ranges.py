"""Ranges: what is observed, by formulas in the test."""

import numpy as np
import pytest
import tensorflow as tf

from kbig.compression.quantization.ranges import Observation
from kbig.compression.quantization.ranges import Progress
from kbig.compression.quantization.ranges import Range
from kbig.compression.quantization.ranges import RangeSpec

TRAINING = Progress(training=True)
BATCHES = ([-1.0, 3.0], [-2.0, 1.0], [0.5, 4.0])


def bounds(found):
    return [float(bound) for bound in found.bounds()]


def observed(observer, **options):
    found = Range(RangeSpec("x", **options), Observation(observer, 0.9))
    for batch in BATCHES:
        found.apply(tf.constant(batch), TRAINING)
    return bounds(found)


def test_moving_average_of_the_extremes():
    low = high = 0.0
    for batch in BATCHES:
        # A range holds zero.
        low = 0.9 * low + 0.1 * min(0.0, *batch)
        high = 0.9 * high + 0.1 * max(batch)
    np.testing.assert_allclose(observed("ema"), [low, high], rtol=1e-5)


def test_extremes_of_all():
    assert observed("min_max") == [-2.0, 4.0]


def test_percentiles_leave_outliers_out():
    values = np.random.default_rng(0).uniform(-1, 1, 10_000).astype("float32")
    values[0] = 1e6
    found = Range(RangeSpec("x"), Observation("percentile"))
    found.include(tf.constant(values))
    expected = np.quantile(values, [0.001, 0.999])
    np.testing.assert_allclose(bounds(found), expected, atol=0.01)


@pytest.mark.parametrize("observer", ["ema", "min_max", "percentile"])
def test_channels_are_observed_each_by_itself(observer):
    values = np.random.default_rng(0).normal(size=(3, 40, 5))
    values = (values * [1, 50, 0.1, 2, 0]).astype("float32")
    together = Range(
        RangeSpec("x", symmetric=True, channels=5), Observation(observer, 0.5)
    )
    alone = [
        Range(RangeSpec("x", symmetric=True), Observation(observer, 0.5))
        for _ in range(5)
    ]
    for batch in values:
        together.apply(tf.constant(batch.reshape(2, 20, 5)), TRAINING)
        for i, each in enumerate(alone):
            each.apply(tf.constant(batch[:, i]), TRAINING)
    expected = np.transpose([bounds(each) for each in alone])
    np.testing.assert_allclose(together.bounds(), expected, rtol=1e-6)


def test_inference_observes_nothing():
    found = Range(RangeSpec("x"), Observation())
    found.include(tf.constant([-1.0, 1.0]))
    before = bounds(found)
    y = found.apply(tf.constant([5.0]), Progress(training=False))
    assert bounds(found) == before
    np.testing.assert_allclose(y, [1.0], atol=0.01)


def test_fixed_margin_and_symmetric():
    fixed = Range(RangeSpec("x", fixed=(0.0, 0.5)), Observation())
    fixed.apply(tf.constant([-9.0, 9.0]), TRAINING)
    assert bounds(fixed) == [0.0, 0.5]
    assert not fixed.weights
    low, high = observed("min_max", margin=8.0)
    assert (low, high) == (-10.0, 4.0)
    low, high = observed("min_max", symmetric=True)
    # int8 has one more value below zero than above it.
    assert high == 4.0
    assert low == pytest.approx(-4.0 * 128 / 127)


def test_the_steps_of_a_loop_are_one_batch():
    found = Range(RangeSpec("x", loops=True), Observation("ema", 0.5))
    for step in ([-1.0, 2.0], [-4.0, 1.0], [0.0, 6.0]):
        found.apply(tf.constant(step), TRAINING)
    assert bounds(found) == [0.0, 0.0]
    found.settle(TRAINING)
    assert bounds(found) == [-2.0, 3.0]
    found.settle(TRAINING)  # A loop without a step.
    assert bounds(found) == [-1.0, 1.5]

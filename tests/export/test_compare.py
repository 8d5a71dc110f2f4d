import numpy as np
import pytest

from kbig.export import compare

EXPECTED = np.array([[1.0, 3.0], [5.0, -3.0]])


def test_difference_is_a_share_of_the_range():
    got = EXPECTED + [[0.0, 0.2], [-0.4, 0.0]]
    assert compare.largest_difference(got, EXPECTED) == pytest.approx(0.4 / 8)


def test_difference_of_a_constant_output_is_a_share_of_its_size():
    expected = np.full((2, 2), 4.0)
    got = expected + 1.0
    assert compare.largest_difference(got, expected) == pytest.approx(1 / 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_never_passes(bad):
    got = EXPECTED.copy()
    got[0, 0] = bad
    assert np.isnan(compare.largest_difference(got, EXPECTED))


def test_another_shape_never_passes():
    assert np.isnan(compare.largest_difference(EXPECTED[:1], EXPECTED))


def test_top1_agreement_counts_rows():
    got = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert compare.top1_agreement(got, EXPECTED) == 0.5


def test_the_metric_follows_the_labels():
    classes, values = np.array([1, 1]), EXPECTED + 0.5
    assert compare.metric_name(classes) == "accuracy"
    assert compare.task_metric(EXPECTED, classes) == 0.5
    assert compare.metric_name(values) == "mean abs. error"
    assert compare.task_metric(EXPECTED, values) == pytest.approx(0.5)
    assert compare.task_metric(EXPECTED, None) is None

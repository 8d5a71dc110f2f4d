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


@pytest.mark.parametrize("weights, share", [("float32", 1e-5), ("int8", 0.05)])
def test_a_few_steps_of_float32_are_allowed_far_from_zero(weights, share):
    # From 1024 to 2048 a step is 2**-13, 1.2e-4; the range is 2.
    far = np.array([1998.0, 2000.0], "float32")
    allowed = compare.tolerance(far, weights)
    assert allowed == pytest.approx(share + 4 * 2**-13 / 2)
    got = np.nextafter(far, np.float32(3000))
    assert (compare.largest_difference(got, far) <= share) == (share > 1e-4)
    assert compare.largest_difference(got, far) <= allowed
    # Around zero they hardly matter: from 4 to 8 a step is 2**-21.
    near = compare.tolerance(EXPECTED, weights)
    assert near == pytest.approx(share + 4 * 2**-21 / 8)
    assert near < 1.03 * share


def test_another_shape_never_passes():
    assert np.isnan(compare.largest_difference(EXPECTED[:1], EXPECTED))


@pytest.mark.parametrize(
    "disagreements, decisions, weights, suffices",
    [
        (0, 1, "float32", True),
        (1, 1, "float32", True),
        (1, 3, "int8", True),
        (2, 3, "int8", False),
        (1, 500, "float32", True),  # 0.998, but a single row.
        (2, 2000, "float32", True),  # 0.999 exactly.
        (2, 1999, "float32", False),
        (2, 100, "float16", True),  # 0.98 exactly.
        (2, 99, "float16", False),
        (20, 1000, "int8", True),
        (21, 1000, "int8", False),
        (21, 1000, "float32", False),
    ],
)
def test_one_row_or_a_small_share_may_be_decided_otherwise(
    disagreements, decisions, weights, suffices
):
    agreement = (decisions - disagreements) / decisions
    found = compare.agreement_suffices(agreement, decisions, weights)
    assert found == suffices

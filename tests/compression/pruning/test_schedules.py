import numpy as np
import pytest

from kbig.compression import ConstantSparsity
from kbig.compression import PolynomialDecay
from kbig.compression.pruning.schedules import PolynomialSparsity
from kbig.compression.pruning.schedules import over_run
from kbig.compression.pruning.schedules import run_of
from kbig.compression.pruning.schedules import updates
from tests.contracts import check_usage_error


def test_a_polynomial_by_hand():
    schedule = PolynomialSparsity(0.8, begin_step=100, end_step=200)
    assert schedule(99) == (False, 0.0)
    assert schedule(100) == (True, 0.0)
    assert schedule(150)[1] == pytest.approx(0.8 * (1 - 0.5**3))
    assert schedule(200) == (True, 0.8)
    assert schedule(201) == (False, 0.8)


def test_a_polynomial_is_tfmots():
    ours = updates(PolynomialSparsity(0.9, 10, 110, 20), 200)
    theirs = updates(PolynomialDecay(0.0, 0.9, 10, 110, 3, 20), 200)
    assert [s for s, _ in ours] == [s for s, _ in theirs]
    np.testing.assert_allclose(
        [v for _, v in ours], [v for _, v in theirs], atol=1e-6
    )


def test_a_constant_of_tfmot_goes_on():
    schedule = ConstantSparsity(0.5, begin_step=5, frequency=10)
    assert updates(schedule, 30) == [(5, 0.5), (15, 0.5), (25, 0.5)]


def test_the_end_of_a_schedule_is_an_update():
    # TFMOT's own last update would be at step 9, with 0.7992.
    schedule = PolynomialDecay(0.0, 0.8, 0, 10, 3, 9)
    assert updates(schedule, 10)[-1] == (10, 0.8)


def test_a_number_leaves_three_tenths_of_a_run_to_recover():
    schedule = over_run(0.8, 1000, 2000)
    due = updates(schedule, 2000)
    assert due[0] == (1200, 0.0)
    assert due[-1] == (1700, 0.8)
    assert 20 <= len(due) <= 40


def test_the_shortest_run_reaches_its_target():
    assert updates(over_run(0.8, 0, 1), 1)[-1] == (1, 0.8)


def test_a_schedule_that_ends_too_late():
    schedule = PolynomialDecay(0.0, 0.8, 0, 500)
    check_usage_error(lambda: updates(schedule, 499), "step 500", "step 499")
    constant = ConstantSparsity(0.8, begin_step=500)
    check_usage_error(lambda: updates(constant, 499), "step 500", "step 499")


def test_a_constant_may_end_after_the_run():
    schedule = ConstantSparsity(0.8, 0, end_step=500, frequency=100)
    assert updates(schedule, 250) == [(0, 0.8), (100, 0.8), (200, 0.8)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 0, 4, 100), (0, 400)),
        ((200, 2, 4, 100), (0, 400)),  # Goes on after two epochs,
        ((250, 2, 4, 100), (0, 400)),  # or within the third.
        ((900, 0, 4, 100), (900, 1300)),  # Trained before, elsewhere.
        ((0, 2, 4, 100), (-200, 200)),  # Goes on with a new optimizer.
        ((50, 2, 4, 100, 4), (0, 100)),
    ],
)
def test_where_a_run_begins_and_ends(arguments, expected):
    assert run_of(*arguments) == expected

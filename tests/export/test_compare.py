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


def test_another_shape_agrees_nowhere():
    assert compare.top1_agreement(EXPECTED[:1], EXPECTED) == 0.0


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


# e^(ln 3) : e^0 = 3 : 1.
LOGITS = np.array([[np.log(3.0), 0.0], [0.0, np.log(3.0)]])
DECISIONS = {
    "probabilities": np.array([[0.75, 0.25], [0.25, 0.75]]),
    "label": np.array(["été".encode(), b"winter"]),
}


def test_decisions_that_follow_from_the_logits_have_no_fault():
    assert compare.decision_faults(DECISIONS, LOGITS, ("été", "winter")) == ()
    large = {"probabilities": np.array([[1.0, 0.0]])}
    assert compare.decision_faults(large, np.array([[1e4, 0.0]]), "ab") == ()
    assert compare.decision_faults({"logits": LOGITS}, LOGITS, "ab") == ()


def test_labels_of_other_names_are_counted():
    (fault,) = compare.decision_faults(DECISIONS, LOGITS, ("été", "autumn"))
    assert fault.startswith("1 of 2 labels")
    (fault,) = compare.decision_faults(DECISIONS, LOGITS, ("winter", "été"))
    assert fault.startswith("2 of 2 labels")


@pytest.mark.parametrize(
    "error, shown", [(2e-5, "2e-05"), (0.5, "0.5"), (np.nan, "nan")]
)
def test_probabilities_that_are_not_the_softmax_are_found(error, shown):
    wrong = {"probabilities": DECISIONS["probabilities"] + [[0.0, error]]}
    (fault,) = compare.decision_faults(wrong, LOGITS, ("été", "winter"))
    assert f"by {shown}, 1e-05 is allowed" in fault

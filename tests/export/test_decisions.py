import functools

import numpy as np
import pytest

from kbig.export import decisions
from kbig.export.decisions import TASKS
from tests.contracts import check_usage_error

EXPECTED = np.array([[1.0, 3.0], [5.0, -3.0]])
CLASSIFICATION = TASKS["classification"]


def faults(outputs, logits, class_names, task=CLASSIFICATION):
    return decisions.decision_faults(outputs, logits, class_names, task)


def test_agreement_counts_rows_of_classes_and_cells_of_labels():
    got = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert decisions.agreement(got, EXPECTED, CLASSIFICATION) == (0.5, 2)
    # Above zero: (no, yes), (no, yes) against (yes, yes), (yes, no).
    found = decisions.agreement(got, EXPECTED, TASKS["multilabel"])
    assert found == (0.25, 4)


def test_labels_that_neither_side_gives_do_not_count():
    got, expected = np.full((2, 100, 50), -1.0)
    got[:, 0] = expected[:, 0] = 1.0
    got[:10, 1] = expected[90:, 2] = 1.0
    # Of 5,000 cells 100 are given by both, 10 by one and 10 by the other.
    found = decisions.agreement(got, expected, TASKS["multilabel"])
    assert found == (pytest.approx(100 / 120), 120)
    nothing = np.full((2, 3), -1.0)
    found = decisions.agreement(nothing, nothing, TASKS["multilabel"])
    assert found == (1.0, 0)


def test_another_shape_agrees_nowhere():
    found = decisions.agreement(EXPECTED[:1], EXPECTED, CLASSIFICATION)
    assert found == (0.0, 2)


def test_the_task_follows_the_labels_unless_it_is_named():
    classes, values = np.array([1, 1]), EXPECTED + 0.5
    task = decisions.task_of(None, classes, [])
    assert task.metric_name == "accuracy"
    assert task.metric(EXPECTED, classes) == 0.5
    task = decisions.task_of(None, values, ["logits"])
    assert task.metric_name == "mean abs. error"
    assert task.metric(EXPECTED, values) == pytest.approx(0.5)
    assert decisions.task_of(None, None, ["logits"]) is CLASSIFICATION
    assert decisions.task_of(None, None, ["dense"]) is None
    assert decisions.task_of("multilabel", values, []) is TASKS["multilabel"]
    check_usage_error(
        lambda: decisions.task_of("tagging", None, []), "'tagging'", "tags"
    )


def test_class_names_are_of_classes():
    names = ("cat", "dog")
    assert decisions.task_of(None, None, ["dense"], names) is CLASSIFICATION
    one_hot = np.eye(2, dtype="float32")
    for arguments in ((None, one_hot), ("regression", None)):
        check_usage_error(
            functools.partial(decisions.task_of, *arguments, ["logits"], names),
            "2 class names",
            "multilabel",
        )


def test_micro_f1_counts_all_classes_together():
    labels = np.array([[0.0, 1.0], [1.0, 1.0]], "float32")
    # Two of three chosen (1 1, 1 0) are among the three wanted (0 1, 1 1).
    assert TASKS["multilabel"].metric(EXPECTED, labels) == pytest.approx(2 / 3)


# e^(ln 3) : e^0 = 3 : 1.
LOGITS = np.array([[np.log(3.0), 0.0], [0.0, np.log(3.0)]])
DECISIONS = {
    "probabilities": np.array([[0.75, 0.25], [0.25, 0.75]]),
    "label": np.array(["été".encode(), b"winter"]),
}


def test_decisions_that_follow_from_the_logits_have_no_fault():
    assert faults(DECISIONS, LOGITS, ("été", "winter")) == ()
    large = {"probabilities": np.array([[1.0, 0.0]])}
    assert faults(large, np.array([[1e4, 0.0]]), "ab") == ()
    assert faults({"logits": LOGITS}, LOGITS, "ab") == ()


def test_labels_of_other_names_are_counted():
    (fault,) = faults(DECISIONS, LOGITS, ("été", "autumn"))
    assert fault.startswith("1 of 2 labels")
    (fault,) = faults(DECISIONS, LOGITS, ("winter", "été"))
    assert fault.startswith("2 of 2 labels")


@pytest.mark.parametrize(
    "error, shown", [(2e-5, "2e-05"), (0.5, "0.5"), (np.nan, "nan")]
)
def test_probabilities_that_are_not_the_softmax_are_found(error, shown):
    wrong = {"probabilities": DECISIONS["probabilities"] + [[0.0, error]]}
    (fault,) = faults(wrong, LOGITS, ("été", "winter"))
    assert f"by {shown}, 1e-05 is allowed" in fault


def test_several_labels_have_probabilities_of_their_own():
    outputs = {"probabilities": np.array([[0.75, 0.5], [0.5, 0.75]])}
    assert faults(outputs, LOGITS, "ab", TASKS["multilabel"]) == ()
    assert len(faults(outputs, LOGITS, "ab")) == 1


def test_labels_of_every_token_are_compared():
    logits = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    outputs = {"label": np.array([[b"b", b"b"]])}
    (fault,) = faults(outputs, logits, "ab", TASKS["tags"])
    assert fault.startswith("1 of 2 labels")

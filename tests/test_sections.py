import numpy as np
import pytest

from kbig import evaluation
from kbig import sections
from kbig.reporting import Table
from kbig.reporting.page import page

TEXTS = np.array([["one", "two"], ["three", "four"]], dtype=object)
REPORTS = {
    "classification": ([[2.0, 1.0], [0.0, 1.0]], [0, 1], ("a", "b")),
    "multilabel": ([[2.0, -1.0], [0.0, 1.0]], [[1, 0], [0, 1]], ("a", "b")),
    "regression": ([1.0, 2.0], [1.0, 3.0], ()),
    "tags": ([[1], [0]], [[1], [0]], ("O", "B-X")),
}


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


@pytest.mark.parametrize(
    "task, draw",
    [
        ("classification", sections.classification),
        ("multilabel", sections.multilabel),
        ("regression", sections.regression),
        ("tags", sections.tagging),
    ],
)
def test_every_report_has_a_section(task, draw):
    report = evaluation.TASKS[task].evaluate(*REPORTS[task])
    section = draw(report)
    assert "2 " in section.lead and "never trained on" in section.lead
    assert [t.title for t in tables(section)] == [
        t.title for t in report.tables()
    ]
    assert "95 % interval" in page("Run", [section])


def test_pairs_are_shown_side_by_side():
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    section = sections.predictions(TEXTS, logits, [0, 0], ("a", "b"))
    (block,) = section.blocks
    assert [example.text for example in block.examples] == [
        "one ⟷ two",
        "three ⟷ four",
    ]
    assert [example.predicted for example in block.examples] == ["a", "b"]


def test_label_sets_are_named():
    logits, labels = np.array([[2, 1], [-1, -2]]), np.array([[1, 0], [1, 1]])
    section = sections.multilabel_predictions(TEXTS, logits, labels, ("a", "b"))
    assert tables(section)[0].rows == (
        ("one ⟷ two", "a, b", "a"),
        ("three ⟷ four", "–", "a, b"),
    )


def test_values_stand_beside_their_targets():
    outputs = np.array([[1.5], [2.5]], np.float32)
    section = sections.regression_predictions(["x", "y"], outputs, [1.0, 3.0])
    assert tables(section)[0].rows == (("x", 1.5, 1.0), ("y", 2.5, 3.0))


def test_words_stand_beside_their_tags():
    section = sections.tag_predictions(
        [("Jane", "left"), ("Bath",)],
        [np.array([1, 0]), np.array([0])],
        [np.array([1, 0]), np.array([1])],
        ("O", "B-X"),
    )
    assert [table.rows for table in tables(section)] == [
        (("Jane", "B-X", "B-X"), ("left", "O", "O")),
        (("Bath", "O", "B-X"),),
    ]
    assert "Jane" in page("Run", [section])

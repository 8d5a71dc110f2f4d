"""Gates of integers that are judged by the metric of their task."""

import numpy as np
import pytest

from kbig.export import compare
from kbig.export import gates
from kbig.export.decisions import TASKS


@pytest.mark.parametrize(
    ("weights", "task", "labels", "judged"),
    [
        ("integers", "classification", True, True),
        ("integers", "multilabel", True, True),
        ("integers", "classification", False, False),
        ("integers", "regression", True, False),
        ("int8", "classification", True, False),
        ("float32", "classification", True, False),
    ],
)
def test_only_integers_with_labels_are_judged(weights, task, labels, judged):
    labels = np.zeros(3, int) if labels else None
    gate = gates.gate_of(weights, labels, TASKS[task])
    assert gate == (compare.JUDGED if judged else weights)


@pytest.mark.parametrize(
    ("reached", "decisions", "holds"),
    [
        (0.90, 1000, True),
        (0.8901, 1000, True),
        (0.8899, 1000, False),
        # One of 20 decisions.
        (0.85, 20, True),
        (0.80, 20, False),
        (0.95, 1000, True),
    ],
)
def test_a_point_of_the_metric_may_be_lost(reached, decisions, holds):
    faults = gates.metric_faults(reached, 0.9, decisions, compare.JUDGED)
    assert bool(faults) != holds
    assert gates.metric_faults(0.0, 0.9, decisions, "integers") == []


def test_each_signature_has_its_own_oracle():
    own, short = {"logits": np.array([[1.0, 0.0]])}, {"logits": np.eye(2)[1:]}
    wanted = gates.Wanted(own, {"classify": {}}, {"steps_2": short})
    assert wanted.of("serving_default") is own
    assert wanted.of("steps_2") is short
    assert wanted.of("classify") == {}
    task = TASKS["classification"]
    right = {"serving_default": own, "steps_2": short}
    assert gates.worst_agreement(right, wanted, task) == (1.0, 1)
    swapped = {"serving_default": own, "steps_2": own}
    assert gates.worst_agreement(swapped, wanted, task) == (0.0, 1)
    difference, _ = gates.worst_difference(swapped, wanted, "float32")
    assert difference == 1.0

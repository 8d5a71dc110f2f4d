"""Every loss against its formula in float64."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.special import softmax

from kbig.errors import UsageError
from kbig.tuning import distillation_losses as losses

RANDOM = np.random.default_rng(0)
STUDENT = RANDOM.normal(0, 3, (4, 5))
TEACHER = RANDOM.normal(0, 3, (4, 5))
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])


def divergence(teacher, student):
    return (softmax(teacher, -1) * (log_softmax(teacher, -1) - student)).sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_labels_equal_their_formula(temperature):
    expected = temperature**2 * divergence(
        TEACHER / temperature, log_softmax(STUDENT / temperature, -1)
    )
    found = losses.soft_label_loss(STUDENT, TEACHER, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    same = losses.soft_label_loss(TEACHER, TEACHER + 7, temperature)
    np.testing.assert_allclose(same, np.zeros(4), atol=1e-5)


def test_a_high_temperature_matches_logits():
    """Hinton et al. 2015, equation 4: the limit is half a mean square."""
    student = STUDENT - STUDENT.mean(-1, keepdims=True)
    teacher = TEACHER - TEACHER.mean(-1, keepdims=True)
    expected = ((student - teacher) ** 2).mean(-1) / 2
    # Float32 loses what is left of two nearly equal logarithms at 1e3.
    found = losses.soft_label_loss(STUDENT, TEACHER, 50.0)
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_hidden_states_count_over_real_tokens():
    student, teacher = RANDOM.normal(size=(2, 3, 4, 6))
    squares = ((student - teacher) ** 2).mean(-1)
    expected = [row[mask == 1].mean() for row, mask in zip(squares, MASK)]
    found = losses.hidden_state_loss(student, teacher, MASK)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_relations_compare_models_of_different_width(num_heads):
    student = RANDOM.normal(size=(3, 4, 8))
    teacher = RANDOM.normal(size=(3, 4, 12))

    def relations(vectors, row, head, tokens):
        size = vectors.shape[-1] // num_heads
        part = vectors[row, :tokens, head * size : (head + 1) * size]
        return part @ part.T / np.sqrt(size)

    expected = [
        np.mean(
            [
                divergence(
                    relations(teacher, row, head, tokens),
                    log_softmax(relations(student, row, head, tokens), -1),
                )
                for head in range(num_heads)
            ]
        )
        for row, tokens in enumerate(MASK.sum(-1))
    ]
    found = losses.relation_loss(student, teacher, MASK, num_heads)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_layers_are_matched_evenly():
    assert losses.matched_layers(4, 12) == (3, 6, 9, 12)  # As TinyBERT4.
    assert losses.matched_layers(2, 6) == (3, 6)
    assert losses.matched_layers(3, 3) == (1, 2, 3)
    assert losses.matched_layers(4, 6)[-1] == 6
    with pytest.raises(UsageError, match="7 layers, taught by 6"):
        losses.matched_layers(7, 6)


def test_rows_without_a_label_learn_from_the_teacher_alone():
    labels = np.array([1, -1, 4, -1])
    soft = 4 * divergence(TEACHER / 2, log_softmax(STUDENT / 2, -1))
    hard = -log_softmax(STUDENT, -1)[np.arange(4), labels]
    mixed = 0.3 * soft + 0.7 * hard
    expected = np.where(labels < 0, soft, mixed).mean()
    loss = losses.DistillationLoss(temperature=2.0, alpha=0.3)
    targets = losses.distillation_targets(labels, TEACHER)
    assert float(loss(targets, STUDENT)) == pytest.approx(expected, rel=1e-5)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (copy.temperature, copy.alpha) == (2.0, 0.3)


def test_hard_labels_alone_are_the_usual_loss():
    labels = np.array([0, 1, 2, 3])
    targets = losses.distillation_targets(labels, TEACHER)
    loss = losses.DistillationLoss(alpha=0.0)(targets, STUDENT)
    expected = -log_softmax(STUDENT, -1)[np.arange(4), labels].mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_accuracy_skips_rows_without_a_label():
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    targets = losses.distillation_targets([0, 0, -1, -1], logits[::-1])
    metric = losses.LabelAccuracy()
    metric.update_state(targets, logits)
    assert float(metric.result()) == 1 / 2
    metric.update_state(targets, logits, sample_weight=[1, 0, 1, 1])
    assert float(metric.result()) == pytest.approx(2 / 3)
    # Reversed, each row meets a teacher of the other opinion.
    assert losses.agreement(targets, logits).numpy().tolist() == [0, 0, 0, 0]
    assert losses.agreement(targets, logits[::-1]).numpy().sum() == 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"temperature": 0.0}, "above 0. Received: temperature=0.0"),
        ({"temperature": -1.0}, "Received: temperature=-1.0"),
        ({"temperature": float("nan")}, "Received: temperature=nan"),
        ({"alpha": 1.5}, "from 0, .* Received: alpha=1.5"),
        ({"alpha": -0.1}, "Received: alpha=-0.1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        losses.DistillationLoss(**arguments)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 1], r"labels \(2,\), logits \(4, 5\)"),
        ([0, 1, 2, 5], "from 0 to 4, .* Received: 0 to 5"),
        ([0, 1, 2, -2], "Received: -2 to 2"),
    ],
)
def test_labels_that_fit_no_class_are_refused(labels, message):
    with pytest.raises(UsageError, match=message):
        losses.distillation_targets(labels, TEACHER)

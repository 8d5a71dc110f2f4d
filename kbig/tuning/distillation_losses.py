"""What a student is taught by: soft labels, hidden states, attention."""

import keras
import numpy as np
from keras import ops

from kbig.errors import UsageError

_FAR_BELOW = -1e9  # A score that softmax makes exactly 0.


def soft_label_loss(student_logits, teacher_logits, temperature: float = 1.0):
    """Kullback-Leibler divergence of softened predictions.

    Args:
        student_logits: float `(batch, classes)`.
        teacher_logits: float `(batch, classes)`.
        temperature: what both are divided by; above 1 the teacher's small
            probabilities count more.

    Returns:
        `temperature**2 * KL(teacher || student)` in nats, float `(batch,)`,
        0 where they agree. The square keeps the size of the gradients.

    Example:
    ```python
    soft_label_loss([[1.0, 0.0]], [[3.0, 0.0]], temperature=2.0)
    ```

    Reference:
     - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531)
    """
    student = ops.log_softmax(student_logits / temperature)
    teacher = ops.log_softmax(teacher_logits / temperature)
    return temperature**2 * _divergence(teacher, student)


def hidden_state_loss(student, teacher, padding_mask):
    """Mean squared difference of hidden states, over real tokens.

    Args:
        student: float `(batch, steps, width)`, projected to the teacher's
            width.
        teacher: float `(batch, steps, width)`.
        padding_mask: `(batch, steps)`, 1 for tokens and 0 for padding.

    Returns:
        float `(batch,)`.

    Example:
    ```python
    hidden_state_loss(projection(states), teacher_states, padding_mask)
    ```

    Reference:
     - [Jiao et al., 2020](https://arxiv.org/abs/1909.10351), equation 8
    """
    difference = ops.cast(student, "float32") - ops.cast(teacher, "float32")
    return _over_tokens(ops.mean(difference**2, axis=-1), padding_mask)


def relation_loss(student, teacher, padding_mask, num_heads: int):
    """Compares which token is like which, in two models of any width.

    Queries, keys or values of all heads are put side by side and split anew
    into the same number of relation heads on both sides. The scaled products
    of each token with every other, through a softmax, are an attention map
    that needs neither equal widths nor equal numbers of heads.

    Args:
        student: float `(batch, steps, width)`.
        teacher: float `(batch, steps, another width)`.
        padding_mask: `(batch, steps)`, 1 for tokens and 0 for padding.
        num_heads: relation heads, a divisor of both widths.

    Returns:
        KL(teacher || student) in nats, averaged over heads and real tokens,
        float `(batch,)`.

    Example:
    ```python
    relation_loss(queries, teacher_queries, padding_mask, num_heads=8)
    ```

    Reference:
     - [Wang et al., 2021](https://arxiv.org/abs/2012.15828), MiniLMv2
    """
    divergence = _divergence(
        _log_relations(teacher, padding_mask, num_heads),
        _log_relations(student, padding_mask, num_heads),
    )  # (batch, heads, steps)
    return _over_tokens(ops.mean(divergence, axis=1), padding_mask)


def matched_layers(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Chooses the teacher's layer for each of the student's, evenly spread.

    Args:
        student_layers: layers of the student.
        teacher_layers: layers of the teacher, not fewer.

    Returns:
        Numbers from 1, the last one `teacher_layers`.

    Raises:
        UsageError: the student has more layers.

    Example:
    ```python
    matched_layers(2, 6)  # (3, 6)
    ```

    Reference:
     - [Jiao et al., 2020](https://arxiv.org/abs/1909.10351)
    """
    if student_layers > teacher_layers:
        raise UsageError(
            "Hidden states can only be taught to a student that is not "
            f"deeper than its teacher. Received: {student_layers} layers, "
            f"taught by {teacher_layers}. Take a smaller student, or leave "
            "the hidden states out."
        )
    share = teacher_layers / student_layers
    return tuple(round(share * (n + 1)) for n in range(student_layers))


def distillation_targets(labels, teacher_logits) -> np.ndarray:
    """Joins labels and the teacher's logits to what `DistillationLoss` takes.

    Args:
        labels: int `(n,)`; -1 where there is none.
        teacher_logits: float `(n, classes)`.

    Returns:
        float32 `(n, 1 + classes)`.

    Raises:
        UsageError: not one label a row, or a label that is no class.

    Example:
    ```python
    targets = distillation_targets([0, -1], [[2.0, 0.1], [0.3, 1.0]])
    ```
    """
    labels, logits = np.asarray(labels), np.asarray(teacher_logits, "float32")
    if labels.shape != logits.shape[:1]:
        raise UsageError(
            "There must be one label for each row of logits, -1 for none. "
            f"Received: labels {labels.shape}, logits {logits.shape}"
        )
    if len(labels) and not -1 <= labels.min() <= labels.max() < logits.shape[1]:
        raise UsageError(
            f"Labels must be from 0 to {logits.shape[1] - 1}, or -1 for none. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return np.concatenate([labels[:, None].astype("float32"), logits], axis=1)


@keras.saving.register_keras_serializable("kbig")
class DistillationLoss(keras.losses.Loss):
    """Soft labels of a teacher and, where there are any, hard labels.

    Each row counts the same: one with a label
    `alpha * soft + (1 - alpha) * hard`, one without it `soft`.

    A saved file that holds one loads after `import kbig.tuning`; `import
    kbig` alone does not make it known to Keras.

    Args:
        temperature: of the soft labels, above 0.
        alpha: weight of the soft labels, from 0 to 1.
        name: of the loss.
        **kwargs: as of `keras.losses.Loss`.

    Raises:
        UsageError: an argument out of its range.

    Example:
    ```python
    model.compile("adam", DistillationLoss(temperature=2.0, alpha=0.9))
    model.fit(inputs, distillation_targets(labels, logits))
    ```

    Reference:
     - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531)
    """

    def __init__(
        self, temperature=2.0, alpha=0.9, name="distillation", **kwargs
    ):
        if not 0 < temperature < np.inf:
            raise UsageError(
                "`temperature` must be above 0. "
                f"Received: temperature={temperature}. 1 leaves the "
                "teacher's probabilities as they are."
            )
        if not 0 <= alpha <= 1:
            raise UsageError(
                "`alpha` must be from 0, hard labels only, to 1, soft labels "
                f"only. Received: alpha={alpha}"
            )
        super().__init__(name=name, **kwargs)
        self.temperature = temperature
        self.alpha = alpha

    def call(self, y_true, y_pred):
        """Computes the loss of each row."""
        labels, teacher_logits = y_true[:, 0], y_true[:, 1:]
        soft = soft_label_loss(y_pred, teacher_logits, self.temperature)
        hard = keras.losses.sparse_categorical_crossentropy(
            ops.maximum(labels, 0), y_pred, from_logits=True
        )
        alpha = ops.where(labels < 0, 1.0, self.alpha)
        return alpha * soft + (1 - alpha) * hard

    def get_config(self):
        """Gives what the loss is built with."""
        config = {"temperature": self.temperature, "alpha": self.alpha}
        return super().get_config() | config


@keras.saving.register_keras_serializable("kbig")
class LabelAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy on the rows of `distillation_targets` that have a label.

    A saved file that holds one loads after `import kbig.tuning`; `import
    kbig` alone does not make it known to Keras.

    Args:
        name: of the metric.
        **kwargs: as of `keras.metrics.SparseCategoricalAccuracy`.

    Example:
    ```python
    model.compile("adam", DistillationLoss(), metrics=[LabelAccuracy()])
    ```
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the rows that have a label."""
        labels = y_true[:, 0]
        known = ops.cast(labels >= 0, self.dtype)
        if sample_weight is not None:
            known = known * ops.cast(sample_weight, self.dtype)
        return super().update_state(ops.maximum(labels, 0), y_pred, known)


def agreement(y_true, y_pred):
    """Tells where student and teacher predict the same class.

    Args:
        y_true: as of `distillation_targets`, `(batch, 1 + classes)`.
        y_pred: the student's logits, `(batch, classes)`.

    Returns:
        float32 `(batch,)` of 0 and 1. As a Keras metric it is averaged.

    Example:
    ```python
    model.compile("adam", DistillationLoss(), metrics=[agreement])
    ```
    """
    same = ops.argmax(y_true[:, 1:], -1) == ops.argmax(y_pred, -1)
    return ops.cast(same, "float32")


def _divergence(log_teacher, log_student):
    """KL over the last axis, of logarithms of probabilities."""
    return ops.sum(ops.exp(log_teacher) * (log_teacher - log_student), -1)


def _log_relations(vectors, padding_mask, num_heads):
    steps, width = ops.shape(vectors)[1], vectors.shape[-1]
    size = width // num_heads
    heads = ops.reshape(
        ops.cast(vectors, "float32"), (-1, steps, num_heads, size)
    )
    scores = ops.einsum("bqhd,bkhd->bhqk", heads, heads) / size**0.5
    seen = ops.cast(padding_mask, "bool")[:, None, None, :]
    return ops.log_softmax(ops.where(seen, scores, _FAR_BELOW))


def _over_tokens(values, padding_mask):
    real = ops.cast(padding_mask, "float32")
    count = ops.maximum(ops.sum(real, axis=-1), 1.0)
    return ops.sum(values * real, axis=-1) / count

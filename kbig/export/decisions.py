"""What logits mean, by task: decisions, probabilities and a metric."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

# Largest difference between `probabilities` and what the logits say.
PROBABILITY_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Task:
    """One meaning of a model's first output.

    Args:
        metric_name: of `metric`.
        metric: outputs and labels to a number.
        decide: logits to what is decided; None where nothing is.
        probabilities: logits to probabilities; None where there are none.
        one_label: whether one class is named for each decision.
        counts: what is decided by either side to the decisions that are
            compared; None compares all.
        per_token: whether padding tokens are left out of what is compared.
    """

    metric_name: str
    metric: Callable[[np.ndarray, np.ndarray], float]
    decide: Callable[[np.ndarray], np.ndarray] | None = None
    probabilities: Callable[[np.ndarray], np.ndarray] | None = None
    one_label: bool = False
    counts: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    per_token: bool = False


def _accuracy(logits, labels) -> float:
    return float((logits.argmax(-1) == labels).mean())


def _micro_f1(logits, labels) -> float:
    chosen, wanted = logits > 0, labels > 0.5
    total = chosen.sum() + wanted.sum()
    return float(2 * (chosen & wanted).sum() / total) if total else 1.0


def _mean_absolute_error(outputs, labels) -> float:
    return float(np.abs(outputs - labels.reshape(outputs.shape)).mean())


def _softmax(logits):
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(-1, keepdims=True)


def _sigmoid(logits):
    return 0.5 * (1 + np.tanh(logits.astype("float64") / 2))


# The keys are also what runs record as their task.
TASKS = {
    "classification": Task(
        "accuracy",
        _accuracy,
        decide=lambda x: x.argmax(-1),
        probabilities=_softmax,
        one_label=True,
    ),
    "multilabel": Task(
        "micro F1",
        _micro_f1,
        decide=lambda x: x > 0,
        probabilities=_sigmoid,
        # Most classes are not of a row, and to agree on that is easy.
        counts=np.logical_or,
    ),
    "regression": Task("mean abs. error", _mean_absolute_error),
    "tags": Task(
        "accuracy",
        _accuracy,
        decide=lambda x: x.argmax(-1),
        probabilities=_softmax,
        one_label=True,
        per_token=True,
    ),
}


def task_of(
    name: str | None,
    labels: np.ndarray | None,
    output_names: Sequence[str],
    class_names: Sequence[str] = (),
) -> Task | None:
    """Finds what a model's first output means.

    Args:
        name: a key of `TASKS`, or None to tell it from the rest.
        labels: integers are classes, floats are values to regress.
        output_names: of the model; `logits` are of a classifier.
        class_names: of the classes; a model that has them is a classifier.

    Returns:
        The task; None when nothing tells.

    Raises:
        UsageError: a name that is no key, or class names where there are no
            classes.

    Example:
    ```python
    task_of(None, np.array([0, 2]), ["logits"]).metric_name  # "accuracy"
    ```
    """
    if name and name not in TASKS:
        raise UsageError(
            f"`task` must be one of {', '.join(TASKS)}, or None. "
            f"Received: task={name!r}"
        )
    if not name and labels is not None:
        is_class = labels.dtype.kind in "iu"
        name = "classification" if is_class else "regression"
    if not name and (class_names or "logits" in output_names):
        name = "classification"
    if name == "regression" and class_names:
        raise UsageError(
            "Class names are of classes, whose labels are integers, or with "
            'task="multilabel" 0 or 1 a class. Received: '
            f"{len(class_names)} class names and values to regress. Convert "
            "the labels, or leave the class names out."
        )
    return TASKS[name] if name else None


def agreement(
    got: np.ndarray, expected: np.ndarray, task: Task
) -> tuple[float, int]:
    """Measures how often an artefact decides as the model does.

    Where a row may have several classes, only those count that either side
    gives it.

    Args:
        got: logits of an artefact, `(rows, ..., classes)`.
        expected: logits of the model, of the same shape.
        task: with something to decide.

    Returns:
        The share of decisions, 0 to 1, and their number. The share is 1 of
        none, and 0 when shapes differ.

    Example:
    ```python
    logits = np.array([[3.0, 1.0], [3.0, 1.0]])
    agreement(np.eye(2), logits, TASKS["classification"])  # (0.5, 2)
    ```
    """
    wanted = task.decide(expected)
    if got.shape != expected.shape:
        return 0.0, wanted.size
    decided = task.decide(got)
    agreed = decided == wanted
    if task.counts is not None:
        agreed = agreed[task.counts(decided, wanted)]
    return float(agreed.mean()) if agreed.size else 1.0, agreed.size


def decision_faults(
    outputs: Mapping[str, np.ndarray],
    logits: np.ndarray,
    class_names: Sequence[str],
    task: Task,
) -> tuple[str, ...]:
    """Checks `probabilities` and `label`, where there are any, against logits.

    Args:
        outputs: of one signature, by name: `probabilities`, floats
            `(rows, ..., classes)`, and `label`, UTF-8 bytes `(rows, ...)`.
        logits: of the same signature, floats `(rows, ..., classes)`.
        class_names: names of the classes in the order of the logits.
        task: what the logits mean.

    Returns:
        One sentence a fault, none when all is well.

    Example:
    ```python
    labels = {"label": np.array([b"cat"])}
    logits, task = np.array([[0.0, 1.0]]), TASKS["classification"]
    decision_faults(labels, logits, ["cat", "dog"], task)
    # ("1 of 1 labels do not name the largest logit",)
    ```
    """
    faults = []
    if "probabilities" in outputs:
        expected = task.probabilities(logits)
        error = float(np.abs(outputs["probabilities"] - expected).max())
        if not error <= PROBABILITY_TOLERANCE:  # NaN is a fault too.
            faults.append(
                "probabilities differ from what the logits say by "
                f"{error:.2g}, {PROBABILITY_TOLERANCE:.2g} is allowed"
            )
    if "label" in outputs:
        names = np.array([name.encode() for name in class_names])
        got = outputs["label"]
        wrong = int((got != names[logits.argmax(-1)]).sum())
        if wrong:
            faults.append(
                f"{wrong} of {got.size} labels do not name the largest logit"
            )
    return tuple(faults)

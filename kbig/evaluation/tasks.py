"""What each task is judged by."""

import dataclasses
from collections.abc import Callable

import numpy as np

from kbig.evaluation.classification import classification
from kbig.evaluation.multilabel import micro_f1
from kbig.evaluation.multilabel import multilabel
from kbig.evaluation.prediction import predict_tags
from kbig.evaluation.prediction import predict_texts
from kbig.evaluation.regression import pearson
from kbig.evaluation.regression import regression
from kbig.evaluation.tagging import span_f1
from kbig.evaluation.tagging import tagging


@dataclasses.dataclass(frozen=True)
class Task:
    """What a recipe needs to judge a model of texts on a task.

    Args:
        predict: from `(model, texts, tokenizer, sequence_length,
            batch_size)` to the outputs for texts, in their order.
        evaluate: from `(outputs, labels, class_names)` to a report, which
            has an `interval` of the main metric.
        metric: the main metric: a field of the report, where more is
            better.
        metrics: the fields of the report that are numbers to record.
        score: the main metric from `(decisions, labels, class_names)`, as of
            a baseline: classes, 0 or 1 a class, values, or tags.
    """

    predict: Callable
    evaluate: Callable
    metric: str
    metrics: tuple[str, ...]
    score: Callable


def _accuracy(predicted, labels, class_names):
    return float((np.asarray(predicted) == np.asarray(labels)).mean())


TASKS = {
    "classification": Task(
        predict=predict_texts,
        evaluate=classification,
        metric="accuracy",
        metrics=("accuracy", "loss", "macro_f1", "matthews"),
        score=_accuracy,
    ),
    "multilabel": Task(
        predict=predict_texts,
        evaluate=multilabel,
        metric="micro_f1",
        metrics=("micro_f1", "macro_f1", "subset_accuracy", "loss"),
        score=lambda predicted, labels, class_names: micro_f1(
            predicted, labels
        ),
    ),
    "regression": Task(
        predict=predict_texts,
        evaluate=regression,
        metric="pearson",
        metrics=("pearson", "spearman", "mae", "rmse"),
        score=lambda predicted, labels, class_names: pearson(predicted, labels),
    ),
    "tags": Task(
        predict=predict_tags,
        evaluate=tagging,
        metric="f1",
        metrics=("f1", "precision", "recall", "token_accuracy"),
        score=span_f1,
    ),
}

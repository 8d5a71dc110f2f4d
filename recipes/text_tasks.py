"""What `kbig finetune` does for each task: head, loss, batches, baseline."""

import dataclasses
from collections.abc import Callable

import numpy as np

import kbig


@dataclasses.dataclass(frozen=True)
class TextTask:
    """One task.

    Args:
        build: from `(backbone, config, labels, classes)` to a model.
        loss: makes the loss.
        metric: makes what is measured while training.
        batches: of `kbig.data`.
        baseline: from training texts, labels and new texts to decisions.
        baseline_name: as people know it.
        section: from a report to a section of the page.
        examples: from a few `(texts, outputs, labels, class_names)` to
            another one.
        texts: from what the data hold to strings, or pairs of them.
        loss_weight: from a model to what its loss is multiplied with.
    """

    build: Callable
    loss: Callable
    metric: Callable
    batches: Callable
    baseline: Callable
    baseline_name: str
    section: Callable
    examples: Callable
    texts: Callable = lambda x: x
    loss_weight: Callable = lambda model: None


def compile(task: TextTask, model, optimizer, jit_compile: bool) -> None:
    """Compiles a model for a task."""
    metric = task.metric()
    weighted = task is TASKS["tags"]
    model.compile(
        optimizer,
        task.loss(),
        loss_weights=task.loss_weight(model),
        **{"weighted_metrics" if weighted else "metrics": [metric]},
        jit_compile=jit_compile,
    )


def strings(texts: np.ndarray) -> np.ndarray:
    """All texts one by one, as a vocabulary is trained on them."""
    return texts.reshape(-1)


def _sentence_model(backbone, config, labels, classes):
    return kbig.models.bert_classifier(
        backbone, classes, config.dropout, config.pooling
    )


def _value_model(backbone, config, labels, classes):
    """One output in the unit of the labels, learnt on a scale of one."""
    import keras

    model = _sentence_model(backbone, config, labels, 1)
    scale = float(labels.std()) or 1.0
    values = keras.layers.Rescaling(
        scale, float(labels.mean()), dtype="float32", name="values"
    )(model.output)
    return keras.Model(model.input, values, name="bert_regressor")


def _value_weight(model) -> float:
    """Makes the loss one of labels with a deviation of one.

    The optimizer's epsilon and the clipping of gradients know no units.
    """
    return float(model.get_layer("values").scale) ** -2


def _token_model(backbone, config, labels, classes):
    return kbig.models.bert_token_classifier(backbone, classes, config.dropout)


def _cross_entropy(**options):
    import keras

    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, **options
    )


def _binary_cross_entropy():
    import keras

    return keras.losses.BinaryCrossentropy(from_logits=True)


def _accuracy():
    import keras

    return keras.metrics.SparseCategoricalAccuracy("accuracy")


def _binary_accuracy():
    import keras

    return keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)


def _absolute_error():
    import keras

    return keras.metrics.MeanAbsoluteError("mae")


def _sentences(words: np.ndarray) -> np.ndarray:
    return np.array([" ".join(sentence) for sentence in words], dtype=object)


def _lazy(room: str, name: str) -> Callable:
    """A function of kbig that loads when it is called."""
    return lambda *args, **options: getattr(getattr(kbig, room), name)(
        *args, **options
    )


TASKS = {
    "classification": TextTask(
        build=_sentence_model,
        loss=_cross_entropy,
        metric=_accuracy,
        batches=_lazy("data", "bucketed_batches"),
        baseline=_lazy("baselines", "tfidf_logistic_regression"),
        baseline_name="TF-IDF and logistic regression",
        section=_lazy("sections", "classification"),
        examples=_lazy("sections", "predictions"),
    ),
    "multilabel": TextTask(
        build=_sentence_model,
        loss=_binary_cross_entropy,
        metric=_binary_accuracy,
        batches=_lazy("data", "bucketed_batches"),
        baseline=_lazy("baselines", "tfidf_one_vs_rest"),
        baseline_name="TF-IDF and logistic regression for each class",
        section=_lazy("sections", "multilabel"),
        examples=_lazy("sections", "multilabel_predictions"),
    ),
    "regression": TextTask(
        build=_value_model,
        loss=lambda: "mean_squared_error",
        metric=_absolute_error,
        batches=_lazy("data", "bucketed_batches"),
        baseline=_lazy("baselines", "tfidf_ridge"),
        baseline_name="TF-IDF and ridge regression",
        section=_lazy("sections", "regression"),
        examples=_lazy("sections", "regression_predictions"),
        loss_weight=_value_weight,
    ),
    "tags": TextTask(
        build=_token_model,
        loss=lambda: _cross_entropy(reduction="mean_with_sample_weight"),
        metric=_accuracy,
        batches=_lazy("data", "tagged_batches"),
        baseline=_lazy("baselines", "most_frequent_tag"),
        baseline_name="the most frequent tag of each word",
        section=_lazy("sections", "tagging"),
        examples=_lazy("sections", "tag_predictions"),
        texts=_sentences,
    ),
}

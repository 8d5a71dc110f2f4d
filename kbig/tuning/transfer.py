"""What a teacher says about texts, for a student to learn."""

from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from kbig import evaluation
from kbig.errors import UsageError
from kbig.tuning.altered_texts import altered_texts
from kbig.tuning.distillation_losses import distillation_targets


def transfer_set(
    teach: Callable,
    texts: Sequence,
    labels: np.ndarray,
    *,
    copies: int = 0,
    unlabelled: Sequence = (),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Collects what a student learns: texts, labels, and the teacher's logits.

    Args:
        teach: gives the logits `(n, classes)` of texts, as `teacher_logits`
            does.
        texts: strings `(n,)`, or pairs `(n, 2)`.
        labels: int `(n,)`.
        copies: altered copies of each text to add, as of `altered_texts`.
            They have no label.
        unlabelled: further texts, in the form of `texts`.
        seed: of the copies.

    Returns:
        The texts, and their targets for `DistillationLoss`, of
        `distillation_targets`: those with a label first.

    Raises:
        UsageError: as of `altered_texts`; or texts and pairs are mixed.

    Example:
    ```python
    texts, targets = transfer_set(teach, texts, labels, copies=4)
    batches = kbig.data.bucketed_batches(texts, targets, 32, tokenizer, 48)
    ```
    """
    texts, unlabelled = (np.asarray(x, object) for x in (texts, unlabelled))
    parts = [texts, altered_texts(texts, copies, seed=seed)]
    if len(unlabelled):
        parts.append(unlabelled)
    if len({part.ndim for part in parts}) > 1:
        raise UsageError(
            "Unlabelled texts must be single ones or pairs, as the labelled "
            f"are. Received: shapes {texts.shape} and {unlabelled.shape}"
        )
    everything = np.concatenate(parts)
    known = np.full(len(everything), -1)
    known[: len(texts)] = labels
    return everything, distillation_targets(known, teach(everything))


def teacher_logits(
    teacher: keras.Model,
    texts,
    tokenizer,
    sequence_length: int,
    batch_size: int = 128,
) -> np.ndarray:
    """Computes a classifier's logits once, to be learned many times.

    Texts of similar length share a batch, so little is spent on padding.

    Args:
        teacher: a classifier of `bert_classifier`'s kind.
        texts: strings `(n,)`, or pairs `(n, 2)`.
        tokenizer: the teacher's, of `kbig.data.tokenizer`.
        sequence_length: tokens of the longest rows; longer texts are cut.
        batch_size: texts at a time.

    Returns:
        float32 `(n, classes)`, in the order of the texts.

    Raises:
        UsageError: no texts, or the model is no classifier of texts.

    Example:
    ```python
    logits = teacher_logits(teacher, texts, tokenizer, sequence_length=48)
    student.compile("adam", DistillationLoss())
    student.fit(inputs, distillation_targets(labels, logits))
    ```

    Reference:
     - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531)
    """
    check_classifier(teacher)
    return evaluation.predict_texts(
        teacher, texts, tokenizer, sequence_length, batch_size
    )


def narrowed(embeddings: np.ndarray, width: int, seed: int = 0) -> np.ndarray:
    """Narrows a table of embeddings, keeping what rows have in common.

    A student's embeddings that start so know every word of its teacher's,
    also those that no text to learn from has.

    Args:
        embeddings: float `(rows, teacher's width)`.
        width: the student's, not above the teacher's.
        seed: of the rotation, which spreads the variance over the columns.

    Returns:
        float32 `(rows, width)`: the principal components, rotated. No other
        table of that width has products of centred rows nearer to the
        original's.

    Raises:
        UsageError: the width is not within 1 and the teacher's.

    Example:
    ```python
    table = teacher.get_layer("token_embedding").embeddings
    start = narrowed(table, 128)
    ```

    Reference:
     - [Eckart and Young, 1936](https://doi.org/10.1007/BF02288367)
    """
    table = np.asarray(embeddings, np.float64)
    if not 1 <= width <= table.shape[1]:
        raise UsageError(
            "Embeddings can only be narrowed, to a width of 1 or more. "
            f"Received: {width} of {table.shape[1]}"
        )
    table = table - table.mean(axis=0)
    _, directions = np.linalg.eigh(table.T @ table)  # In rising order.
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.normal(size=(width, width)))
    return (table @ directions[:, -width:] @ rotation).astype(np.float32)


def check_classifier(model: keras.Model) -> None:
    """Raises unless a model maps texts to the logits of classes.

    Args:
        model: any Keras model.

    Raises:
        UsageError: it takes other inputs than BERT's, or gives no logits
            `(batch, classes)`.

    Example:
    ```python
    check_classifier(bert_classifier(bert("tiny"), num_classes=3))
    ```
    """
    inputs = model.input if isinstance(model.input, dict) else {}
    shape = model.output_shape
    is_classifier = isinstance(shape, tuple) and len(shape) == 2
    if not is_classifier or "token_ids" not in inputs or shape[1] < 2:
        raise UsageError(
            "The model must be a classifier of texts, as `bert_classifier` "
            f"builds. Received: {model.name!r} with inputs "
            f"{sorted(inputs) or model.input_shape} and outputs {shape}. "
            "Pass the run of a fine-tuned classifier."
        )

"""What a model says about texts, with little padding on the way."""

from collections.abc import Sequence

import numpy as np

from kbig.data import EncodedRows
from kbig.data import encode_rows
from kbig.data import encode_words
from kbig.data import words_from_pieces
from kbig.evaluation.checks import finite_outputs


def predict_texts(
    model,
    texts: Sequence[str],
    tokenizer,
    sequence_length: int,
    batch_size: int = 128,
) -> np.ndarray:
    """Predicts texts, those of similar length together.

    Args:
        model: a `keras.Model` from `token_ids`, `segment_ids` and
            `padding_mask` to `(batch, outputs)`.
        texts: strings, `(n,)`, or `(n, 2)` for pairs.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut.
        batch_size: texts a step.

    Returns:
        Float32 `(n, outputs)`, in the order of the texts.

    Raises:
        UsageError: if there are no texts, or the length is too small.

    Example:
    ```python
    texts, labels = data.arrays("test")
    logits = predict_texts(model, texts, bert_tokenizer, 48)
    ```
    """
    rows = encode_rows(texts, tokenizer, sequence_length)
    return np.stack(_predicted(model, rows, batch_size))


def predict_tags(
    model,
    words: Sequence[Sequence[str]],
    tokenizer,
    sequence_length: int,
    batch_size: int = 128,
) -> tuple[np.ndarray, ...]:
    """Predicts the tags of words, sentences of similar length together.

    Args:
        model: as of `predict_texts`, to logits `(batch, steps, tags)`.
        words: sentences, `(n,)`, each a sequence of words.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; the words of a longer
            sentence that are cut off get tag 0, which is `O`.
        batch_size: sentences a step.

    Returns:
        For each sentence the tags of its words, int `(words,)`.

    Raises:
        UsageError: if there are no sentences, one has no words, or the
            length is too small.
        GateError: logits that are not finite.

    Example:
    ```python
    words, tags = data.arrays("test")
    predicted = predict_tags(model, words, bert_tokenizer, 64)
    report = tagging(predicted, tags, data.info.class_names)
    ```
    """
    rows, starts = encode_words(words, tokenizer, sequence_length)
    logits = _predicted(model, rows, batch_size)
    # A tag hides what its logits were.
    tags = [finite_outputs(row).argmax(-1) for row in logits]
    return words_from_pieces(tags, starts)


def _predicted(model, rows: EncodedRows, batch_size) -> list[np.ndarray]:
    outputs = [None] * len(rows.sizes)
    for numbers, inputs in rows.groups():
        if model.jit_compile and len(numbers) > batch_size:
            inputs = _whole_batches(inputs, -len(numbers) % batch_size)
        group = model.predict(inputs, batch_size=batch_size, verbose=0)
        for number, output in zip(numbers, group):
            outputs[number] = output
    return outputs


def _whole_batches(inputs, missing):
    """Repeats the last row: XLA would compile a smaller batch anew."""
    return {
        name: np.pad(part, ((0, missing), (0, 0)), mode="edge")
        for name, part in inputs.items()
    }

"""Batches of texts of similar length: little padding, few shapes."""

import math

import tensorflow as tf

from kbig.data.pipeline import shuffled
from kbig.data.pipeline import steady
from kbig.data.vocabulary import encode

_SHARES = (1 / 3, 1 / 2, 1)
_TOKENIZE_TOGETHER = 256


def bucket_lengths(sequence_length: int) -> tuple[int, ...]:
    """Chooses the lengths of the buckets.

    Args:
        sequence_length: the longest.

    Returns:
        At most three lengths in rising order, all but the last multiples of
        8: a third, a half and all of `sequence_length`.

    Example:
    ```python
    bucket_lengths(48)  # (16, 24, 48)
    ```
    """
    lengths = {math.ceil(sequence_length * x / 8) * 8 for x in _SHARES}
    shorter = sorted(x for x in lengths if x < sequence_length)
    return (*shorter, sequence_length)


def bucketed_batches(
    dataset: tf.data.Dataset,
    batch_size: int,
    tokenizer,
    sequence_length: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Encodes texts and batches them with others of similar length.

    Args:
        dataset: unbatched `(text, label)`, such as `data.train`.
        batch_size: texts a batch.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut.
        shuffle: whether to shuffle, anew in every epoch.
        seed: of the order.
        drop_remainder: whether to leave out batches that are not full, at
            most one a bucket, so that XLA compiles no shape but theirs.

    Returns:
        Batches `(inputs, labels)`; inputs as of `encode`, of one of the
        lengths of `bucket_lengths`.

    Raises:
        UsageError: if `batch_size` is not above zero.

    Example:
    ```python
    train = bucketed_batches(
        data.train, 32, bert_tokenizer, 48, shuffle=True
    )
    ```
    """
    if shuffle:
        dataset = shuffled(dataset, seed)

    def encoded(texts, labels):
        return encode(texts, tokenizer, sequence_length), labels

    def trimmed(inputs, label):
        length = tf.reduce_sum(inputs["padding_mask"])
        return {k: v[:length] for k, v in inputs.items()}, label

    lengths = bucket_lengths(sequence_length)
    dataset = dataset.batch(_TOKENIZE_TOGETHER)
    dataset = dataset.map(encoded, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = (
        dataset.unbatch()
        .map(trimmed)
        .bucket_by_sequence_length(
            lambda inputs, label: tf.shape(inputs["token_ids"])[0],
            bucket_boundaries=[length + 1 for length in lengths],
            # The last is for what is longer still, and nothing is.
            bucket_batch_sizes=[batch_size] * (len(lengths) + 1),
            pad_to_bucket_boundary=True,
            padding_values=_padding(dataset.element_spec, tokenizer),
            drop_remainder=drop_remainder,
        )
    )
    return steady(dataset)


def _padding(spec, tokenizer):
    inputs, label = tf.nest.map_structure(
        lambda part: tf.zeros((), part.dtype), spec
    )
    pad_id = tf.cast(tokenizer.pad_token_id, spec[0]["token_ids"].dtype)
    return {**inputs, "token_ids": pad_id}, label

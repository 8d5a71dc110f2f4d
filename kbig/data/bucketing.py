"""Batches of texts of similar length: little padding, few shapes."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.encoding import framed
from kbig.data.encoding import tokenize
from kbig.data.pipeline import shuffled
from kbig.data.pipeline import steady
from kbig.errors import UsageError

_SHARES = (1 / 3, 1 / 2, 1)
_TOKENIZE_TOGETHER = 4096


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
    texts: Sequence[str],
    labels: np.ndarray,
    batch_size: int,
    tokenizer,
    sequence_length: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Tokenizes texts once and batches those of similar length.

    Args:
        texts: strings, `(n,)`.
        labels: `(n, ...)`.
        batch_size: texts a batch.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut.
        shuffle: whether to shuffle, anew in every epoch.
        seed: of the order.
        drop_remainder: whether to leave out batches that are not full, at
            most one a bucket, so that XLA compiles no shape but theirs.

    Returns:
        Batches `(inputs, labels)`; inputs as of `encode`, of one of the
        lengths of `bucket_lengths`. Their number is known.

    Raises:
        UsageError: no texts, not one label a text, or `batch_size` not above
            zero.

    Example:
    ```python
    texts, labels = data.arrays("train")
    train = bucketed_batches(
        texts, labels, 32, bert_tokenizer, 48, shuffle=True
    )
    ```
    """
    if not 0 < len(texts) == len(labels) or batch_size < 1:
        raise UsageError(
            "There must be texts, one label for each, and `batch_size` must "
            f"be above zero. Received: {len(texts)} texts, {len(labels)} "
            f"labels, batch_size={batch_size}"
        )
    tokens, sizes = _tokenized(texts, tokenizer, sequence_length - 2)
    limits = [length - 2 for length in bucket_lengths(sequence_length)]
    ends = np.cumsum(sizes)
    tokens, starts, ends, labels = map(
        tf.constant, (tokens, ends - sizes, ends, labels)
    )

    def example(row):
        return tokens[starts[row] : ends[row]], labels[row]

    def framed_batch(rows, labels):
        ragged = tf.RaggedTensor.from_tensor(rows, padding=-1)
        length = tf.shape(rows)[1] + 2
        return framed(ragged, tokenizer, length), labels

    rows = tf.data.Dataset.range(len(texts))
    rows = shuffled(rows, seed) if shuffle else rows
    batches = rows.map(example).bucket_by_sequence_length(
        lambda row, label: tf.shape(row)[0],
        bucket_boundaries=[limit + 1 for limit in limits],
        # The last is for what is longer still, and nothing is.
        bucket_batch_sizes=[batch_size] * (len(limits) + 1),
        pad_to_bucket_boundary=True,
        padding_values=(tf.constant(-1), tf.zeros((), labels.dtype)),
        drop_remainder=drop_remainder,
    )
    batches = batches.map(framed_batch).apply(
        tf.data.experimental.assert_cardinality(
            _batch_count(sizes, limits, batch_size, drop_remainder)
        )
    )
    return steady(batches)


def _tokenized(texts, tokenizer, longest):
    """All tokens in a row, int32, and how many each text has."""
    parts = []
    for start in range(0, len(texts), _TOKENIZE_TOGETHER):
        part = list(texts[start : start + _TOKENIZE_TOGETHER])
        parts.append(tokenize(part, tokenizer)[:, :longest])
    tokens = tf.concat(parts, axis=0)
    return tokens.flat_values.numpy(), tokens.row_lengths().numpy()


def _batch_count(sizes, limits, batch_size, drop_remainder) -> int:
    counts = np.bincount(np.searchsorted(limits, sizes))
    if drop_remainder:
        return int((counts // batch_size).sum())
    return int((-(-counts // batch_size)).sum())

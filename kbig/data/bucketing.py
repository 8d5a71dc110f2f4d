"""Batches of texts of similar length: little padding, few shapes."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.pipeline import shuffled
from kbig.data.pipeline import steady
from kbig.data.rows import EncodedRows
from kbig.data.rows import bucket_lengths
from kbig.data.rows import encode_rows
from kbig.data.rows import encode_words
from kbig.data.targets import check_classes
from kbig.data.targets import check_counts
from kbig.data.targets import check_tags
from kbig.data.targets import checked_labels
from kbig.data.targets import sample_weights


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
    class_weights: Sequence[float] | None = None,
    num_classes: int | None = None,
) -> tf.data.Dataset:
    """Tokenizes texts once and batches those of similar length.

    Args:
        texts: strings, `(n,)`, or `(n, 2)` for pairs.
        labels: classes, int `(n,)`; 0 or 1 for each class, float
            `(n, classes)`; values to regress, float `(n,)`; or other
            targets, float `(n, width)`, such as a teacher's.
        batch_size: texts a batch.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut.
        shuffle: whether to shuffle, anew in every epoch.
        seed: of the order.
        drop_remainder: whether to leave out batches that are not full, at
            most one a bucket, so that XLA compiles no shape but theirs. A
            bucket with too few texts for a batch is joined to the next, so
            that with `shuffle` no text is left out in every epoch.
        class_weights: one a class, above zero, where labels are classes.
        num_classes: that the model has, where labels tell of classes: to
            check that they are below it, or are 0 or 1 for each.

    Returns:
        Batches `(inputs, labels)`, with class weights
        `(inputs, labels, sample_weights)`; inputs as of `encode`, of one of
        the lengths of `bucket_lengths`. Their number is known. Floats are
        float32.

    Raises:
        UsageError: no texts, or with `drop_remainder` fewer than a batch;
            not one label a text, a label out of range, or `batch_size` not
            above zero.

    Example:
    ```python
    texts, labels = data.arrays("train")
    train = bucketed_batches(
        texts, labels, 32, bert_tokenizer, 48, shuffle=True
    )
    ```
    """
    least = batch_size if drop_remainder else 1
    check_counts("texts", len(texts), len(labels), batch_size, least)
    labels = checked_labels(labels)
    if num_classes is not None:
        check_classes(labels, num_classes)
    per_row = [labels]
    if class_weights is not None:
        per_row.append(sample_weights(labels, class_weights))
    return _batched(
        encode_rows(texts, tokenizer, sequence_length),
        per_row=per_row,
        per_token=[],
        batch_size=batch_size,
        shuffle_seed=seed if shuffle else None,
        drop_remainder=drop_remainder,
    )


def tagged_batches(
    words: Sequence[Sequence[str]],
    tags: Sequence[np.ndarray],
    batch_size: int,
    tokenizer,
    sequence_length: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    drop_remainder: bool = False,
    num_classes: int | None = None,
) -> tf.data.Dataset:
    """Tokenizes tagged sentences once and batches those of similar length.

    The first piece of a word carries its tag. Weights leave out what else
    there is; a loss should divide by their sum, as Keras's reduction
    `"mean_with_sample_weight"` does.

    Args:
        words: sentences, `(n,)`, each a sequence of words.
        tags: int `(words,)` for each sentence.
        batch_size: sentences a batch.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer sentences are
            cut.
        shuffle: as of `bucketed_batches`.
        seed: likewise.
        drop_remainder: likewise.
        num_classes: tags that the model has, to check that all are below it.

    Returns:
        Batches `(inputs, labels, weights)`: inputs as of `encode`, labels
        int32 and weights float32, both `(batch, steps)`; 1 for the first
        piece of a word, else 0.

    Raises:
        UsageError: no sentences, or with `drop_remainder` fewer than a
            batch; not one tag a word, naming the sentence, a tag out of
            range, or `batch_size` not above zero.

    Example:
    ```python
    words, tags = data.arrays("train")
    train = tagged_batches(words, tags, 32, bert_tokenizer, 64, shuffle=True)
    ```
    """
    least = batch_size if drop_remainder else 1
    check_counts("sentences", len(words), len(tags), batch_size, least)
    check_tags(words, tags, num_classes)
    rows, starts = encode_words(words, tokenizer, sequence_length)
    return _batched(
        rows,
        per_row=[],
        per_token=_first_piece_labels(rows.sizes, starts, tags),
        batch_size=batch_size,
        shuffle_seed=seed if shuffle else None,
        drop_remainder=drop_remainder,
    )


def _batched(
    rows: EncodedRows,
    *,
    per_row,
    per_token,
    batch_size,
    shuffle_seed,
    drop_remainder,
):
    limits = bucket_lengths(rows.sequence_length)
    if drop_remainder:
        limits = _filled(limits, rows.sizes, batch_size)
    dataset = tf.data.Dataset.range(len(rows.sizes))
    if shuffle_seed is not None:
        dataset = shuffled(dataset, shuffle_seed)
    dataset = dataset.map(_example_of(rows, per_row, per_token))
    padding = {name: tf.constant(0) for name in dataset.element_spec[0]}
    padding["token_ids"] = tf.constant(rows.pad_token_id)
    others = [tf.zeros((), spec.dtype) for spec in dataset.element_spec[1:]]
    batches = dataset.bucket_by_sequence_length(
        lambda inputs, *_: tf.shape(inputs["token_ids"])[0],
        bucket_boundaries=[limit + 1 for limit in limits],
        # The last is for what is longer still, and nothing is.
        bucket_batch_sizes=[batch_size] * (len(limits) + 1),
        pad_to_bucket_boundary=True,
        padding_values=(padding, *others),
        drop_remainder=drop_remainder,
    )
    count = _batch_count(rows.sizes, limits, batch_size, drop_remainder)
    return steady(batches.apply(tf.data.experimental.assert_cardinality(count)))


def _example_of(rows, per_row, per_token):
    """From the number of a row to its inputs and what goes with them."""
    ends = tf.constant(np.cumsum(rows.sizes))
    starts = ends - rows.sizes
    token_ids, segment_ids = map(
        tf.constant, (rows.token_ids, rows.segment_ids)
    )
    per_row, per_token = ([*map(tf.constant, p)] for p in (per_row, per_token))

    def example(row):
        tokens = slice(starts[row], ends[row])
        inputs = {
            "token_ids": token_ids[tokens],
            "segment_ids": segment_ids[tokens],
            "padding_mask": tf.ones_like(token_ids[tokens]),
        }
        return (
            inputs,
            *(part[tokens] for part in per_token),
            *(part[row] for part in per_row),
        )

    return example


def _filled(limits, sizes, batch_size):
    """Those of the limits whose buckets fill a batch; the last one stays."""
    kept, below = [], 0
    for limit in limits[:-1]:
        up_to = np.count_nonzero(sizes <= limit)
        if up_to - below >= batch_size and len(sizes) - up_to >= batch_size:
            kept.append(limit)
            below = up_to
    return (*kept, limits[-1])


def _batch_count(sizes, limits, batch_size, drop_remainder) -> int:
    counts = np.bincount(np.searchsorted(limits, sizes))
    if drop_remainder:
        return int((counts // batch_size).sum())
    return int((-(-counts // batch_size)).sum())


def _first_piece_labels(sizes, starts, tags):
    """Labels and weights of all tokens of all rows."""
    offsets = np.repeat(np.cumsum(sizes) - sizes, [len(s) for s in starts])
    starts = np.concatenate(starts)
    kept = starts >= 0
    positions = (offsets + starts)[kept]
    labels = np.zeros(sizes.sum(), np.int32)
    weights = np.zeros(sizes.sum(), np.float32)
    labels[positions] = np.concatenate(tags)[kept]
    weights[positions] = 1
    return labels, weights

"""Batches for masked language modelling, with pairs and packed rows."""

import functools
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.masking import mask_tokens
from kbig.data.pipeline import steady
from kbig.errors import UsageError

# What rows may hold beside `token_ids`; `labels` tell of pairs.
_INPUTS = ("segment_ids", "padding_mask", "text_ids", "position_ids")


def masked_batches(
    rows: np.ndarray | Mapping[str, np.ndarray],
    batch_size: int,
    *,
    vocabulary_size: int,
    mask_id: int,
    special_ids: Sequence[int],
    max_predictions: int,
    rate: float = 0.15,
    masking: str = "token",
    continues: Sequence[bool] | None = None,
    pad_id: int = 0,
    seed: int = 0,
    training: bool = False,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Makes batches for masked language modelling.

    Every batch is a function of `seed` and its step alone, so training
    resumed at `first_step` sees what it would have seen.

    Args:
        rows: int array of shape `(n, length)`, such as `pack_documents`
            returns; or arrays by name, `token_ids` among them, such as
            `pack_texts` and `sentence_pairs` return. An `np.memmap` is read
            from its file, batch by batch, and never held in memory; that
            takes the Python process that made the batches.
        batch_size: rows a batch.
        vocabulary_size: see `mask_tokens`.
        mask_id: see `mask_tokens`.
        special_ids: see `mask_tokens`.
        max_predictions: see `mask_tokens`.
        rate: see `mask_tokens`.
        masking: see `mask_tokens`.
        continues: see `mask_tokens`.
        pad_id: id of padding.
        seed: of the order and the masks.
        training: `False` gives one pass in order, with the same masks every
            time. `True` gives an endless stream (so `fit` needs
            `steps_per_epoch`) that shuffles each pass over the rows anew,
            with fresh masks in every batch, all of them full.
        first_step: number of the first batch.

    Returns:
        Elements `(inputs, labels, weights)`: `inputs` are int32 `token_ids`,
        `segment_ids`, `padding_mask` of shape `(batch, length)` and
        `mask_positions`, and `text_ids` and `position_ids` where the rows
        have them; labels int32 and weights float32 are of shape
        `(batch, max_predictions)`. Where the rows have `labels`, labels and
        weights are dicts: `masked_lm`, as before, and `next_sentence`, of
        shape `(batch,)`, weights all 1.

    Raises:
        UsageError: if there are no rows, arrays differ in shape, `batch_size`
            is not above zero, or an argument of `mask_tokens` does not fit.

    Example:
    ```python
    stream = masked_batches(
        rows, 32, vocabulary_size=8000, mask_id=4, special_ids=range(5),
        max_predictions=20, training=True,
    )
    model.fit(stream, steps_per_epoch=len(rows) // 32, epochs=10)
    ```
    """
    arrays = _checked(rows, batch_size)
    count = len(arrays["token_ids"])
    readers = {name: _reader(array) for name, array in arrays.items()}

    def batch(step):
        index = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        if training:
            index = _shuffled(index, count, seed)
        else:
            index = index[: count - step * batch_size]
        chosen = {name: read(index) for name, read in readers.items()}
        masked = mask_tokens(
            chosen["token_ids"],
            seed=tf.stack([tf.constant(seed, tf.int64), step]),
            vocabulary_size=vocabulary_size,
            mask_id=mask_id,
            special_ids=special_ids,
            rate=rate,
            max_predictions=max_predictions,
            masking=masking,
            continues=continues,
        )
        return _as_fit_wants(chosen, masked, pad_id)

    if training:
        steps = tf.data.Dataset.counter(first_step)
    else:
        steps = tf.data.Dataset.range(first_step, -(-count // batch_size))
    return steady(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def _checked(rows, batch_size):
    """The arrays by name, int32, all of them shaped as they must be."""
    arrays = dict(rows) if isinstance(rows, Mapping) else {"token_ids": rows}
    unknown = set(arrays) - {"token_ids", "labels", *_INPUTS}
    if unknown or "token_ids" not in arrays:
        raise UsageError(
            f"`rows` must hold `token_ids`, and may hold {', '.join(_INPUTS)} "
            f"and labels. Received: {', '.join(arrays)}"
        )
    arrays = {name: _held(array) for name, array in arrays.items()}
    shape = arrays["token_ids"].shape
    if len(shape) != 2 or not shape[0] or batch_size < 1:
        raise UsageError(
            "`rows` must be of shape (n, length) with n and `batch_size` "
            f"above zero. Received: shape {shape}, batch_size={batch_size}"
        )
    for name, array in arrays.items():
        wanted = shape[:1] if name == "labels" else shape
        if array.shape != wanted:
            raise UsageError(
                f"`{name}` must be of shape {wanted}, as `token_ids` has it. "
                f"Received: shape {array.shape}"
            )
    return arrays


def _held(array):
    on_disk = isinstance(array, np.memmap)
    return array if on_disk else np.asarray(array, np.int32)


def _reader(array):
    """What gets rows by their numbers, within a graph."""
    if not isinstance(array, np.memmap):
        return functools.partial(tf.gather, tf.constant(array))

    def from_file(index):
        return np.asarray(array[index], np.int32)

    def read(index):
        rows = tf.numpy_function(from_file, [index], tf.int32, stateful=False)
        return tf.ensure_shape(rows, index.shape + array.shape[1:])

    return read


def _shuffled(index, count, seed):
    """Row numbers: every pass of `count` indices is one permutation."""
    epoch = index // count
    seeds = tf.fill(tf.shape(epoch), tf.constant(seed, tf.int64))
    key = tf.stack([seeds, epoch, tf.zeros_like(epoch)], axis=1)
    # `tf.random.experimental.index_shuffle` rejects one seed an index.
    return tf.raw_ops.RandomIndexShuffle(
        index=index % count,
        seed=tf.cast(key, tf.int32),
        max_index=tf.constant(count - 1, tf.int64),
        rounds=4,
    )


def _as_fit_wants(rows, masked, pad_id):
    ids = rows["token_ids"]
    inputs = {
        "segment_ids": tf.zeros_like(ids),
        "padding_mask": tf.cast(ids != pad_id, tf.int32),
        **{name: rows[name] for name in _INPUTS if name in rows},
        "token_ids": masked["token_ids"],
        "mask_positions": masked["mask_positions"],
    }
    labels, weights = masked["mask_labels"], masked["mask_weights"]
    if "labels" in rows:
        pairs = rows["labels"]
        labels = {"masked_lm": labels, "next_sentence": pairs}
        ones = tf.ones_like(pairs, tf.float32)
        weights = {"masked_lm": weights, "next_sentence": ones}
    return inputs, labels, weights

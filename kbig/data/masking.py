"""Masked language modelling: which tokens to hide, and batches of them."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.pipeline import steady
from kbig.errors import UsageError

_MASKED, _RANDOM = 0.8, 0.1  # The rest keeps its token.


def mask_tokens(
    token_ids,
    *,
    seed,
    vocabulary_size: int,
    mask_id: int,
    special_ids: Sequence[int],
    rate: float = 0.15,
    max_predictions: int,
) -> dict[str, tf.Tensor]:
    """Hides tokens at random for a model to predict.

    Of each row `rate` of the tokens that are not special are chosen, at
    least one and `max_predictions` at most. Of the chosen ones 80 % become
    `mask_id`, 10 % a random token that is not special, and 10 % stay.

    Args:
        token_ids: int tensor of shape `(batch, length)`.
        seed: int tensor of shape `(2,)`; the result depends on it alone.
        vocabulary_size: number of token ids.
        mask_id: id of `[MASK]`.
        special_ids: ids that are neither hidden nor drawn, padding among
            them.
        rate: fraction of the tokens to choose.
        max_predictions: width of the three `mask_` outputs.

    Returns:
        `token_ids`, int32, as the input but for the hidden tokens; and, of
        shape `(batch, max_predictions)`, int32 `mask_positions` in rising
        order, int32 `mask_labels` (the original ids) and float32
        `mask_weights`: 1 for a chosen token, 0 for padding, whose position
        and label are 0.

    Raises:
        UsageError: if `rate` is not in (0, 1], `max_predictions` not in
            [1, length], or every id is special.

    Example:
    ```python
    masked = mask_tokens(
        [[2, 8, 9, 3, 0]], seed=(0, 1), vocabulary_size=10, mask_id=4,
        special_ids=(0, 1, 2, 3, 4), max_predictions=2,
    )
    ```

    Reference:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), 3.1
    """
    token_ids = tf.cast(tf.convert_to_tensor(token_ids), tf.int32)
    ordinary = np.setdiff1d(np.arange(vocabulary_size), special_ids)
    _check(rate, max_predictions, token_ids.shape[1], ordinary)
    seeds = tf.random.experimental.stateless_split(seed, num=3)
    positions, weights = _choose(
        token_ids, special_ids, rate, max_predictions, seeds[0]
    )
    labels = tf.gather(token_ids, positions, batch_dims=1) * weights
    draw = tf.random.stateless_uniform(tf.shape(labels), seeds[1])
    index = tf.random.stateless_uniform(
        tf.shape(labels), seeds[2], 0, len(ordinary), tf.int32
    )
    random = tf.gather(tf.constant(ordinary, tf.int32), index)
    shown = tf.where(draw < _MASKED + _RANDOM, random, labels)
    shown = tf.where(draw < _MASKED, mask_id, shown)
    # Adding a difference, not writing a value: padding shares position 0.
    corrupted = tf.tensor_scatter_nd_add(
        token_ids,
        tf.stack([_row_numbers(positions), positions], axis=-1),
        (shown - labels) * weights,
    )
    return {
        "token_ids": tf.ensure_shape(corrupted, token_ids.shape),
        "mask_positions": positions,
        "mask_labels": labels,
        "mask_weights": tf.cast(weights, tf.float32),
    }


def _check(rate, max_predictions, length, ordinary):
    if not 0 < rate <= 1:
        raise UsageError(f"`rate` must be in (0, 1]. Received: rate={rate}")
    if max_predictions < 1 or (length and max_predictions > length):
        raise UsageError(
            f"`max_predictions` must be from 1 to the {length} tokens of a "
            f"row. Received: max_predictions={max_predictions}"
        )
    if not len(ordinary):
        raise UsageError(
            "`special_ids` must leave ids to draw from. Received: every id "
            "of the vocabulary"
        )


def _choose(token_ids, special_ids, rate, max_predictions, seed):
    """Positions in rising order, padded with 0, and their int32 weights."""
    length = tf.shape(token_ids)[1]
    special = tf.constant(list(special_ids), tf.int32)
    eligible = tf.reduce_all(token_ids[..., tf.newaxis] != special, axis=-1)
    score = tf.random.stateless_uniform(tf.shape(token_ids), seed)
    score = tf.where(eligible, score, -1.0)
    ranked = tf.math.top_k(score, max_predictions).indices
    available = tf.reduce_sum(tf.cast(eligible, tf.float32), axis=1)
    count = tf.maximum(tf.round(available * rate), 1.0)
    count = tf.cast(tf.minimum(count, available), tf.int32)
    chosen = tf.range(max_predictions) < count[:, tf.newaxis]
    positions = tf.sort(tf.where(chosen, ranked, length), axis=1)
    weights = tf.cast(positions < length, tf.int32)
    return positions * weights, weights


def _row_numbers(positions):
    rows = tf.range(tf.shape(positions)[0])[:, tf.newaxis]
    return tf.broadcast_to(rows, tf.shape(positions))


def masked_batches(
    rows: np.ndarray,
    batch_size: int,
    *,
    vocabulary_size: int,
    mask_id: int,
    special_ids: Sequence[int],
    max_predictions: int,
    rate: float = 0.15,
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
            returns.
        batch_size: rows a batch.
        vocabulary_size: see `mask_tokens`.
        mask_id: see `mask_tokens`.
        special_ids: see `mask_tokens`.
        max_predictions: see `mask_tokens`.
        rate: see `mask_tokens`.
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
        `mask_positions`; labels int32 and weights float32 are of shape
        `(batch, max_predictions)`.

    Raises:
        UsageError: if there are no rows, `batch_size` is not above zero, or
            an argument of `mask_tokens` does not fit.

    Example:
    ```python
    stream = masked_batches(
        rows, 32, vocabulary_size=8000, mask_id=4, special_ids=range(5),
        max_predictions=20, training=True,
    )
    model.fit(stream, steps_per_epoch=len(rows) // 32, epochs=10)
    ```
    """
    rows = np.asarray(rows, np.int32)
    if rows.ndim != 2 or not len(rows) or batch_size < 1:
        raise UsageError(
            "`rows` must be of shape (n, length) with n and `batch_size` "
            f"above zero. Received: shape {rows.shape}, "
            f"batch_size={batch_size}"
        )
    count, rows = len(rows), tf.constant(rows)

    def batch(step):
        index = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        if training:
            index = _shuffled(index, count, seed)
        else:
            index = index[: count - step * batch_size]
        masked = mask_tokens(
            tf.gather(rows, index),
            seed=tf.stack([tf.constant(seed, tf.int64), step]),
            vocabulary_size=vocabulary_size,
            mask_id=mask_id,
            special_ids=special_ids,
            rate=rate,
            max_predictions=max_predictions,
        )
        return _as_fit_wants(masked, tf.gather(rows, index) != pad_id)

    if training:
        steps = tf.data.Dataset.counter(first_step)
    else:
        steps = tf.data.Dataset.range(first_step, -(-count // batch_size))
    return steady(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


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


def _as_fit_wants(masked, padding_mask):
    inputs = {
        "token_ids": masked["token_ids"],
        "segment_ids": tf.zeros_like(masked["token_ids"]),
        "padding_mask": tf.cast(padding_mask, tf.int32),
        "mask_positions": masked["mask_positions"],
    }
    return inputs, masked["mask_labels"], masked["mask_weights"]

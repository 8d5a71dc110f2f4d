"""Batches for masked language modelling from rows of several lengths."""

import functools
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.pipeline import steady
from kbig.data.pretraining import masked_batches
from kbig.errors import UsageError


def mixed_batches(
    groups: Sequence[Mapping[str, np.ndarray]],
    batch_size: int,
    *,
    max_predictions: int,
    multiple: int = 1,
    training: bool = False,
    first_step: int = 0,
    **options,
) -> tf.data.Dataset:
    """Makes batches as `masked_batches` does, of one length of rows each.

    A batch of shorter rows has more of them: about the same number of slots.
    In training the lengths take turns, each as often as it has batches, and
    a batch is a function of the seed and its step alone.

    Args:
        groups: what `pack_by_length` returns: rows of one length each.
        batch_size: rows of the longest length a batch.
        max_predictions: of a row of the longest length; shorter rows have
            fewer in proportion, at least one.
        multiple: rows a batch are a multiple of this, as replicas share
            them evenly.
        training: see `masked_batches`.
        first_step: see `masked_batches`; of training only.
        **options: further ones of `masked_batches`.

    Returns:
        Elements as of `masked_batches`.

    Raises:
        UsageError: there are no groups, or as of `masked_batches`.

    Example:
    ```python
    groups = pack_by_length(texts, 512, cls_id=2, sep_id=3, pad_id=0)
    stream = mixed_batches(
        groups, 8, vocabulary_size=8000, mask_id=4, special_ids=range(5),
        max_predictions=80, training=True,
    )
    model.fit(stream, steps_per_epoch=mixed_steps(groups, 8), epochs=10)
    ```
    """
    sizes = _batch_sizes(groups, batch_size, multiple)
    turns = _turns(groups, sizes)
    # Of a stream, how many batches came before `first_step`.
    passes, within = divmod(first_step if training else 0, len(turns))
    before = passes * _counts(groups, sizes)
    before += np.bincount(turns[:within], minlength=len(groups))
    streams = [
        masked_batches(
            rows,
            size,
            max_predictions=_share(max_predictions, rows, groups[-1]),
            training=training,
            first_step=int(done),
            **options,
        )
        for rows, size, done in zip(groups, sizes, before)
    ]
    if not training:
        return steady(functools.reduce(tf.data.Dataset.concatenate, streams))
    turns = tf.constant(turns)
    choices = tf.data.Dataset.counter(first_step).map(
        lambda step: turns[step % len(turns)]
    )
    return steady(tf.data.Dataset.choose_from_datasets(streams, choices))


def mixed_steps(
    groups: Sequence[Mapping[str, np.ndarray]],
    batch_size: int,
    multiple: int = 1,
) -> int:
    """Counts the full batches of one pass over rows of several lengths.

    Args:
        groups: as of `mixed_batches`.
        batch_size: as of `mixed_batches`.
        multiple: as of `mixed_batches`.

    Returns:
        The number of steps.
    """
    return len(_turns(groups, _batch_sizes(groups, batch_size, multiple)))


def _batch_sizes(groups, batch_size, multiple):
    if not groups or batch_size < 1:
        raise UsageError(
            "`groups` must hold rows, and `batch_size` be above zero. "
            f"Received: {len(groups)} groups, batch_size={batch_size}"
        )
    longest = _length(groups[-1])
    sizes = (
        min(batch_size * longest // _length(group), _rows(group))
        for group in groups
    )
    return [max(1, size // multiple) * multiple for size in sizes]


def _counts(groups, sizes) -> np.ndarray:
    """Batches of each group in a pass; of too few rows for one, still one."""
    return np.array(
        [max(1, _rows(group) // size) for group, size in zip(groups, sizes)]
    )


def _turns(groups, sizes) -> np.ndarray:
    """The group of each batch of a pass, those of every group spread out."""
    counts = _counts(groups, sizes)
    places = [(np.arange(count) + 0.5) / count for count in counts]
    group = np.repeat(np.arange(len(counts)), counts)
    return group[np.argsort(np.concatenate(places), kind="stable")]


def _share(max_predictions, rows, longest) -> int:
    return max(1, max_predictions * _length(rows) // _length(longest))


def _rows(group) -> int:
    return len(group["token_ids"])


def _length(group) -> int:
    return group["token_ids"].shape[1]

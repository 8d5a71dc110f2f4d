"""From unbatched splits to batches for `fit` and `evaluate`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kbig.errors import UsageError

_SHUFFLE_BYTES = 2**30


def batches(
    dataset: tf.data.Dataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    transform: Callable | None = None,
    drop_remainder: bool = False,
    cache: bool = False,
) -> tf.data.Dataset:
    """Caches, shuffles, batches, transforms and prefetches a data set.

    The order depends on `seed` and the number of the epoch alone. All
    examples are shuffled together unless they would need more than 1 GiB;
    then as many as fit are.

    Args:
        dataset: unbatched examples, such as `data.train`.
        batch_size: examples a batch.
        shuffle: whether to shuffle, anew in every epoch.
        seed: of the order.
        transform: maps the components of a batch, `(x, y)`, within the
            graph; `None` leaves them as they are.
        drop_remainder: whether to leave out a last batch that is not full.
        cache: whether to keep the examples in memory after the first epoch;
            it pays where they are decoded from files.

    Returns:
        Batches, in a deterministic order.

    Raises:
        UsageError: if `batch_size` is not above zero, or with
            `drop_remainder` there are known to be fewer examples than that.

    Example:
    ```python
    train = kbig.data.batches(data.train, 32, shuffle=True)
    model.fit(train, epochs=3)
    ```
    """
    if batch_size < 1:
        raise UsageError(
            "`batch_size` must be above zero. Received: "
            f"batch_size={batch_size}"
        )
    count = int(dataset.cardinality())
    if drop_remainder and 0 <= count < batch_size:
        raise UsageError(
            "With `drop_remainder` there must be examples for one batch. "
            f"Received: {count} examples, batch_size={batch_size}. Lower "
            "`batch_size`, or keep the remainder."
        )
    if cache:
        dataset = dataset.cache()
    if shuffle:
        dataset = shuffled(dataset, seed)
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    if transform is not None:
        dataset = dataset.map(transform, num_parallel_calls=tf.data.AUTOTUNE)
    return steady(dataset)


def shuffled(dataset: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Shuffles examples, anew in every epoch.

    Args:
        dataset: unbatched examples.
        seed: of the order.

    Returns:
        The same examples; all are shuffled together up to 1 GiB.
    """
    return dataset.shuffle(_shuffle_buffer(dataset), seed=seed)


def steady(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches, keeps the order, and switches autotuning off.

    Autotuning stalls short epochs for seconds at their end.

    Args:
        dataset: batches.

    Returns:
        The same batches.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.prefetch(2).with_options(options)


def _shuffle_buffer(dataset):
    # TensorFlow gives strings a size of 0.
    size = sum(
        max(1, spec.dtype.size) * np.prod([side or 1 for side in spec.shape])
        for spec in tf.nest.flatten(dataset.element_spec)
    )
    fits = max(1, int(_SHUFFLE_BYTES // size))
    count = int(dataset.cardinality())
    return min(count, fits) if count > 0 else min(fits, 10_000)

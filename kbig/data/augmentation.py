"""Random changes of training images that keep their class."""

from collections.abc import Sequence

import tensorflow as tf

from kbig.data.pipeline import steady
from kbig.errors import UsageError

_MOST_SHIFT = 0.08  # Of height and width; 2 pixels of 28.


def shift(images, seed) -> tf.Tensor:
    """Moves each image by up to 8 % of its height and width.

    Args:
        images: `(batch, height, width, channels)`, any dtype.
        seed: int tensor of shape `(2,)`; the result depends on it alone.

    Returns:
        Images of the same shape and dtype; what moves in is 0.

    Example:
    ```python
    moved = shift(images, seed=(0, 1))
    ```
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    sides = tf.cast(tf.stack([height, width]), tf.float32)
    most = tf.cast(tf.round(sides * _MOST_SHIFT), tf.int32)
    draws = tf.random.stateless_uniform((batch, 2), seed)
    offsets = tf.cast(draws * tf.cast(2 * most + 1, tf.float32), tf.int32)
    pad = [[0, 0], [most[0]] * 2, [most[1]] * 2, [0, 0]]
    padded = tf.pad(images, pad)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    turned = tf.transpose(moved, [0, 2, 1, 3])
    turned = tf.gather(turned, columns, axis=1, batch_dims=1)
    return tf.ensure_shape(tf.transpose(turned, [0, 2, 1, 3]), images.shape)


def mirror(images, seed) -> tf.Tensor:
    """Swaps left and right in half of the images.

    Args:
        images: `(batch, height, width, channels)`, any dtype.
        seed: int tensor of shape `(2,)`; the result depends on it alone.

    Returns:
        Images of the same shape and dtype.

    Example:
    ```python
    mirrored = mirror(images, seed=(0, 1))
    ```
    """
    draw = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed)
    return tf.where(draw < 0.5, tf.reverse(images, [2]), images)


AUGMENTATIONS = {"shift": shift, "mirror": mirror}


def augmented(
    dataset: tf.data.Dataset, names: Sequence[str], seed: int = 0
) -> tf.data.Dataset:
    """Changes the images of every batch anew in every epoch.

    Args:
        dataset: batches `(images, labels)`.
        names: keys of `AUGMENTATIONS`, applied in order.
        seed: the changes depend on it and on the number of the batch alone.

    Returns:
        Batches of the same shapes and dtypes.

    Raises:
        UsageError: an unknown name.

    Example:
    ```python
    train = kbig.data.batches(data.train, 32, shuffle=True)
    train = kbig.data.augmented(train, ["shift", "mirror"])
    ```
    """
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise UsageError(
            f"Expected augmentations among {', '.join(AUGMENTATIONS)}. "
            f"Received: {', '.join(unknown)}."
        )
    if not names:
        return dataset
    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    def change(batch, draw):
        images, labels = batch
        for index, name in enumerate(names):
            key = tf.stack([draw, tf.constant(index, tf.int64)])
            images = AUGMENTATIONS[name](images, key)
        return images, labels

    pairs = tf.data.Dataset.zip(dataset, draws)
    return steady(pairs.map(change, num_parallel_calls=tf.data.AUTOTUNE))

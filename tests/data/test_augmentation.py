import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig.data import augmentation
from kbig.errors import UsageError

IMAGES = np.arange(1, 1 + 6 * 25 * 26, dtype=np.uint16).reshape(6, 25, 26, 1)


def test_shift_moves_by_two_pixels_at_most_and_fills_with_zeros():
    seen = set()
    for seed in range(40):
        moved = augmentation.shift(IMAGES, (seed, 0)).numpy()
        for before, after in zip(IMAGES[..., 0], moved[..., 0]):
            offset = _offset(before, after)
            seen.add(offset)
    # 240 draws of 25 equally likely offsets: each is missed by e^-9.8.
    assert seen == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def _offset(before, after):
    for y in range(-2, 3):
        for x in range(-2, 3):
            padded = np.pad(before, 2)
            if np.array_equal(padded[2 + y : 27 + y, 2 + x : 28 + x], after):
                return y, x
    raise AssertionError("no shift of two pixels at most explains the image")


def test_mirror_turns_about_half_of_the_images():
    images = np.tile(np.arange(4.0)[None, None, :, None], (1000, 1, 1, 1))
    mirrored = augmentation.mirror(images, (0, 0)).numpy()
    turned = mirrored[:, 0, 0, 0] == 3
    np.testing.assert_array_equal(mirrored[turned][:, 0, :, 0][0], [3, 2, 1, 0])
    np.testing.assert_array_equal(mirrored[~turned], images[~turned])
    assert abs(turned.sum() - 500) < 4 * np.sqrt(250)  # Four deviations.


def test_batches_change_anew_and_the_seed_repeats_them():
    batches = tf.data.Dataset.from_tensors((IMAGES, np.arange(6)))
    changed = data.augmented(batches, ["shift", "mirror"], seed=3)
    first, second = (next(iter(changed))[0].numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    again = data.augmented(batches, ["shift", "mirror"], seed=3)
    np.testing.assert_array_equal(next(iter(again))[0], first)
    assert changed.element_spec == batches.element_spec


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError, match="Received: rotate"):
        data.augmented(tf.data.Dataset.range(1), ["rotate"])

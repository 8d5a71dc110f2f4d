import numpy as np
import pytest
import tensorflow as tf

from kbig.data.pipeline import batches
from kbig.errors import UsageError


def numbers(count=10):
    x = np.arange(count, dtype="float32")
    return tf.data.Dataset.from_tensor_slices((x, -x))


def epochs(dataset, count=2):
    return [
        np.concatenate([x for x, _ in dataset.as_numpy_iterator()])
        for _ in range(count)
    ]


def test_batches_keep_the_order_and_the_remainder():
    dataset = batches(numbers(), 4)
    assert [len(x) for x, _ in dataset] == [4, 4, 2]
    np.testing.assert_array_equal(epochs(dataset)[1], np.arange(10))
    assert [len(x) for x, _ in batches(numbers(), 4, drop_remainder=True)] == [
        4,
        4,
    ]
    assert int(dataset.cardinality()) == 3


@pytest.mark.parametrize("cache", [False, True])
def test_every_epoch_is_a_new_order_that_the_seed_repeats(cache):
    options = {"shuffle": True, "cache": cache}
    first, second = epochs(batches(numbers(50), 8, seed=1, **options))
    again = epochs(batches(numbers(50), 8, seed=1, **options))
    other = epochs(batches(numbers(50), 8, seed=2, **options))
    np.testing.assert_array_equal([first, second], again)
    for order in (first, second, other[0]):
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert np.any(first != second) and np.any(first != other[0])


def test_inputs_and_targets_stay_together_through_transform():
    dataset = batches(
        numbers(), 4, shuffle=True, transform=lambda x, y: (x + 1, y * 2)
    )
    for x, y in dataset:
        np.testing.assert_array_equal(y, -2 * (x - 1))


def test_texts_are_shuffled_as_a_whole():
    texts = tf.data.Dataset.from_tensor_slices([str(i) for i in range(1000)])
    (batch,) = batches(texts, 1000, shuffle=True).as_numpy_iterator()
    position = np.abs(batch.astype(int) - np.arange(1000)).mean()
    # Two random permutations differ by a third of the length on average.
    assert position == pytest.approx(1000 / 3, rel=0.15)


def test_autotuning_is_off_and_order_is_kept():
    options = batches(numbers(), 4).options()
    assert options.autotune.enabled is False
    assert options.deterministic is True


def test_there_must_be_one_batch_at_least():
    with pytest.raises(UsageError, match="10 examples, batch_size=11"):
        batches(numbers(), 11, drop_remainder=True)
    assert len(list(batches(numbers(), 10, drop_remainder=True))) == 1
    # How many a filter leaves is not known.
    some = numbers().filter(lambda x, _: x > 5)
    assert not list(batches(some, 11, drop_remainder=True))


def test_batch_size_must_be_above_zero():
    with pytest.raises(UsageError, match="batch_size=0"):
        batches(numbers(), 0)

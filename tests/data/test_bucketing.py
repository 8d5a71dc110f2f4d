import collections

import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig.data.bucketing import bucket_lengths
from kbig.errors import UsageError

WORDS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def tokenizer():
    # [PAD] is not 0 here: padding must not rely on it.
    vocabulary = [*data.SPECIAL_TOKENS[1:], *WORDS, "[PAD]"]
    return data.tokenizer(vocabulary)


def texts(count):
    generator = np.random.default_rng(0)
    sizes = generator.integers(0, 40, count)
    return [" ".join(generator.choice(WORDS, size)) for size in sizes]


@pytest.mark.parametrize(
    "longest, expected",
    [(48, (16, 24, 48)), (512, (176, 256, 512)), (8, (8,)), (20, (8, 16, 20))],
)
def test_lengths(longest, expected):
    assert bucket_lengths(longest) == expected


def test_every_text_comes_once_encoded_as_alone(tokenizer):
    source = texts(100)
    batches = data.bucketed_batches(source, np.arange(100), 8, tokenizer, 24)
    assert int(batches.cardinality()) == len(list(batches))
    seen = {}
    for inputs, labels in batches:
        length = inputs["token_ids"].shape[1]
        shorter = {8: 0, 16: 8, 24: 16}[length]
        assert inputs["padding_mask"].numpy().sum(1).min() > shorter
        alone = data.encode(tf.gather(source, labels), tokenizer, length)
        for name in alone:
            np.testing.assert_array_equal(inputs[name], alone[name])
        seen |= dict.fromkeys(labels.numpy().tolist())
    assert sorted(seen) == list(range(100))


def test_dropping_remainders_leaves_full_batches(tokenizer):
    batches = data.bucketed_batches(
        texts(100), np.arange(100), 8, tokenizer, 24, drop_remainder=True
    )
    assert int(batches.cardinality()) == len(list(batches))
    shapes = collections.Counter(
        tuple(inputs["token_ids"].shape) for inputs, _ in batches
    )
    assert {rows for rows, _ in shapes} == {8}
    assert sum(shapes.values()) >= 100 // 8 - 2


def test_the_order_is_new_each_epoch_and_the_seed_repeats_it(tokenizer):
    def order(batches):
        return [label for _, y in batches for label in y.numpy().tolist()]

    arguments = texts(60), np.arange(60), 8, tokenizer, 24
    batches = data.bucketed_batches(*arguments, shuffle=True, seed=5)
    first, second = order(batches), order(batches)
    again = data.bucketed_batches(*arguments, shuffle=True, seed=5)
    assert first != second
    assert order(again) == first


@pytest.mark.parametrize(
    "rows, labels, batch_size",
    [([], [], 2), (["a"], [1, 2], 2), (["a"], [1], 0)],
)
def test_mistakes(tokenizer, rows, labels, batch_size):
    with pytest.raises(UsageError, match="Received: "):
        data.bucketed_batches(rows, labels, batch_size, tokenizer, 8)

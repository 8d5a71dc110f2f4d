import collections

import numpy as np
import pytest
import tensorflow as tf

from kbig import data
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


@pytest.mark.parametrize(
    "sizes, lengths",
    [
        # Buckets end at 8, 16 and 24 tokens, two of which are special.
        ([1] * 16 + [20] * 3, {24}),
        ([1] * 3 + [20] * 16, {24}),
        ([1] * 16 + [10] * 3 + [20] * 16, {8, 24}),
        ([1] * 3 + [10] * 16 + [20] * 16, {16, 24}),
        ([1] * 16 + [10] * 16 + [20] * 3, {8, 24}),
    ],
)
def test_few_texts_of_one_length_are_not_always_left_out(
    tokenizer, sizes, lengths
):
    batches = data.bucketed_batches(
        ["a " * size for size in sizes],
        np.arange(len(sizes)),
        8,
        tokenizer,
        24,
        shuffle=True,
        drop_remainder=True,
    )
    epochs = [list(batches) for _ in range(20)]
    assert {len(epoch) for epoch in epochs} == {int(batches.cardinality())}
    every = [batch for epoch in epochs for batch in epoch]
    assert {inputs["token_ids"].shape[1] for inputs, _ in every} == lengths
    seen = {label for _, y in every for label in y.numpy().tolist()}
    assert seen == set(range(len(sizes)))


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


def test_pairs_come_encoded_as_alone(tokenizer):
    pairs = list(zip(texts(50), reversed(texts(50))))
    batches = data.bucketed_batches(pairs, np.arange(50), 8, tokenizer, 24)
    seen = []
    for inputs, labels in batches:
        length = inputs["token_ids"].shape[1]
        alone = data.encode(tf.gather(pairs, labels), tokenizer, length)
        for name in alone:
            np.testing.assert_array_equal(inputs[name], alone[name])
        seen += labels.numpy().tolist()
    assert sorted(seen) == list(range(50))


@pytest.mark.parametrize("shape", [(40,), (40, 3)])
def test_floats_stay_with_their_texts_as_float32(tokenizer, shape):
    labels = np.random.default_rng(0).normal(size=shape)
    source = [f"{'a ' * (row % 20)}b {'c ' * (row // 20)}" for row in range(40)]

    def keys(inputs):
        tokens = zip(inputs["token_ids"], inputs["padding_mask"])
        return [tuple(ids[mask == 1].numpy()) for ids, mask in tokens]

    alone = data.encode(source, tokenizer, 48)
    expected = dict(zip(keys(alone), labels.astype(np.float32)))
    assert len(expected) == 40
    batches = data.bucketed_batches(source, labels, 8, tokenizer, 48)
    for inputs, values in batches:
        assert values.dtype == tf.float32
        for key, value in zip(keys(inputs), values.numpy()):
            np.testing.assert_array_equal(value, expected.pop(key))
    assert not expected


def test_class_weights_become_sample_weights(tokenizer):
    labels = np.arange(30) % 3
    batches = data.bucketed_batches(
        texts(30), labels, 8, tokenizer, 24, class_weights=(0.5, 1, 4)
    )
    count = 0
    for _, classes, weights in batches:
        expected = np.array([0.5, 1, 4], np.float32)[classes.numpy()]
        np.testing.assert_array_equal(weights, expected)
        count += len(weights)
    assert count == 30


def test_balanced_class_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert data.balanced_class_weights(labels, 3) == pytest.approx(expected)
    for wrong in (2, 4):
        with pytest.raises(UsageError, match=r"Received: classes \[0, 1, 2\]"):
            data.balanced_class_weights(labels, wrong)


def test_tags_are_on_the_first_pieces_of_their_words(tokenizer):
    # "a-b" is three pieces; a control character is none.
    words = [("a", "a-b", "\x07", "c"), ("d",) * 30, ("b", "c")]
    tags = [[1, 2, 3, 4], list(range(30)), [5, 6]]
    batches = data.tagged_batches(words, tags, 1, tokenizer, 24)
    rows = {len(np.flatnonzero(w)): (y, w, x) for x, y, w in batches}
    labels, weights, inputs = rows.pop(3)
    assert labels.dtype == tf.int32 and weights.dtype == tf.float32
    assert labels.shape == weights.shape == inputs["token_ids"].shape == (1, 8)
    assert labels.numpy()[0].tolist() == [0, 1, 2, 0, 0, 4, 0, 0]
    assert weights.numpy()[0].tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    labels, weights, _ = rows.pop(22)
    assert labels.numpy()[0].tolist() == [0, *range(22), 0]
    assert weights.numpy()[0].tolist() == [0, *[1] * 22, 0]
    labels, weights, _ = rows.pop(2)
    assert labels.numpy()[0].tolist() == [0, 5, 6, 0, 0, 0, 0, 0]


def test_tagged_batches_pad_several_sentences_and_shuffle(tokenizer):
    words = [("a",) * size for size in range(1, 31)]
    tags = [np.arange(size) for size in range(1, 31)]
    batches = data.tagged_batches(
        words, tags, 4, tokenizer, 32, shuffle=True, seed=1
    )
    assert int(batches.cardinality()) == len(list(batches))
    sizes = []
    for inputs, labels, weights in batches:
        size = weights.numpy().sum(1).astype(int)
        np.testing.assert_array_equal(
            inputs["padding_mask"].numpy().sum(1), size + 2
        )
        for row, count in zip(labels.numpy(), size):
            assert row[1 : count + 1].tolist() == list(range(count))
        sizes += size.tolist()
    assert sorted(sizes) == list(range(1, 31)) != sizes


@pytest.mark.parametrize(
    "labels, class_weights, message",
    [
        ([0, -1], None, r"labels\[1\]=-1"),
        ([0.5, np.nan], None, r"labels\[1\]=nan"),
        ([[0.0, 1.0], [np.inf, 0.0]], None, r"labels\[1\]="),
        (["x", "y"], None, "dtype=<U1"),
        ([0, 2], (1, 1), r"class_weights=\(1, 1\)"),
        ([0, 1], (1, 0), r"class_weights=\(1, 0\)"),
        ([0, 1], (1, np.nan), "class_weights="),
        ([0.0, 1.0], (1, 1), "dtype=float32"),
    ],
)
def test_labels_out_of_range(tokenizer, labels, class_weights, message):
    with pytest.raises(UsageError, match=f"Received: .*{message}"):
        data.bucketed_batches(
            ["a", "b"], labels, 2, tokenizer, 8, class_weights=class_weights
        )


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 2], r"labels\[1\]=2, num_classes=2"),
        ([[0.0, 1.0], [0.5, 0.0]], r"labels\[1\]=\[0.5 0. \], num_"),
        ([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], r"labels of shape \(2, 3\)"),
        ([0.0, 1.0], r"labels of shape \(2,\)"),
    ],
)
def test_labels_must_be_of_the_classes(tokenizer, labels, message):
    arguments = ["a", "b"], labels, 2, tokenizer, 8
    with pytest.raises(UsageError, match=f"Received: {message}"):
        data.bucketed_batches(*arguments, num_classes=2)
    # A regression, or what a teacher says, may be anything.
    ((_, found),) = data.bucketed_batches(*arguments)
    np.testing.assert_array_equal(found, np.array(labels, found.numpy().dtype))


@pytest.mark.parametrize("labels", [[0, 1], [[0.0, 1.0], [1.0, 1.0]]])
def test_labels_of_the_classes_are_taken(tokenizer, labels):
    ((_, found),) = data.bucketed_batches(
        ["a", "b"], labels, 2, tokenizer, 8, num_classes=2
    )
    np.testing.assert_array_equal(found, labels)


def test_tags_must_be_of_the_classes(tokenizer):
    arguments = [("a", "b")], [[0, 2]], 1, tokenizer, 8
    with pytest.raises(UsageError, match=r"tags\[0\]=\[0 2\], num_classes=2"):
        data.tagged_batches(*arguments, num_classes=2)
    assert len(list(data.tagged_batches(*arguments, num_classes=3))) == 1


def test_without_remainders_there_must_be_one_batch(tokenizer):
    with pytest.raises(UsageError, match="3 texts, batch_size=4"):
        data.bucketed_batches(
            ["a"] * 3, [0] * 3, 4, tokenizer, 8, drop_remainder=True
        )
    with pytest.raises(UsageError, match="3 sentences, batch_size=4"):
        data.tagged_batches(
            [("a",)] * 3, [[0]] * 3, 4, tokenizer, 8, drop_remainder=True
        )
    full = data.bucketed_batches(
        ["a"] * 4, [0] * 4, 4, tokenizer, 8, drop_remainder=True
    )
    assert len(list(full)) == 1


@pytest.mark.parametrize(
    "words, tags, message",
    [
        ([("a", "b")], [[1]], r"2 words in words\[0\], and tags of shape"),
        ([("a",), ("b",)], [[1], [1, 2]], r"1 words in words\[1\]"),
        ([("a",)], [[-1]], r"tags\[0\]=\[-1\]"),
        ([("a",)], [[0.5]], r"tags\[0\]=\[0.5\]"),
        ([("a",)], [[1], [1]], "1 sentences, 2 labels"),
        ([], [], "0 sentences"),
    ],
)
def test_words_and_tags_that_do_not_fit(tokenizer, words, tags, message):
    with pytest.raises(UsageError, match=f"Received: {message}"):
        data.tagged_batches(words, tags, 2, tokenizer, 8)

import random

import numpy as np
import pytest
import tensorflow as tf

from kbig.data import encoding
from kbig.data.vocabulary import SPECIAL_TOKENS
from tests.data.oracles import framed
from tests.data.oracles import hugging_face


@pytest.mark.parametrize(
    "pairs, longest, expected",
    [
        # Both texts and three special tokens, rounded up to 8.
        ([(2, 3), (2, 3)], 512, 8),
        ([(2, 4), (2, 4)], 512, 16),
        ([(50, 60)], 40, 40),
    ],
)
def test_suitable_length_of_pairs(pairs, longest, expected):
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a"))
    texts = [["a " * first, "a " * second] for first, second in pairs]
    texts = np.array(texts, dtype=object)
    length = encoding.suitable_length(texts, bert_tokenizer, longest)
    assert length == expected


@pytest.mark.parametrize("length", [5, 32, 33])
def test_pairs_equal_those_of_hugging_face(texts, tokens, length):
    generator = random.Random(length)
    pairs = [
        ["", ""],
        ["", "the sea " * 40],
        ["a b c", ""],
        # Short ones: Hugging Face also returns all that it cut, in pairs.
        *([x[:90] for x in generator.sample(texts, 2)] for _ in range(60)),
        *(
            ["the " * generator.randrange(40), "a " * generator.randrange(40)]
            for _ in range(120)
        ),
    ]
    oracle = framed(hugging_face(tokens), length)
    encoded = encoding.encode(pairs, encoding.tokenizer(tokens), length)
    expected = oracle.encode_batch([tuple(pair) for pair in pairs])
    for name, attribute in (
        ("token_ids", "ids"),
        ("segment_ids", "type_ids"),
        ("padding_mask", "attention_mask"),
    ):
        np.testing.assert_array_equal(
            encoded[name], [getattr(row, attribute) for row in expected]
        )
        assert encoded[name].dtype == tf.int32


@pytest.mark.ci
def test_pairs_in_a_pipeline_and_in_a_saved_model(tmp_path):
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a", "b"))
    pairs = np.array([["A b", "b"], ["b", "a b a b"]], dtype=object)

    def transform(texts):
        return encoding.encode(texts, bert_tokenizer, 6)

    eager = transform(pairs)
    np.testing.assert_array_equal(
        eager["token_ids"], [[2, 5, 6, 3, 6, 3], [2, 6, 3, 5, 6, 3]]
    )
    np.testing.assert_array_equal(
        eager["segment_ids"], [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    )
    pipeline = tf.data.Dataset.from_tensor_slices(pairs).batch(2)
    (batch,) = pipeline.map(transform)
    module = tf.Module()
    module.tokenizer = bert_tokenizer
    module.serve = tf.function(
        transform, input_signature=[tf.TensorSpec([None, 2], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).serve(
        tf.constant(pairs, tf.string)
    )
    for name in eager:
        np.testing.assert_array_equal(batch[name], eager[name])
        np.testing.assert_array_equal(served[name], eager[name])

import random

import numpy as np
import pytest

from kbig import data
from kbig.data.rows import bucket_lengths
from kbig.errors import UsageError
from tests.data.oracles import framed
from tests.data.oracles import hugging_face

WORDS = ["jane", "aus", "##ten", "un", "##like", "##ly", "中", "don", "t", "'"]
VOCABULARY = [*data.SPECIAL_TOKENS, *WORDS]


@pytest.fixture(scope="module")
def tokenizer():
    return data.tokenizer(VOCABULARY)


@pytest.mark.parametrize(
    "longest, expected",
    [(48, (16, 24, 48)), (512, (176, 256, 512)), (8, (8,)), (20, (8, 16, 20))],
)
def test_lengths(longest, expected):
    assert bucket_lengths(longest) == expected


def test_groups_hold_every_text_encoded_as_alone(tokenizer):
    generator = random.Random(0)
    texts = [
        ["jane " * generator.randrange(20), "t " * generator.randrange(20)]
        for _ in range(60)
    ]
    seen = []
    for rows, inputs in data.encode_rows(texts, tokenizer, 40).groups():
        length = inputs["token_ids"].shape[1]
        alone = data.encode([texts[row] for row in rows], tokenizer, length)
        for name in alone:
            np.testing.assert_array_equal(inputs[name], alone[name])
            assert inputs[name].dtype == np.int32
        shorter = {16: 0, 24: 16, 40: 24}[length]
        assert inputs["padding_mask"].sum(1).min() > shorter
        seen += rows.tolist()
    assert sorted(seen) == list(range(60))


@pytest.mark.parametrize("length", [4, 9, 30])
def test_words_align_as_those_of_hugging_face(tokenizer, length):
    generator = random.Random(length)
    kinds = ["Jane", "Austen", "unlikely", "中中", "don't", "\u0007", "\u200b"]
    kinds += ["zzz", "Jane Austen", "-", "austenaustenausten"]
    words = [
        tuple(generator.choices(kinds, k=generator.randrange(1, 12)))
        for _ in range(200)
    ]
    rows, starts = data.encode_words(words, tokenizer, length)
    oracle = framed(hugging_face(VOCABULARY), length, padded=False)
    ends = np.cumsum(rows.sizes)
    for index, sentence in enumerate(words):
        expected = oracle.encode(list(sentence), is_pretokenized=True)
        own = rows.token_ids[ends[index] - rows.sizes[index] : ends[index]]
        assert own.tolist() == expected.ids
        first = [
            expected.word_ids.index(word) if word in expected.word_ids else -1
            for word in range(len(sentence))
        ]
        assert starts[index].tolist() == first


def test_predictions_go_back_to_their_words(tokenizer):
    words = [("Jane", "Austen", "\u0007", "unlikely", "Jane"), ("Austen",)]
    _, starts = data.encode_words(words, tokenizer, 7)
    # [CLS] jane aus ##ten un ##like [SEP]: the last word is cut off.
    assert [row.tolist() for row in starts] == [[1, 2, -1, 4, -1], [1]]
    predicted = np.array([[9, 5, 6, 9, 7, 9, 9], [9, 8, 9, 9, 9, 9, 9]])
    tags = data.words_from_pieces(predicted, starts)
    assert [row.tolist() for row in tags] == [[5, 6, 0, 7, 0], [8]]
    tags = data.words_from_pieces(predicted, starts, missing=3)
    assert tags[0].tolist() == [5, 6, 3, 7, 3]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "none"),
        ([("a",), ()], r"words\[1\]=\(\)"),
        (["a b"], r"words\[0\]='a b'"),
    ],
)
def test_what_is_no_sentence(tokenizer, words, message):
    with pytest.raises(UsageError, match=f"Received: {message}"):
        data.encode_words(words, tokenizer, 8)


def test_rows_of_nothing_and_of_no_length(tokenizer):
    with pytest.raises(UsageError, match="Received: none"):
        data.encode_rows([], tokenizer, 8)
    with pytest.raises(UsageError, match="sequence_length=2"):
        data.encode_words([("a",)], tokenizer, 2)

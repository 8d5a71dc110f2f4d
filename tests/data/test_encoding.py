import random

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from kbig.data import encoding
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.errors import UsageError

ODD_TEXTS = [
    "",
    " ",
    "Café naïve résumé ÉCOLE Ångström",
    "cafe\u0301 with a combining accent",
    "中文字符 mixed 漢字カナ かな",
    "한국어 텍스트",
    "emoji 😀👍🏽 and ☃",
    "tab\tnew\nline\r\nno-break\u00a0space",
    "!?.,;:-_'\"()[]{}@#$%^&*+=/\\|~`<>",
    "quotes “curly” ‘single’ — dash … dots",
    "Привет мир ПРИВЕТ ελληνικά",
    "x" * 100,
    "x" * 101,
    "so\u00adft a\u200bb bell\u0007ring \ufffd\u0085\u2028end",
    "1,234.56 £100 €20",
    "[MASK] [SEP] in text",
    "İstanbul",
]


def hugging_face(tokens, lowercase=True):
    numbers = {token: index for index, token in enumerate(tokens)}
    oracle = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            numbers, unk_token="[UNK]", max_input_chars_per_word=100
        )
    )
    oracle.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase
    )
    oracle.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return oracle


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_equal_those_of_hugging_face(texts, tokens, lowercase):
    generator = random.Random(0)
    alphabet = "abcXYZ éÉñ中文,.!?'- \t1290"
    strings = [
        "".join(generator.choices(alphabet, k=generator.randrange(40)))
        for _ in range(200)
    ]
    strings += ODD_TEXTS + [text[:400] for text in texts[:150]]
    oracle = hugging_face(tokens, lowercase)
    encoded = encoding.encode(
        strings, encoding.tokenizer(tokens, lowercase), 512
    )
    for row, text in zip(encoded["token_ids"].numpy(), strings):
        ids = oracle.encode(text, add_special_tokens=False).ids
        expected = [2, *ids, 3] + [0] * (510 - len(ids))
        np.testing.assert_array_equal(row, expected, err_msg=repr(text))


@pytest.mark.parametrize(
    "text, lowercase", [("straße", True), ("é" * 60, False)]
)
def test_known_differences_from_hugging_face(tokens, text, lowercase):
    tokens = (*tokens, "é", "##é", "ß", "##ß")
    oracle = hugging_face(tokens, lowercase)
    encoded = encoding.encode([text], encoding.tokenizer(tokens, lowercase), 64)
    ids = encoded["token_ids"].numpy()[0]
    ids = ids[1 : encoded["padding_mask"].numpy().sum() - 1]
    theirs = oracle.encode(text, add_special_tokens=False).ids
    if lowercase:
        same = oracle.encode("strasse", add_special_tokens=False).ids
        assert list(ids) == same != theirs
    else:
        assert list(ids) == [1] and len(theirs) == 60


def test_encode_frames_cuts_and_pads():
    tokens = (*SPECIAL_TOKENS, "a", "b")
    encoded = encoding.encode(
        ["", "a b", "a b a b a"], encoding.tokenizer(tokens), 5
    )
    np.testing.assert_array_equal(
        encoded["token_ids"],
        [[2, 3, 0, 0, 0], [2, 5, 6, 3, 0], [2, 5, 6, 5, 3]],
    )
    np.testing.assert_array_equal(
        encoded["padding_mask"],
        [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
    )
    np.testing.assert_array_equal(encoded["segment_ids"], np.zeros((3, 5)))
    assert {value.dtype for value in encoded.values()} == {tf.int32}


def test_encode_in_a_pipeline_and_in_a_saved_model(tmp_path):
    tokens = (*SPECIAL_TOKENS, "a", "b")
    bert_tokenizer = encoding.tokenizer(tokens)
    expected = [[2, 5, 6, 3], [2, 6, 3, 0]]

    def transform(texts):
        return encoding.encode(texts, bert_tokenizer, 4)

    pipeline = tf.data.Dataset.from_tensor_slices(["A b", "b"]).batch(2)
    (batch,) = pipeline.map(transform)
    np.testing.assert_array_equal(batch["token_ids"], expected)

    module = tf.Module()
    module.tokenizer = bert_tokenizer
    module.serve = tf.function(
        transform, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    served = loaded.serve(tf.constant(["A b", "b"]))
    np.testing.assert_array_equal(served["token_ids"], expected)


def test_encode_rejects_what_it_cannot_shape():
    bert_tokenizer = encoding.tokenizer(SPECIAL_TOKENS)
    with pytest.raises(UsageError, match="shape"):
        encoding.encode("a", bert_tokenizer, 8)
    with pytest.raises(UsageError, match="sequence_length=2"):
        encoding.encode(["a"], bert_tokenizer, 2)


@pytest.mark.parametrize(
    "words, longest, expected",
    [
        # The words, [CLS] and [SEP], rounded up to a multiple of 8.
        ([1, 2], 512, 8),
        ([6, 6], 512, 8),
        ([7, 7], 512, 16),
        # One text of 200 is longer, and is cut.
        ([6] * 199 + [100], 512, 8),
        ([100, 100], 20, 20),
    ],
)
def test_suitable_length_holds_all_but_the_longest(words, longest, expected):
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a"))
    texts = np.array(["a " * count for count in words], dtype=object)
    length = encoding.suitable_length(texts, bert_tokenizer, longest)
    assert length == expected


def test_framed_pads_within_a_graph_that_does_not_know_the_length():
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a", "b"))

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def frame(length):
        tokens = tf.ragged.constant([[5, 6], [], [6]], dtype=tf.int32)
        return encoding.framed(tokens, bert_tokenizer, length)

    rows = frame(5)
    np.testing.assert_array_equal(
        rows["token_ids"], [[2, 5, 6, 3, 0], [2, 3, 0, 0, 0], [2, 6, 3, 0, 0]]
    )
    np.testing.assert_array_equal(
        rows["padding_mask"].numpy().sum(axis=1), [4, 2, 3]
    )
    np.testing.assert_array_equal(rows["segment_ids"], np.zeros((3, 5)))
    assert frame(9)["token_ids"].shape == (3, 9)
